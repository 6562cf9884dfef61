"""Several steerers on one model: their order, their own position rules, caching, and what is saved."""

import json

import pytest
import torch

import odesteer_tl as ode
from tests.problems import padded_prompts, written_logits

TOKENS = torch.arange(7, 14)[None]


@pytest.fixture(scope="module")
def fields(model):
    """One concept each on layers 0 to 2: a curved barrier, a straight direction, another barrier."""
    valence = ode.collect_activations(model, ode.organism.contrast("valence", n=30), layers=[0, 1, 2])
    agreement = ode.collect_activations(model, ode.organism.contrast("agreement", n=30), layers=[2])
    kernel = ode.KernelBarrier(gamma=4.0, C=10.0)
    x, y, z = valence[0], valence[1], agreement[2]
    return [
        ode.BarrierField(kernel.fit(x.positive, x.negative)),
        ode.ConstantField(y.positive.mean(0) - y.negative.mean(0)),
        ode.BarrierField(ode.LinearBarrier().fit(z.positive, z.negative)),
    ]


@pytest.fixture
def steerers(fields):
    """Three layers, three position rules, three strengths."""
    rules = ["generated", "all", "prompt"]
    return [
        ode.Steerer(field, ode.Flow(angle=0.3 + 0.1 * i), layer=i, positions=rules[i]) for i, field in enumerate(fields)
    ]


def nested(model, steerers, prompt_length=4):
    if not steerers:
        return model(TOKENS)
    with steerers[0].on(model, prompt_length):
        return nested(model, steerers[1:], prompt_length)


def composed(model, steerers, prompt_length=4):
    with ode.compose(steerers).on(model, prompt_length):
        return model(TOKENS)


def test_on_different_layers_it_is_the_nested_blocks_in_any_order(model, steerers):
    logits = composed(model, steerers)
    assert torch.equal(logits, nested(model, steerers))
    assert torch.equal(logits, composed(model, steerers[::-1]))
    assert torch.equal(logits, model.run_with_hooks(TOKENS, fwd_hooks=ode.compose(steerers).hooks(4)))
    for left_out in range(3):
        assert (logits - composed(model, steerers[:left_out] + steerers[left_out + 1 :])).abs().max() > 1e-3


def test_on_one_layer_each_starts_where_the_one_before_it_ended(model, fields):
    first, second = (ode.Steerer(fields[i], ode.Flow(angle=0.8), layer=1, positions="all") for i in (0, 2))
    logits = composed(model, [first, second])
    assert torch.equal(logits, nested(model, [first, second]))
    assert (logits - composed(model, [second, first])).abs().max() > 1e-3

    def by_hand(x, hook):
        return second.flow.solve(second.field, first.flow.solve(first.field, x).end).end

    assert torch.equal(logits, model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.hook_out", by_hand)]))


def stream(model, steerers, layer):
    """resid_post of a layer after all steering of it."""
    seen = []
    look = [(f"blocks.{layer}.hook_out", lambda x, hook: seen.append(x.clone()))]
    model.run_with_hooks(TOKENS, fwd_hooks=[*(pair for s in steerers for pair in s.hooks(4)), *look])
    return seen[0]


def test_each_member_keeps_its_own_positions(model, fields):
    rules = {0: ("last", [3]), 1: ("prompt", [0, 1, 2, 3]), 2: ("generated", [3, 4, 5, 6])}
    steerers = [ode.Steerer(fields[i], ode.Flow(angle=0.5), i, rule) for i, (rule, _) in rules.items()]
    for i, (_, expected) in rules.items():
        # what a member changes beside the others: the residual stream right after it, with and without it
        with_it, without = (stream(model, members, i) for members in (steerers[: i + 1], steerers[:i]))
        assert (with_it != without).any(-1)[0].nonzero().squeeze(1).tolist() == expected


def test_cached_generation_equals_uncached(model, steerers, fields):
    members = [*steerers, ode.Steerer(fields[0], ode.Flow(angle=0.4), layer=1, positions="last")]
    tokens, mask = padded_prompts(6)
    hooks = ode.compose(members).hooks(6)
    logits = [written_logits(model, tokens, mask, hooks, cached=use) for use in (True, False)]
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)


def test_it_generates_and_leaves_no_hook_behind(model, steerers):
    count = lambda: sum(len(p.fwd_hooks) for p in model.hook_dict.values())  # noqa: E731
    before, composition = count(), ode.compose(steerers)
    texts = composition.generate(model, ["anna was", "the lamp"], max_new_tokens=4, temperature=0.0)
    assert all(text.startswith(prompt) for text, prompt in zip(texts, ["anna was", "the lamp"], strict=True))
    with pytest.raises(RuntimeError, match="mine"), composition.on(model, prompt_length=4):
        raise RuntimeError("mine")
    assert count() == before
    assert torch.equal(composed(model, [s.at(ode.Flow(angle=0.0)) for s in steerers]), model(TOKENS))


def test_save_and_load_give_identical_logits(model, steerers, tmp_path):
    composition = ode.compose([s.bound_to(model) for s in steerers])
    composition.save(tmp_path / "c")
    loaded = ode.Composition.load(tmp_path / "c")
    assert torch.equal(composed(model, loaded.steerers), composed(model, steerers))
    assert [s.positions for s in loaded.steerers] == [s.positions for s in steerers]
    assert [p.name for p in tmp_path.iterdir()] == ["c"]
    with pytest.raises(ValueError, match="not overwritten"):
        composition.save(tmp_path / "c")


def test_a_damaged_file_is_refused_and_a_failed_save_leaves_nothing(steerers, tmp_path):
    ode.compose(steerers).save(tmp_path / "c")
    whole = json.loads((tmp_path / "c" / "composition.json").read_text())
    for broken in ({**whole, "format": 99}, {**whole, "n_steerers": 4}, {**whole, "n_steerers": 0}, {}):
        (tmp_path / "c" / "composition.json").write_text(json.dumps(broken))
        with pytest.raises(ValueError, match="not a readable composition"):
            ode.Composition.load(tmp_path / "c")
    (tmp_path / "c" / "composition.json").write_text(json.dumps(whole))
    (tmp_path / "c" / "1" / "tensors.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="not a readable composition"):
        ode.Composition.load(tmp_path / "c")
    own = ode.Steerer(steerers[0].field, steerers[0].flow, 1, positions=lambda at, prompt_length: at > 2)
    with pytest.raises(ValueError, match="callable"):
        ode.compose([*steerers, own]).save(tmp_path / "d")
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_bad_input_names_the_argument_and_the_value(model, steerers):
    with pytest.raises(ValueError, match="steerers is empty"):
        ode.compose([])
    with pytest.raises(ValueError, match="prompt_length is missing"):
        ode.compose(steerers).hooks()
    far = ode.Steerer(steerers[0].field, steerers[0].flow, layer=99)
    with pytest.raises(ValueError, match="layer=99"), ode.compose([*steerers, far]).on(model, 4):
        pass
    with pytest.raises(ValueError, match="layer=99"):
        ode.compose([far]).generate(model, ["anna was"])
