"""Steering inside vLLM: the bridge's own greedy tokens, and a loud end wherever a text would not be steered."""

import importlib.util

import pytest
import torch
from safetensors.torch import load_file
from vllm import SamplingParams

import odesteer_tl as ode
from odesteer_tl.serving import NotSteered, generate_vllm

STEERERS = ("constant", "published", "kernel 1", "kernel 10", "certified", "optimal", "gated")
BOS = True  # as TransformerLens has it for this architecture, and is not here to say


def path(folder, name):
    return folder / name.replace(" ", "-")


def greedy(n):
    return SamplingParams(temperature=0.0, max_tokens=n)


def new(reference, name):
    """How many tokens the reference was asked for."""
    return 24 if name.startswith("long") else 32


def served(llm, reference, kind, steerer, name, **how):
    bos = None if kind == "chats" else BOS
    return generate_vllm(llm, steerer, reference["prompts"][kind], greedy(new(reference, name)), prepend_bos=bos, **how)


def test_this_environment_has_no_transformer_lens():
    assert importlib.util.find_spec("transformer_lens") is None


@pytest.mark.parametrize("kind", ["texts", "chats"])
@pytest.mark.parametrize("name", ["unsteered", *STEERERS])
def test_greedy_tokens_are_those_of_the_bridge(llm, reference, folder, kind, name):
    steerer = None if name == "unsteered" else path(folder, name)
    key = name if kind == "texts" else f"chats {name}"
    found = [s.tokens.tolist() for s in served(llm, reference, kind, steerer, name)]
    expected = reference["tokens"][key]
    same = sum(a == b for x, y in zip(found, expected, strict=True) for a, b in zip(x, y, strict=False))
    print(f"{key}: {same} of {sum(map(len, expected))} tokens")
    assert found == expected


@pytest.mark.parametrize("rule", ["all", "prompt", "last"])
def test_every_position_rule_is_the_bridges(llm, reference, folder, rule):
    found = served(llm, reference, "short", folder / f"rule-{rule}", rule)
    assert [s.tokens.tolist() for s in found] == reference["tokens"][f"rule {rule}"]
    for text in found:
        n, m = len(text.prompt_tokens), len(text.tokens)
        assert text.steered[0] in {"all": (n + m - 2, n + m - 1), "prompt": (n,), "last": (1,)}[rule]


def test_the_input_of_a_block_is_the_output_of_the_one_before_it(llm, reference, folder):
    found = served(llm, reference, "texts", folder / "resid-pre", "kernel 10")
    assert [s.tokens.tolist() for s in found] == reference["tokens"]["kernel 10"]


def test_texts_and_chats_are_decoded_as_the_bridge_decodes_them(llm, reference, folder):
    found = [s.text for s in served(llm, reference, "short", path(folder, "kernel 10"), "kernel 10")]
    assert found == reference["generated"]
    assert [s.text for s in served(llm, reference, "chats", path(folder, "kernel 10"), "chats")] == reference["chat"]


def test_steerers_and_strengths_share_a_batch_with_a_request_that_is_not_steered(llm, reference, folder):
    tokens, kernel = reference["tokens"], path(folder, "kernel 10")
    found = served(
        llm, reference, "short", [kernel, None, ode.Steerer.load(path(folder, "constant")), kernel], "mixed",
        strength=[None, None, None, 0.4],
    )  # fmt: skip
    expected = [tokens["kernel 10"][0], tokens["unsteered"][1], tokens["constant"][2], tokens["kernel 10 stronger"][3]]
    assert [s.tokens.tolist() for s in found] == expected
    assert [s.steered for s in found][1] == ()


def test_a_text_longer_than_a_block_of_the_cache_leaves_nothing_in_it(llm, reference, folder):
    """The prompt's first block is kept under its tokens, and a steered one must be found by nobody else."""
    everywhere = ode.Steerer.load(folder / "rule-all")
    long = reference["prompts"]["long"]
    (text,) = served(llm, reference, "long", path(folder, "kernel 10"), "long")
    assert text.tokens.tolist() == reference["tokens"]["long kernel 10"][0]
    generate_vllm(llm, everywhere, long, greedy(8), prepend_bos=BOS)
    ids = text.prompt_tokens.tolist()
    assert len(ids) > llm.llm_engine.vllm_config.cache_config.block_size
    for _ in range(2):  # the second is read from the cache of the first
        (plain,) = llm.generate([{"prompt_token_ids": ids}], greedy(24), use_tqdm=False)
        own = [t for t in plain.outputs[0].token_ids if t not in (2,)]
        assert own == reference["tokens"]["long unsteered"][0]
    # and one that the cache holds is computed again where a hook must see it
    (text,) = served(llm, reference, "long", path(folder, "kernel 10"), "long")
    assert text.tokens.tolist() == reference["tokens"]["long kernel 10"][0]


def test_a_steerer_that_raises_is_an_error_outside(llm, reference, folder):
    direction = torch.ones(576)
    raising = ode.Steerer(ode.ConstantField(direction), ode.Flow(relative=0.1), layer=12)  # of a norm that is not known
    with pytest.raises(NotSteered, match=r"prompts\[1\].*steerer 0 failed inside the engine.*relative"):
        served(llm, reference, "short", [path(folder, "kernel 10"), raising, None, None], "raising")
    # and the next call finds the engine as it was
    found = served(llm, reference, "short", path(folder, "kernel 10"), "after")
    assert [s.tokens.tolist() for s in found] == reference["tokens"]["kernel 10"][:4]


def test_a_request_that_the_engine_computes_twice_is_refused(llm, reference, folder):
    prompts = [f"{i} {reference['prompts']['long'][0]}" for i in range(16)]
    with pytest.raises(NotSteered, match="lower max_num_seqs"):
        generate_vllm(llm, path(folder, "kernel 10"), prompts, greedy(160), prepend_bos=BOS)


def test_what_cannot_be_followed_is_refused_before(llm, reference, folder):
    steerer = ode.Steerer.load(path(folder, "constant"))
    prompts, ask = reference["prompts"]["short"], greedy(4)
    heads = ode.Steerer(steerer.field, steerer.flow, layer=3, site="z")
    with pytest.raises(ValueError, match="kernels never write out"):
        generate_vllm(llm, heads, prompts, ask, prepend_bos=BOS)
    with pytest.raises(ValueError, match="has blocks 0 to 29"):
        generate_vllm(llm, ode.Steerer(steerer.field, steerer.flow, layer=30), prompts, ask, prepend_bos=BOS)
    with pytest.raises(ValueError, match="pass prepend_bos=True or False"):
        generate_vllm(llm, steerer, prompts, ask)
    with pytest.raises(ValueError, match="n=2 texts"):
        generate_vllm(llm, steerer, prompts, SamplingParams(n=2, max_tokens=2), prepend_bos=BOS)
    with pytest.raises(ValueError, match="2 entries for 4 prompts"):
        generate_vllm(llm, [steerer, None], prompts, ask, prepend_bos=BOS)
    llm.register_hooks([__import__("vllm_lens").Hook(fn=print, layer_indices=[0])])
    with pytest.raises(ValueError, match=r"call llm\.clear_hooks\(\) first"):
        generate_vllm(llm, steerer, prompts, ask, prepend_bos=BOS)
    llm.clear_hooks()


def test_a_text_carries_its_own_audit(llm, reference, folder):
    texts = served(llm, reference, "short", path(folder, "certified"), "certified", audit=True)
    for text in texts:
        (audit,) = text.audits
        n, m = len(text.prompt_tokens), text.steered[0]
        assert audit.position.tolist() == list(range(n - 1, n - 1 + m))
        assert bool(audit.proved.all())
        assert bool((audit.h > audit.h_before).all())
        assert bool(audit.log_ratio.isfinite().all())
    # a strength of 0 reads and changes nothing, and so does another barrier's reading
    still = served(llm, reference, "short", path(folder, "kernel 10"), "unsteered", strength=0.0, audit=True)
    assert [s.tokens.tolist() for s in still] == reference["tokens"]["unsteered"][:4]
    assert all(torch.equal(s.audits[0].h, s.audits[0].h_before) for s in still)
    read = served(llm, reference, "short", path(folder, "constant"), "constant", audit=path(folder, "kernel 10"))
    assert [s.tokens.tolist() for s in read] == reference["tokens"]["constant"][:4]


def test_activations_are_those_of_the_bridge(llm, folder):
    from tests.vllm.contrast import contrast

    expected = load_file(folder / "acts.safetensors")
    acts = ode.collect_activations(llm, contrast(), [2, 12, 29], "last", prepend_bos=BOS)
    mean = ode.collect_activations(llm, contrast(), [12], "mean", prepend_bos=BOS)[12]
    found = {f"{layer}.{side}": getattr(acts[layer], side) for layer in acts for side in ("positive", "negative")}
    for name, x in {**found, "mean.positive": mean.positive, "mean.negative": mean.negative}.items():
        error = float(((x - expected[name]).norm(dim=-1) / expected[name].norm(dim=-1)).max())
        print(f"activations {name}: {error:.1e} of their norm")
        assert error < 100 * torch.finfo(torch.float32).eps, name  # thirty blocks of float32, in another order
    before = ode.collect_activations(llm, contrast(), [13], "last", prepend_bos=BOS, site="resid_pre")[13]
    assert torch.equal(before.positive, acts[12].positive)
    # so a barrier needs no bridge, and what it steers is bound to this checkpoint
    barrier = ode.KernelBarrier(gamma=1.0, C=1.0).fit_activations(acts[12])
    steerer = ode.Steerer(ode.BarrierField(barrier), ode.Flow(angle=0.2), layer=12, model=acts.model)
    (text,) = generate_vllm(llm, steerer, ["The film was"], greedy(8), prepend_bos=BOS)
    assert text.steered == (8,)
