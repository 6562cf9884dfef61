"""Methods that need the model: attention heads, several layers, feedback over layers, labels from attention."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupShuffleSplit

import odesteer_tl as ode
from odesteer_tl import methods
from odesteer_tl.sites import HEADS
from tests.problems import draw, gaussian_classes, padded_prompts, written_logits

CONTRAST = ode.organism.contrast("valence", n=12)
FEW = ode.organism.contrast("valence", n=4)
TOKENS = torch.arange(7, 14)[None]


@pytest.fixture
def entered(monkeypatch):
    """Enter a method for one test, as `register` does for good."""

    def enter(name, base, **changes):
        monkeypatch.setitem(ode.METHODS, name, replace(ode.METHODS[base], **changes))
        return name

    return enter


def seen(model, tokens, name, hooks=()):
    """What a hook point carries while a model runs with hooks; [pos, *width] of one text."""
    found = []
    with torch.no_grad():
        model.run_with_hooks(tokens, fwd_hooks=[*hooks, (name, lambda x, hook: found.append(x[0].clone()))])
    return found[0]


def added(T):
    """The flow of an additive method."""
    return ode.Flow(T=T, steps=1, solver="euler")


# --- sites


def test_a_steerer_of_heads_adds_to_the_heads_and_changes_what_follows(model):
    heads, d_head = model.cfg.n_heads, model.cfg.d_head
    assert seen(model, TOKENS, f"blocks.1.{HEADS}").shape == (7, heads, d_head)
    direction = torch.zeros(heads, d_head)
    direction[2] = torch.linspace(-1, 1, d_head)
    field = ode.ConstantField(direction.flatten())
    steerer = ode.Steerer(field, added(2 * field.length), layer=1, positions="all", site=HEADS)

    def by_hand(z, hook):
        z = z.clone()
        z[:, :, 2] += 2 * direction[2]
        return z

    with torch.no_grad(), steerer.on(model):
        steered = model(TOKENS)
    with torch.no_grad():
        expected = model.run_with_hooks(TOKENS, fwd_hooks=[(f"blocks.1.{HEADS}", by_hand)])
        torch.testing.assert_close(steered, expected, rtol=1e-4, atol=1e-4)
        assert (steered - model(TOKENS)).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("rule", "expected"), [("all", range(7)), ("generated", range(3, 7)), ("prompt", range(4)), ("last", [3])]
)
def test_position_rules_hold_at_the_heads(model, rule, expected):
    field = ode.ConstantField(torch.ones(model.cfg.n_heads * model.cfg.d_head))
    steerer = ode.Steerer(field, ode.Flow(T=1.0), layer=2, positions=rule, site=HEADS)
    name = steerer.hook_name
    change = seen(model, TOKENS, name, steerer.hooks(prompt_length=4)) - seen(model, TOKENS, name)
    assert change.flatten(1).any(-1).nonzero().squeeze(1).tolist() == list(expected)


def test_activations_of_heads_are_those_of_each_text(model):
    acts = ode.collect_activations(model, FEW, [0, 2], site=HEADS, batch_size=3)
    for layer in (0, 2):
        expected = torch.stack([seen(model, model.to_tokens(t), f"blocks.{layer}.{HEADS}")[-1] for t in FEW.negative])
        torch.testing.assert_close(acts[layer].negative, expected, rtol=1e-4, atol=1e-4)
    mean = ode.collect_activations(model, FEW, [2], "mean", site=HEADS)[2].positive
    # BOS is left out of a mean
    expected = seen(model, model.to_tokens(FEW.positive[0]), f"blocks.2.{HEADS}")[1:].mean(0)
    torch.testing.assert_close(mean[0], expected, rtol=1e-4, atol=1e-4)


def test_a_cache_tells_sites_apart(organism, tmp_path):
    for site in (HEADS, "hook_out", HEADS):
        acts = ode.collect_activations(organism, CONTRAST, [1], site=site, cache=tmp_path)
        assert acts[1].positive.ndim == (3 if site == HEADS else 2)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture
def heads_and_residual(model):
    """ITI on the heads of two layers around a rotation of the residual stream."""
    on_heads = ode.fit("iti_heads", model, CONTRAST, layer=[1, 2], T=3.0)
    return ode.compose([*on_heads.steerers, ode.fit("rotation", model, CONTRAST, layer=1, T=0.3)])


def test_heads_and_residual_stream_compose_and_are_saved(model, heads_and_residual, tmp_path):
    heads_and_residual.save(tmp_path / "c")
    loaded = ode.Composition.load(tmp_path / "c")
    assert [s.hook_name for s in loaded.steerers] == [s.hook_name for s in heads_and_residual.steerers]
    logits = []
    for composition in (heads_and_residual, loaded, ode.compose(heads_and_residual.steerers[::-1])):
        with torch.no_grad(), composition.on(model, prompt_length=4):
            logits.append(model(TOKENS))
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])
    for left_out in range(len(loaded.steerers)):
        rest = ode.compose([s for i, s in enumerate(loaded.steerers) if i != left_out])
        with torch.no_grad(), rest.on(model, prompt_length=4):
            assert (model(TOKENS) - logits[0]).abs().max() > 1e-4


def test_heads_and_residual_stream_with_and_without_a_cache(model, heads_and_residual):
    tokens, mask = padded_prompts(6)
    hooks = heads_and_residual.hooks(6)
    logits = [written_logits(model, tokens, mask, hooks, cached=use) for use in (True, False)]
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)


def test_files_of_format_1_are_read_and_a_file_says_its_site(organism, tmp_path):
    for site in ("hook_out", HEADS):
        field = ode.ConstantField(torch.ones(128))
        ode.Steerer(field, ode.Flow(T=1.0), layer=3, site=site).save(tmp_path / site)
        content = json.loads((tmp_path / site / "steerer.json").read_text())
        assert content["format"] == 5
        assert content["hook_name"] == f"blocks.3.{site}"
        assert ode.Steerer.load(tmp_path / site).site == site
    content = json.loads((tmp_path / "hook_out" / "steerer.json").read_text())
    (tmp_path / "hook_out" / "steerer.json").write_text(json.dumps({**content, "format": 1}))
    assert ode.Steerer.load(tmp_path / "hook_out").hook_name == "blocks.3.hook_out"
    (tmp_path / "hook_out" / "steerer.json").write_text(json.dumps({**content, "hook_name": "blocks.3.nowhere"}))
    with pytest.raises(ValueError, match="site='nowhere'"):
        ode.Steerer.load(tmp_path / "hook_out")


# --- inference-time intervention on heads


def planted_heads(n=120, heads=8, d_head=40, informative=(5, 7), shift=0.35, seed=0):
    """Classes that differ in two heads only, by `shift` standard deviations of the noise in each coordinate."""
    positive, negative = draw(n, heads, d_head, seed=seed), draw(n, heads, d_head, seed=seed + 1)
    for head in informative:
        positive[:, head] += shift * draw(d_head, seed=head).sign()
    return positive, negative


def test_heads_are_chosen_by_accuracy_on_rows_held_out():
    """Forty coordinates and sixty rows: on the rows it was fitted on, a probe of pure noise is nearly perfect too."""
    positive, negative = planted_heads(n=30, shift=1.0)
    X, y = torch.cat([positive, negative])[:, 0].numpy(), [1] * 30 + [0] * 30
    assert LogisticRegression(max_iter=10_000).fit(X, y).score(X, y) > 0.95
    shift = methods.iti_heads(positive, negative, heads=2).tensors["bias"].reshape(8, 40)
    assert shift.any(-1).nonzero().squeeze(1).tolist() == [5, 7]


@pytest.mark.parametrize("direction", ["mass_mean", "probe"])
def test_a_chosen_head_is_moved_by_alpha_standard_deviations(direction):
    positive, negative = planted_heads()
    field = methods.iti_heads(positive, negative, 3, heads=1, direction=direction)
    a = draw(4, 320)
    shift = (added(1.0).solve(field, a).end - a)[0].reshape(8, 40)
    shift[shift.abs() < 1e-12] = 0
    (head,) = shift.any(-1).nonzero().squeeze(1).tolist()
    rows = torch.cat([positive, negative])[:, head].numpy()
    theta = positive[:, head].mean(0) - negative[:, head].mean(0)
    if direction == "probe":
        pairs, labels = np.tile(np.arange(120), 2), np.repeat([1, 0], 120)
        train, held = next(GroupShuffleSplit(1, test_size=0.2, random_state=3).split(rows, groups=pairs))
        assert sorted(pairs[held][:24]) == sorted(pairs[held][24:])  # partners are held out together
        probe = LogisticRegression(max_iter=10_000).fit(rows[train], labels[train])  # no rescaling, as its authors
        theta = torch.from_numpy(probe.coef_[0])
    theta = (theta / theta.norm()).numpy()
    np.testing.assert_allclose(shift[head].numpy(), np.std(rows @ theta) * theta, rtol=1e-5, atol=1e-7)
    # T is the paper's α
    torch.testing.assert_close(added(15.0).solve(field, a).end, a + 15 * shift.flatten(), rtol=1e-9, atol=1e-9)


def test_two_samples_that_agree_on_the_data_agree_on_the_heads():
    shifts = [methods.iti_heads(*planted_heads(n=400), seed=seed, heads=2).tensors["bias"] for seed in (0, 1)]
    torch.testing.assert_close(shifts[0], shifts[1], rtol=0, atol=0)  # the split chooses heads, and nothing else


def test_a_head_that_writes_nothing_is_never_nan():
    positive, negative = planted_heads()
    positive[:, 0] = negative[:, 0] = 0
    shift = methods.iti_heads(positive, negative, heads=8).tensors["bias"].reshape(8, 40)
    assert torch.isfinite(shift).all()
    assert not shift[0].any()


def test_heads_of_several_layers_are_ranked_together(organism, entered):
    name, layers, K = entered("iti5", "iti_heads", fit=partial(methods.iti_heads, heads=5)), [1, 2, 3], 5
    contrast = ode.organism.contrast("valence", n=60)
    composition = ode.fit(name, organism, contrast, layer=layers, seed=1, T=4.0, steer_position="all_and_bos")
    acts = ode.collect_activations(organism, contrast, layers, site=HEADS)
    rows, labels, pairs = {}, np.repeat([1, 0], 60), np.tile(np.arange(60), 2)
    accuracies = {}
    for layer in layers:
        both = torch.cat([acts[layer].positive, acts[layer].negative]).double().numpy()
        train, held = next(GroupShuffleSplit(1, test_size=0.2, random_state=1).split(both, groups=pairs))
        for head in range(4):
            X = rows[layer, head] = both[:, head]
            probe = LogisticRegression(max_iter=10_000).fit(X[train], labels[train])
            accuracies[layer, head] = probe.score(X[held], labels[held])
    best = sorted(accuracies, key=lambda key: (-accuracies[key], key))[:K]
    found = {
        (s.layer, int(head)): s.field.tensors["bias"].reshape(4, 32)[head]
        for s in composition.steerers
        for head in s.field.tensors["bias"].reshape(4, 32).any(-1).nonzero().squeeze(1)
    }
    assert sorted(found) == sorted(best)
    for key, shift in found.items():
        X = rows[key]
        theta = X[:60].mean(0) - X[60:].mean(0)
        theta /= np.linalg.norm(theta)
        np.testing.assert_allclose(shift.numpy(), np.std(X @ theta) * theta, rtol=1e-9, atol=1e-9)
    first = min(s.layer for s in composition.steerers)
    name = f"blocks.{first}.{HEADS}"
    change = seen(organism, TOKENS, name, composition.hooks()) - seen(organism, TOKENS, name)
    for head in range(4):
        expected = 4.0 * found.get((first, head), torch.zeros(32)).float()
        torch.testing.assert_close(change[:, head], expected.expand(7, -1), rtol=1e-4, atol=1e-4)


# --- several layers


def by_hand(model, contrast, layers, positions, T=1.0, gains=(1.0, 0.0, 0.0)):
    """Mean-AcT under PID control, one text at a time, with plain hooks: `{layer: u}`."""
    used, errors = {}, []

    def last_state(text, layer, steered):
        tokens = model.to_tokens(text)

        def add(x, hook, u):
            x = x.clone()
            x[:, 0 if positions == "all_and_bos" else -1 :] += T * u
            return x

        hooks = [(f"blocks.{k}.hook_out", partial(add, u=u)) for k, u in used.items()] if steered else []
        return seen(model, tokens, f"blocks.{layer}.hook_out", hooks)[-1]

    for layer in layers:
        target = torch.stack([last_state(text, layer, False) for text in contrast.positive]).mean(0)
        state = torch.stack([last_state(text, layer, True) for text in contrast.negative]).mean(0)
        errors.append(target - state)
        before = errors[-2] if len(errors) > 1 else errors[-1]
        used[layer] = gains[0] * errors[-1] + gains[1] * sum(errors[:-1]) + gains[2] * (errors[-1] - before)
    return used


@pytest.mark.parametrize("positions", ["all_and_bos", "generated"])
def test_layers_are_fitted_on_what_the_layers_before_them_leave(model, positions):
    composition = ode.fit("mean_act", model, FEW, layer=[2, 0, 1], T=0.7, steer_position=positions)
    expected = by_hand(model, FEW, [0, 1, 2], positions, T=0.7)
    assert [s.layer for s in composition.steerers] == [0, 1, 2]
    for steerer in composition.steerers:
        found = steerer.field.tensors["bias"].float()
        scale = float(expected[steerer.layer].norm())
        torch.testing.assert_close(found, expected[steerer.layer], rtol=0, atol=1e-4 * scale)
    assert composition.steerers[2].provenance["negatives_steered_at"] == [0, 1]
    assert "negatives_steered_at" not in composition.steerers[0].provenance


def test_transport_in_turn_puts_the_negatives_mean_on_the_positives_at_the_last_layer(model):
    """Fitted at every layer without steering, the same maps overshoot: each repeats what those before it did."""
    in_turn = ode.fit("linear_act", model, FEW, layer=[0, 1, 2], steer_position="all_and_bos")
    apart = ode.compose([ode.fit("linear_act", model, FEW, layer=k, steer_position="all_and_bos") for k in (0, 1, 2)])
    distance = []
    for composition in (in_turn, apart):
        acts = ode.collect_activations(model, FEW, [2], negatives_under=composition.hooks)[2]
        gap = acts.positive.mean(0) - acts.negative.mean(0)
        distance.append(float(gap.norm() / acts.positive.mean(0).norm()))
    assert distance[0] < 1e-4
    assert distance[1] > 0.05


@pytest.mark.parametrize("name", ["caa", "linear_act", "odesteer_rff", "iti_heads"])
def test_one_layer_in_a_list_is_that_layer(organism, name):
    strength = {} if ode.METHODS[name].T else {"angle": 0.4}
    alone = ode.fit(name, organism, CONTRAST, layer=2, seed=3, **strength)
    listed = ode.fit(name, organism, CONTRAST, layer=[2], seed=3, **strength)
    assert isinstance(alone, ode.Steerer)
    assert isinstance(listed, ode.Composition)
    (member,) = listed.steerers
    mine, other = alone.field.dump()[1], member.field.dump()[1]
    assert all(torch.equal(mine[key], other[key]) for key in mine)
    assert (member.flow, member.provenance, member.model) == (alone.flow, alone.provenance, alone.model)


@pytest.mark.parametrize("name", ["odesteer_rff", "rotation"])
def test_any_method_goes_over_layers_and_the_model_is_left_as_it_was(organism, name):
    count = lambda: sum(len(p.fwd_hooks) for p in organism.hook_dict.values())  # noqa: E731
    before, logits = count(), organism(TOKENS)
    strength = {} if ode.METHODS[name].T else {"angle": 0.3}
    composition = ode.fit(name, organism, CONTRAST, layer=range(1, 4), **strength)
    assert count() == before
    assert torch.equal(organism(TOKENS), logits)
    alone = ode.fit(name, organism, CONTRAST, layer=3, **strength)
    a = draw(5, 128)
    ends = [s.flow.solve(s.field, a).end for s in (composition.steerers[2], alone)]
    assert not torch.equal(*ends)
    weaker = composition.at(ode.Flow(angle=0.0))
    with weaker.on(organism, prompt_length=3):
        assert torch.equal(organism(TOKENS), logits)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("positions", ["all_and_bos", "generated"])
def test_steered_activations_are_those_of_a_run_on_the_text_alone(model, positions, batch_size):
    field = ode.ConstantField(torch.linspace(-1, 1, model.cfg.d_model))
    steerer = ode.Steerer(field, ode.Flow(angle=0.5), layer=0, positions=positions)
    collect = partial(ode.collect_activations, model, FEW, [0, 2], batch_size=batch_size)
    acts, plain = collect(negatives_under=steerer.hooks), collect()
    for layer in (0, 2):
        assert torch.allclose(acts[layer].positive, plain[layer].positive, rtol=1e-4, atol=1e-4)
        expected = []
        for text in FEW.negative:
            tokens = model.to_tokens(text)
            expected.append(seen(model, tokens, f"blocks.{layer}.hook_out", steerer.hooks(tokens.shape[1]))[-1])
        torch.testing.assert_close(acts[layer].negative, torch.stack(expected), rtol=1e-4, atol=1e-4)


def test_steered_activations_are_not_cached(organism, tmp_path):
    steerer = ode.Steerer(ode.ConstantField(torch.ones(128)), ode.Flow(angle=0.5), layer=0)
    ode.collect_activations(organism, FEW, [1], negatives_under=steerer.hooks, cache=tmp_path)
    assert not list(tmp_path.iterdir())


# --- feedback over layers


@pytest.mark.parametrize("base", ["caa", "iti", "mean_act"])
def test_proportional_control_of_gain_1_is_the_method_itself(organism, base, entered):
    controlled = entered("controlled", base, layers=methods.InTurn(methods.PID(1.0, 0.0, 0.0)))
    strength = {} if ode.METHODS[base].T else {"relative": 0.2}
    plain, same = (ode.fit(name, organism, FEW, layer=[1, 2, 3], **strength) for name in (base, controlled))
    logits = []
    for composition in (plain, same):
        with torch.no_grad(), composition.on(organism, prompt_length=4):
            logits.append(organism(TOKENS))
    assert torch.equal(*logits)
    for mine, other in zip(plain.steerers, same.steerers, strict=True):
        a, b = mine.field.dump()[1], other.field.dump()[1]
        assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("gains", [(1.0, 0.1, 0.1), (0.5, 0.4, -0.3)])
def test_pid_is_the_closed_loop_by_hand(model, gains, entered):
    name = entered("mine", "pid", layers=methods.InTurn(methods.PID(*gains)))
    composition = ode.fit(name, model, FEW, layer=[0, 1, 2], steer_position="all_and_bos")
    expected = by_hand(model, FEW, [0, 1, 2], "all_and_bos", gains=gains)
    for steerer in composition.steerers:
        scale = float(expected[steerer.layer].norm())
        found = steerer.field.tensors["bias"].float()
        torch.testing.assert_close(found, expected[steerer.layer], rtol=0, atol=1e-3 * scale)


def test_pid_as_registered(organism):
    assert ode.METHODS["pid"].layers == methods.InTurn(methods.PID(1.0, 0.1, 0.1))
    alone, shift = (ode.fit(name, organism, FEW, layer=2) for name in ("pid", "mean_act"))
    assert torch.equal(alone.field.tensors["bias"], shift.field.tensors["bias"])
    closed = ode.fit("pid", organism, FEW, layer=[1, 2, 3], steer_position="all_and_bos")
    assert [s.layer for s in closed.steerers] == [1, 2, 3]


def test_the_loop_is_closed_what_is_left_at_a_later_layer_is_less(organism):
    """The error that a layer finds is smaller than the mean difference there without steering before it."""
    closed = ode.fit("mean_act", organism, FEW, layer=[1, 2, 3], steer_position="all_and_bos")
    for steerer in closed.steerers[1:]:
        alone = ode.fit("mean_act", organism, FEW, layer=steerer.layer)
        assert steerer.field.tensors["bias"].norm() < 0.7 * alone.field.tensors["bias"].norm()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.tuples(*[st.floats(-2, 2)] * 3), st.integers(0, 1000))
def test_the_control_law(n, gains, seed):
    r = draw(n, 6, seed=seed)
    fields = [ode.ConstantField(x, median_norm=2.0) for x in r]
    padded = np.vstack([r[:1].numpy(), r.numpy()])  # no change before the first layer
    expected = gains[0] * padded[-1] + gains[1] * padded[1:-1].sum(0) + gains[2] * (padded[-1] - padded[-2])
    if np.linalg.norm(expected) < 1e-6:
        return
    field = methods.PID(*gains)(fields)
    np.testing.assert_allclose(field.given.numpy(), expected, rtol=0, atol=1e-12)
    assert field.median_norm == 2.0


def test_only_additive_methods_can_be_controlled(organism, entered):
    for base in ("linear_act", "rotation"):
        name = entered("mine", base, layers=methods.InTurn(methods.PID(1.0, 0.0, 0.0)))
        with pytest.raises(ValueError, match="is not additive"):
            ode.fit(name, organism, FEW, layer=[1, 2], T=1.0)


# --- labels from attention


def test_hard_labels_are_soft_labels_of_0_and_1():
    positive, negative = gaussian_classes(40, 16)
    hard = methods.rfm(positive, negative)
    for low, high in ((0, 1), (-1, 1), (-3, 5)):
        soft = methods.rfm(positive, negative, labels=torch.tensor([float(high)] * 40 + [float(low)] * 40))
        torch.testing.assert_close(soft.direction, hard.direction, rtol=0, atol=1e-12)
    assert torch.equal(methods.rfm(positive, negative, labels=torch.tensor([1.0] * 40 + [0.0] * 40)).given, hard.given)


def planted_attention(n=400, pos=20, d=24, prefix=6, last=8, seed=0):
    """States that carry a concept at the token that looks at it, as strongly as it looks; the last one hardly does."""
    concept = 6 * draw(d, seed=99) / draw(d, seed=99).norm()
    generator = torch.Generator().manual_seed(seed)
    states, alone = draw(n, pos, d, seed=seed + 1), draw(n, pos - prefix, d, seed=seed + 2)
    patterns = 0.02 * torch.rand(n, 2, pos, pos, generator=generator)
    for i in range(n):
        token = int(torch.randint(pos - last, pos - 1, (1,), generator=generator))
        patterns[i, :, token, 1:prefix] += 0.2 * torch.rand(1, generator=generator)
        states[i, token] += patterns[i, :, token, 1:prefix].mean(0).sum() * concept
    return states, alone, patterns, concept


def test_soft_labels_at_attending_tokens_find_a_concept_that_the_last_token_does_not_carry():
    states, alone, patterns, concept = planted_attention()
    at, weight = zip(*(methods.most_attending(p, slice(1, 6), 8) for p in patterns), strict=True)
    rows = torch.arange(len(states))
    positive, negative = states[rows, list(at)], alone[rows, torch.tensor(at) - 6]
    labels = torch.cat([torch.stack(weight), torch.zeros(len(negative))])
    soft, hard = methods.rfm(positive, negative, labels=labels), methods.rfm(positive, negative)
    last = methods.rfm(states[:, -1], alone[:, -1])
    cosines = [float(torch.cosine_similarity(f.direction, concept, dim=0)) for f in (soft, hard, last)]
    assert cosines[0] > 0.95
    assert cosines[0] > cosines[1]
    assert cosines[2] < 0.5


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 12), st.integers(0, 1000))
def test_the_most_attending_token_by_search(statement, width, last, seed):
    pos = 1 + width + statement
    pattern = torch.rand(3, pos, pos, generator=torch.Generator().manual_seed(seed))
    at, weight = methods.most_attending(pattern, slice(1, 1 + width), last)
    score = {q: sum(float(pattern[h, q, k]) for h in range(3) for k in range(1, 1 + width)) / 3 for q in range(pos)}
    allowed = [q for q in range(pos) if q >= 1 + width and q >= pos - last]
    assert at == max(allowed, key=score.get)
    assert float(weight) == pytest.approx(score[at], abs=1e-5)


STATEMENTS = ["the lamp was near the door", "anna saw a boat and a dog .", "this valley looked cloudy"]
CONCEPT = "anna cherished joyful luck . "


def test_attended_states_are_those_of_each_text(model):
    attended = methods.collect_attended(model, STATEMENTS, CONCEPT, [0, 2], last=3)
    start, width = 1, model.to_tokens(CONCEPT).shape[1] - 1
    for layer, acts in attended.items():
        for i, statement in enumerate(STATEMENTS):
            behind, alone = model.to_tokens(CONCEPT + statement), model.to_tokens(statement)
            pattern = seen(model, behind, f"blocks.{layer}.attn.hook_pattern")
            paid = pattern.mean(0)[:, start : start + width].sum(-1)
            at = max(range(behind.shape[1] - 3, behind.shape[1]), key=lambda q: float(paid[q]))
            ends = behind.shape[1] - at
            assert int(acts.from_end[i]) == ends
            assert behind[0, -ends] == alone[0, -ends]
            assert float(acts.attention[i]) == pytest.approx(float(paid[at]), abs=1e-5)
            for tokens, found in ((behind, acts.positive[i]), (alone, acts.negative[i])):
                state = seen(model, tokens, f"blocks.{layer}.hook_out")[-ends]
                torch.testing.assert_close(found, state, rtol=1e-4, atol=1e-4)
        assert torch.equal(acts.labels, torch.cat([acts.attention, torch.zeros(3)]))


def test_attended_rfm_steers_every_block_but_the_first_and_is_saved(organism, tmp_path):
    statements = [t.split(" . ")[0] for t in ode.organism.contrast("valence", n=8).negative]
    composition = methods.attended_rfm(organism, statements, CONCEPT, ode.Flow(T=5.0), last=4)
    assert [s.layer for s in composition.steerers] == [1, 2, 3, 4]
    acts = methods.collect_attended(organism, statements, CONCEPT, [2], last=4)[2]
    field = methods.rfm(acts.positive, acts.negative, labels=acts.labels)
    assert torch.equal(composition.steerers[1].field.given, field.given)
    composition.save(tmp_path / "c")
    logits = []
    for each in (composition, ode.Composition.load(tmp_path / "c")):
        with torch.no_grad(), each.on(organism, prompt_length=4):
            logits.append(organism(TOKENS))
    assert torch.equal(*logits)
    assert (logits[0] - organism(TOKENS)).abs().max() > 1e-2


# --- bad input


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda m: ode.Steerer(ode.ConstantField(torch.ones(3)), ode.Flow(T=1.0), 0, site="mlp"), "site='mlp'"),
        (lambda m: ode.Steerer(ode.ConstantField(torch.ones(3)), ode.Flow(T=1.0), 0, site=HEADS).check(m), "n_heads"),
        (lambda m: ode.collect_activations(m, FEW, [1], site="mlp"), "site='mlp'"),
        (lambda m: ode.fit("caa", m, FEW, layer=[], angle=0.1), r"layer=\[\]"),
        (lambda m: ode.fit("caa", m, FEW, layer=[1, 1], angle=0.1), r"layer=\[1, 1\]"),
        (lambda m: ode.fit("caa", m, FEW, layer=[1, 9], angle=0.1), "layer=9"),
        (lambda m: methods.iti_heads(*planted_heads(), heads=9), "heads=9"),
        (lambda m: methods.iti_heads(*planted_heads(), heads=0), "heads=0"),
        (lambda m: methods.iti_heads(*planted_heads(), direction="pca"), "direction='pca'"),
        (lambda m: methods.iti_heads(*planted_heads(), validation=1.0), "validation=1.0"),
        (lambda m: methods.iti_heads(*planted_heads(n=1)), "positive has 1 rows"),
        (lambda m: methods.iti_heads(*gaussian_classes(9, 6)), "site='attn.hook_z'"),
        (lambda m: methods.rfm(*gaussian_classes(4, 3), labels=torch.ones(8)), "not all the same"),
        (lambda m: methods.rfm(*gaussian_classes(4, 3), labels=torch.ones(7)), "labels has shape"),
        (lambda m: methods.rfm(*gaussian_classes(4, 3), labels=torch.tensor([torch.nan] * 8)), "finite"),
        (lambda m: methods.collect_attended(m, STATEMENTS, CONCEPT, [1], last=0), "last=0"),
        (lambda m: methods.collect_attended(m, [], CONCEPT, [1]), "statements is empty"),
        (lambda m: methods.collect_attended(m, STATEMENTS, CONCEPT, [9]), "layer=9"),
        (lambda m: methods.collect_attended(m, STATEMENTS, "", [1]), "concept=''"),
        (lambda m: methods.side_by_side(methods.caa, lambda *_: _same(m), [1], 0), "direction is zero"),
        (lambda m: methods.side_by_side(methods.mean_act, lambda *_: _same(m), [1], 0), "no difference there"),
    ],
)
def test_bad_input_names_the_argument_and_the_value(organism, make, word, unchecked):
    with pytest.raises(ValueError, match=word):
        make(organism)


def _same(model):
    return ode.collect_activations(model, ode.ContrastSet.from_texts(STATEMENTS, STATEMENTS), [1])
