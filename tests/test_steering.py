"""Steering a real model: positions, KV cache, padding, other people's hooks, dtypes, saving and loading."""

import json
from dataclasses import replace

import pytest
import torch

import odesteer_tl as ode
from odesteer_tl.positions import RULES
from tests.problems import padded_prompts, written_logits


@pytest.fixture(scope="module")
def barrier(model):
    acts = ode.collect_activations(model, ode.organism.contrast("valence", n=40), layers=[1])
    return ode.KernelBarrier(C=10.0).fit(acts[1].positive, acts[1].negative)


def make(barrier, positions="generated", **flow):
    return ode.Steerer(ode.BarrierField(barrier), ode.Flow(**(flow or {"angle": 0.6})), layer=1, positions=positions)


def every_other(at, prompt_length):
    return at % 2 == 1


def logits_by_generation(model, hooks, P, use_cache, new=5):
    return written_logits(model, *padded_prompts(P), hooks, new, use_cache)


@pytest.mark.parametrize("P", [1, 2, 6])
@pytest.mark.parametrize("positions", [*RULES, every_other])
def test_cached_logits_equal_uncached_for_every_rule(model, barrier, positions, P):
    steerer = make(barrier, positions)
    cached, plain = (logits_by_generation(model, steerer.hooks(prompt_length=P), P, use) for use in (True, False))
    torch.testing.assert_close(cached, plain, rtol=1e-4, atol=1e-4)
    unsteered = logits_by_generation(model, [], P, True)
    assert (cached - unsteered).abs().max() > 1e-2


def test_the_naive_last_position_rule_fails_that_test(model, barrier):
    flow, field = ode.Flow(angle=0.6), ode.BarrierField(barrier)

    def naive(x, hook):
        x = x.clone()
        x[:, -1] = flow.solve(field, x[:, -1]).end
        return x

    hooks = [("blocks.1.hook_out", naive)]
    cached, plain = (logits_by_generation(model, hooks, 6, use) for use in (True, False))
    assert (cached - plain).abs().max() > 1e-2


@pytest.mark.parametrize(("positions", "steered"), [("all", [0, 1, 2, 3, 4, 5, 6]), ("generated", [3, 4, 5, 6]),
                                                     ("prompt", [0, 1, 2, 3]), ("last", [3])])  # fmt: skip
def test_each_rule_steers_the_positions_it_says(model, barrier, positions, steered):
    tokens = torch.arange(7, 14)[None]
    before = {}
    with model.hooks(fwd_hooks=[("blocks.1.hook_out", lambda x, hook: before.update(x=x.clone()))]):
        model(tokens)
    after = {}
    look = [("blocks.1.hook_out", lambda x, hook: after.update(x=x.clone()))]
    with make(barrier, positions).on(model, prompt_length=4), model.hooks(fwd_hooks=look):
        model(tokens)
    moved = (before["x"] != after["x"]).any(-1)[0].nonzero().squeeze(1).tolist()
    assert moved == steered


def test_padding_does_not_change_what_a_prompt_gets(model, barrier):
    tokens, _ = padded_prompts(6)
    together = logits_by_generation(model, make(barrier).hooks(prompt_length=6), 6, True)[:, 1]
    own = tokens[1:2, 3:]
    alone = written_logits(model, own, torch.ones_like(own), make(barrier).hooks(prompt_length=3), new=5)
    torch.testing.assert_close(alone[:, 0], together, rtol=1e-3, atol=1e-3)


def test_zero_strength_leaves_logits_bitwise(model, barrier):
    tokens = torch.arange(7, 14)[None]
    with make(barrier, angle=0.0).on(model, prompt_length=4):
        steered = model(tokens)
    assert torch.equal(steered, model(tokens))


def test_a_users_hooks_survive_and_ours_are_gone_after_an_exception(model, barrier):
    seen = []
    model.add_hook("blocks.0.hook_out", lambda x, hook: seen.append(x.shape))
    count = lambda: sum(len(p.fwd_hooks) for p in model.hook_dict.values())  # noqa: E731
    before, tokens = count(), torch.arange(7, 14)[None]
    plain = model(tokens)
    within = []

    def fail():
        with make(barrier, "last").on(model, prompt_length=4):
            within.append(count())
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail()
    assert within[0] > before
    assert count() == before
    assert torch.equal(model(tokens), plain)
    assert len(seen) == 2
    model.reset_hooks()


def test_both_idioms_agree_and_nest(model, barrier):
    tokens, steerer = torch.arange(7, 14)[None], make(barrier)
    by_hooks = model.run_with_hooks(tokens, fwd_hooks=steerer.hooks(prompt_length=4))
    with steerer.on(model, prompt_length=4):
        logits, cache = model.run_with_cache(tokens)
    assert torch.equal(by_hooks, logits)
    assert "blocks.1.hook_out" in cache
    with steerer.on(model, prompt_length=4), steerer.on(model, prompt_length=4):
        twice = model(tokens)
    assert (twice - logits).abs().max() > 1e-3


def test_observation_sees_every_steered_position_once(model, barrier):
    seen = []
    steerer = make(barrier)
    hooks = steerer.hooks(prompt_length=6, observe=lambda path, at: seen.append((path.points.shape, at.tolist())))
    logits_by_generation(model, hooks, 6, True, new=4)
    assert [at for _, at in seen] == [[5], [6], [7], [8]] or [at for _, at in seen] == [[5], [6], [6], [6]]
    assert all(shape == (11, 3, 1, barrier.d_model) for shape, _ in seen)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_models(dtype, organism):
    contrast = ode.organism.contrast("valence", n=8)
    steerer = ode.fit("odesteer", organism, contrast, layer=1, angle=0.6)
    model = ode.load_model("organism", dtype=dtype)
    with steerer.bound_to(model).on(model, prompt_length=4):
        half = model(torch.arange(7, 14)[None])
    with steerer.on(organism, prompt_length=4):
        full = organism(torch.arange(7, 14)[None])
    torch.testing.assert_close(half.float(), full, rtol=0.1, atol=0.3)
    acts = ode.collect_activations(model, ode.organism.contrast("valence", n=8), layers=[1])
    assert acts[1].positive.dtype == torch.float32
    assert acts.model.dtype == dtype


def test_save_and_load_give_identical_logits(model, barrier, tmp_path):
    tokens = torch.arange(7, 14)[None]
    barrier.calibrate(*(torch.randn(20, barrier.d_model) for _ in range(2)))
    for i, field in enumerate([
        ode.BarrierField(barrier),
        ode.BarrierField(barrier.quadratic),
        ode.BarrierField(ode.SketchBarrier(n_components=100).fit(*[torch.randn(9, barrier.d_model) for _ in range(2)])),
        ode.BarrierField(ode.FourierBarrier(n_components=99).fit(*[torch.randn(9, barrier.d_model) for _ in range(2)])),
        ode.ConstantField(torch.randn(barrier.d_model), 3.0),
    ]):  # fmt: skip
        steerer = ode.Steerer(field, ode.Flow(angle=0.4), layer=1, provenance={"note": "é"}).bound_to(model)
        steerer.save(tmp_path / f"s{i}")
        loaded = ode.Steerer.load(tmp_path / f"s{i}")
        with steerer.on(model, prompt_length=4):
            expected = model(tokens)
        with loaded.on(model, prompt_length=4):
            assert torch.equal(model(tokens), expected)
        assert loaded.flow == steerer.flow
        assert loaded.model == steerer.model
        assert loaded.provenance == {"note": "é"}
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"s{i}" for i in range(5)]


def test_a_damaged_file_is_refused(model, barrier, tmp_path):
    steerer = make(barrier).bound_to(model)
    steerer.save(tmp_path / "s")
    with pytest.raises(ValueError, match="not overwritten"):
        steerer.save(tmp_path / "s")
    tensors = tmp_path / "s" / "tensors.safetensors"
    whole = tensors.read_bytes()
    for damage in (whole[: len(whole) // 2], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        tensors.write_bytes(damage)
        with pytest.raises(ValueError, match="not a readable steerer"):
            ode.Steerer.load(tmp_path / "s")
    tensors.write_bytes(whole)
    content = json.loads((tmp_path / "s" / "steerer.json").read_text())
    for broken in ({**content, "format": 99}, {**content, "field": "os.system"}, {k: content[k] for k in ("format",)}):
        (tmp_path / "s" / "steerer.json").write_text(json.dumps(broken))
        with pytest.raises(ValueError, match="not a readable steerer"):
            ode.Steerer.load(tmp_path / "s")
    with pytest.raises(ValueError, match="not a readable steerer"):
        ode.Steerer.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="callable"):
        make(barrier, every_other).save(tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_another_model_is_refused(organism, gpt2_directory):
    barrier = ode.LinearBarrier().fit(torch.randn(9, 128), torch.randn(9, 128))
    steerer = ode.Steerer(ode.BarrierField(barrier), ode.Flow(angle=0.1), layer=1, positions="all").bound_to(organism)
    with pytest.raises(ValueError, match="dtype='float32'"), steerer.on(ode.load_model("organism", dtype="bfloat16")):
        pass
    other = ode.load_model("organism")
    with torch.no_grad():
        other.original_model.get_input_embeddings().weight.add_(0.1)
    with pytest.raises(ValueError, match="fingerprint"), steerer.on(other):
        pass
    with steerer.bound_to(other).on(other):
        other(torch.arange(5)[None])
    with pytest.raises(ValueError, match="d_model=64"), steerer.on(ode.load_model(gpt2_directory)):
        pass
    compatible = ode.load_model("organism")
    compatible.enable_compatibility_mode()
    with pytest.raises(ValueError, match="compatibility_mode"), steerer.on(compatible):
        pass


def test_a_models_name_is_for_people_and_not_compared(organism, gpt2, gpt2_directory):
    identity = ode.ModelIdentity.of(organism)
    assert identity.name == "organism"
    assert ode.ModelIdentity.of(gpt2).name == gpt2_directory.name
    # as files name it that were saved by its folder
    replace(identity, name="weights").require(organism)


def test_a_model_that_is_no_bridge_in_this_process_is_refused(barrier, unchecked):
    import transformer_lens
    from transformer_lens import model_bridge

    # TransformerLens 3 has no remote bridges, and 4 no HookedTransformer
    kind = getattr(model_bridge, "RemoteBridge", None) or transformer_lens.HookedTransformer
    remote = kind.__new__(kind)
    for call in (
        lambda: make(barrier).check(remote),
        lambda: ode.generate(remote, ["a"]),
        lambda: ode.collect_activations(remote, ode.organism.contrast("valence", n=1)),
    ):
        with pytest.raises(ValueError, match="cannot run hook functions"):
            call()


@pytest.mark.parametrize("name", sorted(ode.METHODS))
def test_every_method_fits_steers_saves_and_reproduces(name, organism, tmp_path):
    contrast = ode.organism.contrast("valence", n=30)
    short = ode.Training(steps=3, batch_size=4, every=3, looked_at=2, kl=None, learning_rate=0.1)
    trained = {} if ode.METHODS[name].train is None else {"training": short}
    steerer, again = (ode.fit(name, organism, contrast, layer=2, angle=0.5, seed=1, **trained) for _ in range(2))
    tokens = organism.to_tokens(contrast.negative[:1])  # where a gate opens
    with steerer.on(organism, prompt_length=4):
        logits = organism(tokens)
    with again.on(organism, prompt_length=4):
        assert torch.equal(organism(tokens), logits)
    steerer.save(tmp_path / name)
    with ode.Steerer.load(tmp_path / name).on(organism, prompt_length=4):
        assert torch.equal(organism(tokens), logits)
    assert (logits - organism(tokens)).abs().max() > 1e-3
    assert steerer.provenance["method"] == name


def test_generation_is_seeded_and_leaves_the_callers_random_state(organism):
    steerer = ode.fit("caa", organism, ode.organism.contrast("valence", n=30), layer=2, angle=0.3)
    prompts = ode.organism.prompts(5)
    state = torch.get_rng_state()
    one, two, other = (steerer.generate(organism, prompts, seed=s, batch_size=2) for s in (0, 0, 1))
    assert one == two != other
    assert torch.equal(torch.get_rng_state(), state)
    assert all(text.startswith(prompt) for text, prompt in zip(one, prompts, strict=True))


@pytest.mark.parametrize("prepend_bos", [None, False])
def test_a_prompt_is_continued_to_the_contexts_end_and_not_beyond(model, prepend_bos):
    context = model.cfg.n_ctx
    longest = "anna was" + " sunny" * (context - 5 - len(model.to_tokens("anna was", prepend_bos=prepend_bos)[0]))
    settings = {"max_new_tokens": 5, "temperature": 0.0, "prepend_bos": prepend_bos}
    seen = []
    texts = ode.generate(model, ["anna was", longest], lambda P: seen.append(P) or [], **settings)
    assert texts[1].startswith(longest)
    assert seen == [context - 5]
    refused = rf"text 'anna was.* has {context - 4} tokens with 5 tokens to be generated, .* context is {context}"
    with pytest.raises(ValueError, match=refused):
        ode.generate(model, ["anna was", longest + " round"], lambda P: seen.append(P) or [], batch_size=1, **settings)
    assert len(seen) == 1, "refused before anything is generated"


@pytest.mark.parametrize(
    ("act", "word"),
    [
        (lambda m, b: make(b).hooks(), "prompt_length is missing"),
        (lambda m, b: make(b).hooks(prompt_length=0), "prompt_length=0"),
        (lambda m, b: make(b, "middle"), "positions='middle'"),
        (lambda m, b: ode.Steerer(ode.BarrierField(b), ode.Flow(angle=1.0), layer=99).check(m), "layer=99"),
        (lambda m, b: ode.Steerer(ode.BarrierField(b), ode.Flow(angle=1.0), layer=-1), "layer=-1"),
        (lambda m, b: ode.Steerer(ode.ConstantField(torch.ones(3)), ode.Flow(angle=1.0), layer=0).check(m), "d_model="),
        (lambda m, b: ode.fit("steer", m, ode.organism.contrast("valence", n=2), layer=1, angle=1.0), "method='steer'"),
        (lambda m, b: ode.fit("caa", m, ode.organism.contrast("valence", n=2), layer=1, angle=1.0, steps=0), "steps=0"),
        (lambda m, b: ode.generate(m, []), "prompts is empty"),
        (lambda m, b: ode.generate(m, ["a"], temperature=-1.0), "temperature=-1.0"),
        (lambda m, b: ode.load_model("organism", dtype="int8"), "dtype='int8'"),
        (lambda m, b: ode.load_model("tests"), "config.json"),
        (lambda m, b: ode.organism.contrast("truth"), "concept='truth'"),
    ],
)
def test_bad_input_names_the_argument_and_the_value(model, barrier, act, word, unchecked):
    with pytest.raises(ValueError, match=word):
        act(model, barrier)
