"""Texts and activations by way of an engine: the bridge's own, and refused where they would not be."""

import sys

import pytest
import torch

import odesteer_tl as ode
from odesteer_tl.serving import NotSteered, generate_vllm
from tests.engine_face import LLM, Hook, SamplingParams, modules

CONTRAST = ode.organism.contrast("valence", n=24)
PROMPTS = [*ode.organism.prompts(3), "the bird"]
GREEDY = SamplingParams(temperature=0.0, max_tokens=6)


@pytest.fixture(autouse=True)
def engine_modules(monkeypatch):
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(scope="module")
def llm():
    return LLM(ode.organism.PATH)


@pytest.fixture(scope="module")
def acts(organism):
    return ode.collect_activations(organism, CONTRAST, [2])


@pytest.fixture(scope="module")
def steerers(organism, acts):
    kernel = ode.BarrierField(ode.KernelBarrier(gamma=1.0, C=1.0).fit_activations(acts[2]))
    caa = ode.METHODS["caa"].fit(acts[2].positive, acts[2].negative)
    return {
        "constant": ode.Steerer(caa, ode.Flow(angle=0.3), layer=2),
        "kernel": ode.Steerer(kernel, ode.Flow(angle=0.3), layer=2, model=ode.ModelIdentity.of(organism)),
        "certified": ode.Steerer(kernel, ode.Flow(angle=0.3, solver="certified"), layer=2, positions="all"),
        "before": ode.Steerer(kernel, ode.Flow(angle=0.3), layer=3, site="resid_pre"),
    }


def on_the_bridge(organism, steerer, prompts=PROMPTS, **how):
    return steerer.generate(organism, prompts, temperature=0.0, max_new_tokens=6, **how)


@pytest.mark.parametrize("name", ["constant", "kernel", "certified", "before"])
def test_texts_are_those_of_the_bridge(organism, llm, steerers, name):
    texts = generate_vllm(llm, steerers[name], PROMPTS, GREEDY)
    assert [x.text for x in texts] == on_the_bridge(organism, steerers[name])
    alone = generate_vllm(llm, steerers[name], PROMPTS, GREEDY, completions_only=True, prepend_bos=False)
    assert [x.text for x in alone] == on_the_bridge(organism, steerers[name], completions_only=True, prepend_bos=False)


def test_a_text_ends_where_the_bridges_does(organism, llm, steerers):
    how = SamplingParams(temperature=0.0, max_tokens=40, stop=["and"])
    texts = generate_vllm(llm, steerers["kernel"], PROMPTS, how)
    assert [x.text for x in texts] == steerers["kernel"].generate(
        organism, PROMPTS, temperature=0.0, max_new_tokens=40, stop="and"
    )
    assert "stop" in {x.finish_reason for x in texts}
    assert how.extra_args is None  # the caller's own is not touched
    assert not how.stop_token_ids


def test_each_prompt_has_its_own_steerer_and_strength(organism, llm, steerers, tmp_path):
    steerers["constant"].save(tmp_path / "constant")
    both = ode.compose([steerers["constant"], steerers["before"]])
    both.save(tmp_path / "both")
    texts = generate_vllm(
        llm, [steerers["kernel"], None, tmp_path / "constant", tmp_path / "both"], PROMPTS, GREEDY,
        strength=[0.1, None, -0.3, None],
    )  # fmt: skip
    expected = [
        on_the_bridge(organism, steerers["kernel"].at(ode.Flow(angle=0.1)), PROMPTS[:1]),
        ode.generate(organism, PROMPTS[1:2], temperature=0.0, max_new_tokens=6),
        on_the_bridge(organism, steerers["constant"].at(ode.Flow(angle=-0.3)), PROMPTS[2:3]),
        on_the_bridge(organism, both, PROMPTS[3:]),
    ]
    assert [x.text for x in texts] == [text for (text,) in expected]
    assert [len(x.steered) for x in texts] == [1, 0, 1, 2]


def test_an_audit_comes_with_the_text(llm, steerers):
    (text, *_) = generate_vllm(llm, steerers["certified"], PROMPTS, GREEDY, audit=True)
    (audit,) = text.audits
    assert len(audit.position) == text.steered[0]
    assert bool(audit.proved.all())
    read = generate_vllm(llm, steerers["constant"], PROMPTS, GREEDY, audit=steerers["kernel"])
    assert all(len(x.audits[0].h) == 6 for x in read)
    with pytest.raises(ValueError, match="follows no barrier"):
        generate_vllm(llm, steerers["constant"], PROMPTS, GREEDY, audit=True)
    with pytest.raises(ValueError, match="where it means nothing"):
        generate_vllm(llm, steerers["constant"], PROMPTS, GREEDY, audit=steerers["before"])


@pytest.mark.parametrize("position", ["last", "mean", "all"])
def test_activations_are_those_of_the_bridge(organism, llm, position):
    theirs = ode.collect_activations(organism, CONTRAST, "all", position)
    ours = ode.collect_activations(llm, CONTRAST, "all", position, batch_size=50)
    assert list(ours) == list(theirs)
    for layer in ours:
        for side in ("positive", "negative", "positive_groups", "negative_groups"):
            torch.testing.assert_close(getattr(ours[layer], side), getattr(theirs[layer], side), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        torch.tensor(ours.norms["other"].to_numpy()), torch.tensor(theirs.norms["other"].to_numpy()), rtol=1e-4, atol=0
    )
    # a steerer that is fitted on them belongs to this checkpoint, and is refused by another
    steerer = ode.Steerer(ode.ConstantField(torch.ones(ours.model.d_model)), ode.Flow(angle=0.1), 1, model=ours.model)
    assert generate_vllm(llm, steerer, PROMPTS, GREEDY)
    assert steerer.bound_to(llm).model == ours.model


def test_activations_of_an_engine_are_a_blocks_output_or_input(organism, llm):
    theirs = ode.collect_activations(organism, CONTRAST, [1], site="resid_pre")
    ours = ode.collect_activations(llm, CONTRAST, [1], site="resid_pre")
    torch.testing.assert_close(ours[1].positive, theirs[1].positive, rtol=1e-4, atol=1e-4)
    for how in ({"layers": [0], "site": "resid_pre"}, {"layers": [1], "site": "attn_out"}):
        with pytest.raises(ValueError, match="resid_pre"):
            ode.collect_activations(llm, CONTRAST, **how)
    with pytest.raises(ValueError, match=r"acts\.save"):
        ode.collect_activations(llm, CONTRAST, cache="somewhere")


def test_a_steerer_that_raises_is_an_error(llm, steerers):
    width = steerers["constant"].field.d_model
    unknown = ode.Steerer(ode.ConstantField(torch.ones(width)), ode.Flow(relative=0.1), layer=2)
    with pytest.raises(NotSteered, match=r"prompts\[1\].*relative"):
        generate_vllm(llm, [None, unknown, None, steerers["kernel"]], PROMPTS, GREEDY)


def test_a_request_computed_twice_is_an_error(steerers):
    with pytest.raises(NotSteered, match="lower max_num_seqs"):
        generate_vllm(LLM(ode.organism.PATH, dropped=1), steerers["kernel"], PROMPTS, GREEDY)


def test_what_an_engine_cannot_do_is_refused(llm, steerers, monkeypatch):
    kernel = steerers["kernel"]
    heads = ode.Steerer(steerers["constant"].field, ode.Flow(angle=0.1), layer=2, site="z")
    narrow = ode.Steerer(ode.ConstantField(torch.ones(7)), ode.Flow(angle=0.1), layer=2)
    late = ode.Steerer(steerers["constant"].field, ode.Flow(angle=0.1), layer=99)
    config = llm.model.config
    named = ode.ModelIdentity("other", config.hidden_size, config.num_hidden_layers, "bfloat16", False, "2:0")
    other = ode.Steerer(steerers["constant"].field, ode.Flow(angle=0.1), 2, model=named)
    own = SamplingParams(extra_args={"apply_hooks": [Hook(print, [0])]})
    for message, steerer, ask, how in (
        ("kernels never write out", heads, GREEDY, {}), ("field has 7", narrow, GREEDY, {}),
        ("has blocks 0 to", late, GREEDY, {}), ("dtype='bfloat16'", other, GREEDY, {}),
        ("1 entries for 4 prompts", [kernel], GREEDY, {}), ("pass n=1", kernel, SamplingParams(n=2), {}),
        ("hooks or vectors of your own", kernel, own, {}), ("3 entries", kernel, GREEDY, {"strength": [0.1] * 3}),
        ("finite", kernel, GREEDY, {"strength": float("nan")}), ("no steerer", None, GREEDY, {"strength": 0.1}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            generate_vllm(llm, steerer, PROMPTS, ask, **how)
    with pytest.raises(ValueError, match=r"no vllm\.LLM"):
        generate_vllm(llm.model, kernel, PROMPTS, GREEDY)
    settings = llm.llm_engine.vllm_config
    for message, of, name, value in (
        ("clear_hooks", llm, "_has_persistent_hooks", True),
        ("without speculative_config", settings, "speculative_config", object()),
        ("without the plugin", settings.parallel_config, "worker_extension_cls", ""),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(of, name, value, raising=of is not llm)
            with pytest.raises(ValueError, match=message):
                generate_vllm(llm, kernel, PROMPTS, GREEDY)


def test_another_name_with_the_same_sizes_is_warned_of(llm, steerers):
    from dataclasses import replace

    renamed = replace(steerers["kernel"], model=replace(steerers["kernel"].model, name="renamed"))
    with pytest.warns(UserWarning, match=r"bound_to\(llm\)"):
        generate_vllm(llm, renamed, PROMPTS, GREEDY)


def test_a_condition_which_needs_the_whole_prompt_is_refused(llm, steerers, acts, tmp_path):
    from dataclasses import replace

    from odesteer_tl.conditions import Condition

    condition = Condition(vector=acts[2].positive[0], threshold=0.1, layer=1)
    steerer = replace(steerers["kernel"], condition=condition)
    with pytest.raises(ValueError, match="pass None for a prompt"):
        generate_vllm(llm, steerer, PROMPTS, GREEDY)


def test_a_field_that_looks_at_earlier_tokens_is_refused(llm, steerers, monkeypatch):
    looking = ode.Steerer(ode.ConstantField(torch.ones(steerers["constant"].field.d_model)), ode.Flow(angle=0.1), 2)
    monkeypatch.setattr(type(looking.field), "context", "previous")
    with pytest.raises(ValueError, match="looks at the tokens before its own"):
        generate_vllm(llm, looking, PROMPTS, GREEDY)
