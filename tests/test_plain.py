"""Plain models: what runs without the bridge is what runs with it, and nothing of a user's is passed over."""

import pytest
import torch
from transformers import AutoModelForCausalLM

import odesteer_tl as ode
from odesteer_tl.plain import PlainModel, bridge_needed, hooked, unbridged
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
