"""Plain models: what runs without the bridge is what runs with it, and nothing of a user's is passed over."""

import pytest
import torch
from transformers import AutoModelForCausalLM

import odesteer_tl as ode
from odesteer_tl.plain import PlainModel, attention_of, bridge_needed, hooked, unbridged
from tests.families import FAMILIES, family_directory

TOKENS = torch.randint(5, 60, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request, tmp_path_factory):
    """A bridge, and the same weights as a plain model."""
    folder = family_directory(request.param, tmp_path_factory.mktemp("families"))
    return ode.load_model(folder), PlainModel(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval())


def edited(site):
    """A hook that changes the first row's later tokens, and what it saw."""
    seen = []

    def fn(x, hook=None):
        seen.append(x.clone())
        x = x.clone()
        x[0, 3:] = 1.5 * x[0, 3:] + 0.1
        return x

    return [(f"blocks.1.{site}", fn)], seen


@pytest.mark.parametrize("site", ["hook_out", "hook_in", "attn.hook_z"])
@torch.no_grad()
def test_hooks_see_and_change_what_they_do_on_the_bridge(pair, site):
    bridge, plain = pair
    hooks, expected = edited(site)
    with bridge.hooks(fwd_hooks=hooks):
        logits = bridge.original_model(TOKENS).logits
    for model in (bridge, plain):
        hooks, seen = edited(site)
        with hooked(model, hooks) as run:
            found = run(TOKENS).logits
        torch.testing.assert_close(seen[0], expected[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-5)
        with hooked(model, []) as run:
            assert (run(TOKENS).logits - found).abs().max() > 1e-4


@torch.no_grad()
def test_the_bridge_is_as_it_was_afterwards(pair):
    bridge, _ = pair
    before, kinds = bridge(TOKENS), [type(m) for m in bridge.original_model.modules()]
    with pytest.raises(RuntimeError, match="mine"), unbridged(bridge):
        raise RuntimeError("mine")
    assert [type(m) for m in bridge.original_model.modules()] == kinds
    assert torch.equal(bridge(TOKENS), before)


@torch.no_grad()
def test_our_loops_run_the_attention_that_transformers_chooses_and_put_back_the_bridges(pair):
    bridge, plain = pair
    run, mask = bridge.original_model, torch.tensor([[0] * 4 + [1] * 5, [1] * 9])
    chosen = plain.original_model.config._attn_implementation  # nobody said anything when it was loaded
    settable = bridge.cfg.architecture != "FalconForCausalLM"  # whose attention is a class of its own
    before = (run.config._attn_implementation, run.config.output_attentions)
    assert before == ("eager", True)
    told = {"attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp_min(0)}
    patterned = run(TOKENS, **told).logits
    with hooked(bridge, []) as inside:
        kind, found = inside.config._attn_implementation, inside(TOKENS, **told)
    assert kind == (chosen if settable else "eager") == attention_of(bridge)
    assert found.attentions is None
    torch.testing.assert_close(found.logits[mask.bool()], patterned[mask.bool()], rtol=1e-4, atol=1e-5)
    with pytest.raises(RuntimeError, match="mine"), hooked(bridge, []):
        raise RuntimeError("mine")
    assert (run.config._attn_implementation, run.config.output_attentions) == before
    assert torch.equal(run(TOKENS, **told).logits, patterned)
    assert attention_of(plain) == chosen


@torch.no_grad()
def test_an_attention_of_the_users_own_is_left_alone():
    bridge = ode.load_model("organism")
    bridge.original_model.config.output_attentions = False
    bridge.original_model.set_attn_implementation("flex_attention")
    with hooked(bridge, []) as run:
        assert run.config._attn_implementation == "flex_attention" == attention_of(bridge)
    bridge.original_model.set_attn_implementation("eager")
    assert attention_of(bridge) == "sdpa"
    with bridge.hooks(fwd_hooks=[("blocks.0.attn.hook_pattern", lambda x, hook: x)]):
        assert attention_of(bridge) == "eager"  # the bridge itself runs
        with hooked(bridge, []) as run:
            assert run.config._attn_implementation == "eager"


def test_the_bridge_runs_where_it_would_be_missed(organism):
    assert not bridge_needed(organism)
    with organism.hooks(fwd_hooks=[("blocks.0.mlp.hook_out", lambda x, hook: x)]):
        assert bridge_needed(organism)
    handle = organism.blocks[1].register_forward_hook(lambda *args: None)
    assert bridge_needed(organism)
    handle.remove()
    handle = organism.blocks[1].mlp.register_forward_pre_hook(lambda *args: None)
    assert bridge_needed(organism)
    handle.remove()
    block = organism.blocks[2]
    block.__dict__["forward"] = block.forward
    assert bridge_needed(organism)
    del block.__dict__["forward"]
    assert not bridge_needed(organism)
    folded = ode.load_model("organism")
    folded.enable_compatibility_mode()
    assert bridge_needed(folded)


@torch.no_grad()
def test_hook_points_that_only_the_bridge_has_bring_it_in(organism):
    seen = []
    with hooked(organism, [("blocks.1.mlp.hook_out", lambda x, hook: seen.append(x.shape))]) as run:
        run(TOKENS)
    assert seen == [(2, 9, organism.cfg.d_model)]


@pytest.mark.parametrize("name", ["blocks.1.mlp.hook_out", "blocks.9.hook_out", "hook_embed"])
def test_a_plain_model_names_the_hook_points_it_has(name, gpt2_directory):
    plain = PlainModel(AutoModelForCausalLM.from_pretrained(gpt2_directory).eval())
    with pytest.raises(ValueError, match="no hook point of a plain model"), plain.hooks([(name, lambda x, hook: x)]):
        pass


def test_what_is_no_language_model_is_refused():
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=64, d_model=16, d_kv=4, d_ff=16, num_layers=2, num_heads=2)
    with pytest.raises(ValueError, match="has an encoder"):
        PlainModel(T5ForConditionalGeneration(config))


CONTRAST = ode.organism.contrast("valence", n=12)


@pytest.fixture(scope="module")
def with_tokenizer(pair):
    """The plain model of `pair` with the bridge's tokenizer."""
    bridge, plain = pair
    return PlainModel(plain.original_model, bridge.tokenizer)


def test_a_bridge_and_the_model_in_it_are_one_model(pair):
    bridge, plain = pair
    assert ode.ModelIdentity.of(bridge) == ode.ModelIdentity.of(plain)
    with torch.no_grad():
        plain.blocks[1].register_buffer("other", torch.zeros(1))  # no parameter: still the same
        next(plain.blocks[1].parameters()).mul_(1.01)
    assert ode.ModelIdentity.of(bridge) != ode.ModelIdentity.of(plain)
    with torch.no_grad():
        next(plain.blocks[1].parameters()).div_(1.01)


def test_what_is_fitted_on_one_steers_the_other(pair, with_tokenizer):
    bridge, plain = pair
    if bridge.cfg.architecture == "Qwen2ForCausalLM":
        return  # see below: the tokenizer that the tests lend it begins with a BOS
    found, expected = (ode.collect_activations(model, CONTRAST, prepend_bos=True) for model in (with_tokenizer, bridge))
    for layer, acts in expected.items():
        torch.testing.assert_close(found[layer].positive, acts.positive, rtol=1e-4, atol=1e-4)
    caa = ode.fit("caa", bridge, CONTRAST, layer=1, angle=0.5)
    steerer = ode.Steerer(caa.field, caa.flow, layer=1)
    with torch.no_grad():
        logits = []
        for model, run in ((bridge, bridge), (with_tokenizer, with_tokenizer), (plain.original_model, plain)):
            with steerer.on(model, prompt_length=4):
                logits.append(run(TOKENS))
        assert (logits[0] - bridge(TOKENS)).abs().max() > 1e-3
    for other in logits[1:]:
        torch.testing.assert_close(other, logits[0], rtol=1e-3, atol=1e-4)
    prompts = ode.organism.prompts(3)
    texts = [steerer.generate(x, prompts, temperature=0.0, prepend_bos=True) for x in (with_tokenizer, bridge)]
    assert texts[0] == texts[1]
    if bridge.cfg.architecture == "FalconForCausalLM":
        return  # its blocks return more than the residual stream: a suffix of them is refused
    plainly, bridged = (ode.collect_prefix(model, TOKENS, start=-1) for model in (with_tokenizer, bridge))
    edited = 1.2 * bridged.residuals[1]
    torch.testing.assert_close(plainly.logits(1, edited), bridged.logits(1, edited), rtol=1e-3, atol=1e-4)


def test_texts_are_the_tokens_of_the_bridge(pair, with_tokenizer):
    bridge, _ = pair
    if bridge.cfg.architecture == "Qwen2ForCausalLM":
        return  # TransformerLens takes it for granted that its tokenizer begins with no BOS, as this one does
    for prepend_bos in (None, True, False):
        text = "anna was happy ."
        assert torch.equal(with_tokenizer.to_tokens(text, prepend_bos), bridge.to_tokens(text, prepend_bos=prepend_bos))
    text = with_tokenizer.tokenizer.bos_token + "anna was"
    assert with_tokenizer.to_tokens(text, True)[0].tolist().count(with_tokenizer.tokenizer.bos_token_id) == 1


def test_without_a_tokenizer_texts_are_refused(gpt2_directory):
    model = AutoModelForCausalLM.from_pretrained(gpt2_directory).eval()
    for call in (
        lambda: ode.generate(model, ["anna was"]),
        lambda: ode.collect_activations(model, CONTRAST),
        lambda: ode.fit("caa", model, CONTRAST, layer=1, angle=0.1),
    ):
        with pytest.raises(ValueError, match="without a tokenizer"):
            call()
