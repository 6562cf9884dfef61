"""Rivals fitted on activations, and the tools they share: each against an independent implementation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.optimize import minimize
from sklearn.decomposition import PCA, KernelPCA
from sklearn.linear_model import LogisticRegression

import odesteer_tl as ode
from odesteer_tl import methods
from odesteer_tl.fields import FilterField, GatedField, PlaneField
from odesteer_tl.fields.least import least_correction
from odesteer_tl.methods.selective_rotation import opposed
from tests.problems import activations, draw, gaussian_classes, random_quadratic

D = 12


def slsqp(G, c):
    """The shortest w with Gw ≥ c, by sequential least squares."""
    G, c = G.numpy(), c.numpy()
    rows = [{"type": "ineq", "fun": lambda w: G @ w - c, "jac": lambda w: G}]
    found = minimize(lambda w: w @ w / 2, np.zeros(G.shape[1]), jac=lambda w: w, constraints=rows, method="SLSQP",
                     options={"ftol": 1e-15, "maxiter": 500})  # fmt: skip
    return torch.from_numpy(found.x)


# --- the programme


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_the_least_correction_is_slsqps(k):
    for seed in range(30):
        G, c = draw(k, D, seed=seed), draw(k, seed=100 + seed)
        torch.testing.assert_close(least_correction(G, c), slsqp(G, c), rtol=0, atol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_correction_that_nothing_asks_for_is_none_and_an_impossible_one_too(k):
    G = draw(5, k, D)
    assert not least_correction(G, -draw(5, k).abs()).any()
    against = torch.cat([G[:, :1], -G[:, :1], G[:, :k]], dim=1)[:, : max(k, 2)]
    asked = torch.ones(against.shape[:2], dtype=torch.float64)
    if k != 1:
        assert not least_correction(against, asked).any()
    flat = torch.cat([torch.zeros_like(G[:, :1]), G[:, 1:]], dim=1)
    assert not least_correction(flat, torch.ones(5, k, dtype=torch.float64)).any()
    free = torch.cat([torch.full((5, 1), -1.0), torch.ones(5, k - 1)], dim=1).double()
    if k > 1:  # a constraint without a direction that asks for nothing is no hindrance
        assert least_correction(flat, free).any(-1).all()


@pytest.mark.parametrize("k", [2, 4])
def test_gradients_of_the_correction_are_finite_differences(k):
    G, c = draw(k, D, seed=3).requires_grad_(), draw(k, seed=4).requires_grad_()
    torch.autograd.gradcheck(least_correction, (G, c), eps=1e-6, atol=1e-6)


# --- BarrierSteer


@pytest.mark.parametrize("k", [1, 2, 4])
def test_barrier_steer_is_the_programme_of_its_paper(k):
    """u* nearest to u₀ with ∇b·u + gain·b(p) ≥ 0, by SLSQP on u; no change where nothing is violated."""
    positive, negative = gaussian_classes(40, D)
    field = methods.barrier_steer(positive, negative, barriers=k, gain=0.4)
    W, b = field.tensors["weights"], field.tensors["offsets"]
    previous, here = draw(40, D, seed=1) * 2, draw(40, D, seed=2) * 2
    found = field.after(previous)(here)
    acts = 0
    for p, a, v in zip(previous, here, found, strict=True):
        values, u0 = W @ p + b, a - p
        rows = [{"type": "ineq", "fun": lambda u, values=values: W.numpy() @ u + 0.4 * values.numpy(),
                 "jac": lambda u: W.numpy()}]  # fmt: skip
        best = minimize(lambda u, u0=u0: ((u - u0.numpy()) ** 2).sum() / 2, u0.numpy(), method="SLSQP",
                        jac=lambda u, u0=u0: u - u0.numpy(), constraints=rows,
                        options={"ftol": 1e-15, "maxiter": 500})  # fmt: skip
        torch.testing.assert_close(u0 + v, torch.from_numpy(best.x), rtol=0, atol=1e-6)
        violated = bool((W @ u0 + 0.4 * values < 0).any())
        acts += violated
        assert violated or not v.any()
    assert 0 < acts < 40


def test_the_variants_keep_their_own_constraints():
    positive, negative = gaussian_classes(40, D)
    field = methods.barrier_steer(positive, negative, barriers=4)
    settings, tensors = field.dump()

    def variant(**own):
        return FilterField.load({**settings, "own": {**settings["own"], **own}}, tensors)

    previous, here = draw(30, D, seed=1), draw(30, D, seed=2)
    W, gain = tensors["weights"], settings["own"]["gain"]
    moved = {name: variant(**own).after(previous)(here) for name, own in {
        "all": {}, "top 4": {"constraints": "top", "top": 4}, "top": {"constraints": "top"},
        "merged": {"constraints": "merged", "kappa": 10.0}}.items()}  # fmt: skip
    torch.testing.assert_close(moved["top 4"], moved["all"], rtol=0, atol=1e-9)
    asked = -gain * field.values(previous) - (here - previous) @ W.mT
    worst = (asked / W.norm(dim=1)).argmax(1)
    expected = torch.stack([least_correction(W[i][None], asked[n, i][None]) for n, i in enumerate(worst)])
    torch.testing.assert_close(moved["top"], expected, rtol=1e-9, atol=1e-12)
    # the smooth minimum, its gradient by autograd
    p = previous.clone().requires_grad_()
    low = -torch.logsumexp(-10 * (p @ W.mT + tensors["offsets"]), dim=-1) / 10
    (slope,) = torch.autograd.grad(low.sum(), p)
    wanted = (-gain * low - (slope * (here - previous)).sum(-1)).clamp_min(0) / slope.square().sum(-1)
    torch.testing.assert_close(moved["merged"], wanted.detach()[:, None] * slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_the_previous_tokens_state_is_what_was_written_whatever_the_cache(organism, cut):
    """A field that notes what it is told: the hook's account under caching, chunks and padding, against a loop."""
    model, d = organism, organism.cfg.d_model
    weights, offsets = draw(2, d).float() / 100, torch.tensor([-0.5, 0.2])
    field = FilterField(weights, offsets, 300.0, gain=0.7)
    steerer = ode.Steerer(field, ode.Flow(T=1.0, steps=1, solver="euler"), 2, positions="all_and_bos")
    tokens = torch.arange(5, 19).reshape(2, 7)
    mask = torch.ones_like(tokens)
    mask[1, :2] = 0
    states = []
    with torch.no_grad(), model.hooks(fwd_hooks=[("blocks.2.hook_out", lambda x, hook: states.append(x.clone()))]):
        model(tokens, attention_mask=mask)
    expected = states[0].clone()
    for row in range(2):
        for i in range(int((mask[row] == 0).sum()), 7):
            here = expected[row, i]
            first = i == 0 or not mask[row, i - 1]
            expected[row, i] = here + field.after(here if first else expected[row, i - 1])(here)

    def written(parts):
        found, past = [], None
        # ours stands first, the watch behind it
        with torch.no_grad(), steerer.on(model), model.hooks(
            fwd_hooks=[("blocks.2.hook_out", lambda x, hook: found.append(x.clone()))]
        ):  # fmt: skip
            start = 0
            for stop in parts:
                ids = {"position_ids": (mask.cumsum(1) - 1).clamp_min(0)[:, start:stop]}
                out = model.original_model(input_ids=tokens[:, start:stop], attention_mask=mask[:, :stop],
                                           past_key_values=past, use_cache=True, **ids)  # fmt: skip
                past, start = out.past_key_values, stop
        return torch.cat(found, dim=1)

    real = mask.bool()
    for parts in ([7], [cut, 7], [cut, *range(cut + 1, 8)]):
        torch.testing.assert_close(written(parts)[real], expected[real], rtol=1e-4, atol=1e-3)


def test_a_gate_passes_on_what_a_field_is_told_and_a_strange_cache_is_refused(organism):
    field = FilterField(draw(1, 128).float() / 100, torch.tensor([-3.0]), 300.0)
    a, previous = draw(5, 128).float() * 30, draw(5, 128, seed=1).float() * 30
    always = GatedField(field, torch.ones(128), threshold=-1.0)
    torch.testing.assert_close(always.after(previous)(a), field.after(previous)(a))
    assert not torch.allclose(always.after(previous)(a), field(a))
    steerer = ode.Steerer(field, ode.Flow(T=1.0, steps=1, solver="euler"), 2, positions="all")
    tokens = torch.arange(7, 13)[None]
    past = organism.original_model(tokens[:, :3], use_cache=True).past_key_values
    with steerer.on(organism), pytest.raises(ValueError, match="this hook saw no tokens"):
        organism.original_model(tokens[:, 3:], past_key_values=past, attention_mask=torch.ones(1, 6))


# --- Curveball


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_curveball_is_scikit_learns_kernel_pca_and_its_pre_image(degree):
    positive, negative = (x.double() for x in gaussian_classes(40, D))
    field = methods.curveball(positive, negative, alpha=1.5, components=5, degree=degree, ridge=0.3)
    norm = field.median_norm
    both, a = torch.cat([positive, negative]).numpy() / norm, activations(20, D)
    model = KernelPCA(n_components=5, kernel="poly", degree=degree, gamma=1.0, coef0=1.0, fit_inverse_transform=True,
                      alpha=0.3, eigen_solver="dense").fit(both)  # fmt: skip
    z = model.transform(both)
    shift = 1.5 * (z[:40].mean(0) - z[40:].mean(0))
    here = model.transform(a.numpy() / norm)
    torch.testing.assert_close(field.coordinates(a), torch.from_numpy(here), rtol=1e-6, atol=1e-8)
    expected = norm * (model.inverse_transform(here + shift) - model.inverse_transform(here))
    torch.testing.assert_close(field(a), torch.from_numpy(expected), rtol=1e-6, atol=1e-8)
    end = ode.Flow(T=1.0, steps=1, solver="euler").solve(field, a).end
    torch.testing.assert_close(end, a + field(a))


# --- rotations and ablation


def test_selective_rotation_turns_within_its_plane_alone():
    positive, negative = gaussian_classes(60, D)
    field = methods.selective_rotation(positive, negative, rate=2.0)
    assert isinstance(field, PlaneField)
    axes = field.tensors["axes"].double()
    difference = positive.double().mean(0) - negative.double().mean(0)
    torch.testing.assert_close(axes[0], difference / difference.norm(), rtol=1e-9, atol=1e-9)
    a = activations(30, D)
    end = ode.Flow(T=0.8, steps=40, solver="rk4").solve(field, a).end
    generator = torch.outer(axes[1], axes[0]) - torch.outer(axes[0], axes[1])
    share = 1 - np.exp(-2.0 * 0.8)
    for row, found in zip(a, end, strict=True):
        x, y = axes @ row
        turned = torch.from_numpy(expm(float(-share * torch.atan2(y, x)) * generator.numpy())) @ row
        torch.testing.assert_close(found, turned, rtol=1e-6, atol=1e-6)


def test_layers_where_the_classes_stand_on_one_side_are_left_alone(organism):
    positive, negative = gaussian_classes(30, D)
    far = 100 * torch.ones(D)
    with pytest.raises(ValueError, match="project with one sign"):
        methods.selective_rotation(positive + far, negative + far)
    contrast = ode.organism.contrast("valence", n=20)
    chosen = ode.fit("selective_rotation", organism, contrast, layer=[0, 2, 3])
    acts = ode.collect_activations(organism, contrast, [0, 2, 3])
    assert [s.layer for s in chosen.steerers] == [n for n in acts if opposed(acts[n].positive, acts[n].negative)]


def test_directional_ablation_leaves_nothing_of_its_direction():
    positive, negative = gaussian_classes(30, D)
    field, a = methods.directional_ablation(positive, negative), activations(20, D)
    v = positive.double().mean(0) - negative.double().mean(0)
    end = ode.Flow(T=1.0, steps=1, solver="euler").solve(field, a).end
    torch.testing.assert_close(end @ v, torch.zeros(20).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(end, a - (a @ v)[:, None] * v / (v @ v), rtol=1e-9, atol=1e-9)


# --- aggregators


def test_pca_is_that_of_the_differences_beside_their_negatives():
    """steering-vectors' and repeng's symmetrised form, by scikit-learn."""
    positive, negative = gaussian_classes(40, D)
    difference = (positive - negative).double()
    found = methods.pca(positive, negative)
    expected = torch.from_numpy(PCA(1).fit(torch.cat([difference, -difference]).numpy()).components_[0])
    assert float((found.direction @ expected).abs()) == pytest.approx(1.0, abs=1e-9)
    assert float((difference @ found.direction).mean()) > 0
    assert found.length == pytest.approx(1.0)


def test_centred_pca_loses_the_mean_difference_and_takes_the_majoritys_sign():
    noise = torch.eye(D).double()[1]
    negative = draw(300, D)
    positive = negative + 3 * torch.eye(D).double()[0] + (0.4 + 2 * draw(300, 1, seed=1)) * noise
    found = methods.pca_centered(positive, negative)
    expected = torch.from_numpy(PCA(1).fit((positive - negative).numpy()).components_[0])
    assert float((found.direction @ expected).abs()) == pytest.approx(1.0, abs=1e-9)
    assert float((found.direction @ noise).abs()) > 0.99
    assert float(((positive - negative) @ found.direction).sign().mean()) > 0


def test_logistic_takes_scikit_learns_arguments():
    positive, negative = gaussian_classes(40, D)
    both, labels = torch.cat([positive, negative]).double().numpy(), np.repeat([1, 0], 40)
    for arguments in ({}, {"C": 0.01, "fit_intercept": False}):
        weight = torch.from_numpy(LogisticRegression(**arguments).fit(both, labels).coef_[0])
        found = methods.logistic(positive, negative, **arguments)
        torch.testing.assert_close(found.given, weight / weight.norm(), rtol=1e-9, atol=1e-12)


# --- several barriers


def some(k, d=D):
    return [random_quadratic(d, seed) for seed in range(k)]


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_sets_control_is_slsqps(k):
    h, a = some(k), activations(25, D)
    v = ode.BarrierSet(h, levels=0.4, rate=2.0)(a)
    for row, found in zip(a, v, strict=True):
        G = torch.stack([each.gradient(row) for each in h])
        c = 2.0 * (0.4 - torch.stack([each.value(row) for each in h]))
        torch.testing.assert_close(found, slsqp(G, c), rtol=0, atol=1e-6 * float(1 + found.norm()))


def test_one_barriers_set_is_the_controller():
    (h,), a = some(1), activations(25, D)
    control = ode.fields.ControlField(h, 0.4, 2.0)
    torch.testing.assert_close(ode.BarrierSet([h], 0.4, 2.0)(a), control(a), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("k", [2, 3])
def test_no_barrier_of_a_certified_set_falls_below_its_level_along_the_written_step(k, dtype):
    h, a = some(k), activations(60, D).to(dtype)
    field = ode.BarrierSet(h, levels=0.3)
    path = ode.Flow(T=1.0, steps=8, solver="certified").solve(field, a)
    assert path.end.dtype == dtype
    certificate = field.certify(a, path.end)
    assert certificate.all.all()
    # what is proved, looked at: a thousand points of the written step
    share = torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None, None]
    between = a.double() + share * (path.end.double() - a.double())
    for each, margin in zip(h, certificate.margin, strict=True):
        values = each.value(between)
        floor = torch.minimum(values[0], torch.full_like(values[0], 0.3))
        assert (values.amin(0) - floor >= margin - 1e-9).all()
        assert (values >= floor - 1e-9).all()
    gained = torch.stack([each.value(path.end.double()) - each.value(a.double()) for each in h])
    assert (gained.amax(0)[~path.held_back] > 0).float().mean() > 0.5


def test_a_step_that_lowers_a_barrier_is_refuted():
    h, a = some(2), activations(60, D)
    down = ode.Flow(angle=0.4).solve(ode.BarrierField(h[0].negated()), a).end
    certificate = ode.BarrierSet(h, levels=9.0).certify(a, down)
    assert certificate.refuted[0].all()
    assert not certificate.all.any()


def test_a_set_is_saved_and_its_levels_may_be_quantiles(tmp_path):
    barriers = [ode.KernelBarrier().fit(*gaussian_classes(40, D, seed)) for seed in (0, 1)]
    field = ode.BarrierSet(barriers, levels=["median", 0.1])
    assert field.levels == [barriers[0].positive_quantile(0.5), 0.1]
    steerer = ode.Steerer(field, ode.Flow(T=1.0, steps=3), 2)
    steerer.save(tmp_path / "s")
    a = activations(9, D)
    torch.testing.assert_close(ode.Steerer.load(tmp_path / "s").field(a), field(a), rtol=1e-12, atol=0)
    for bad, word in (
        ([], "barriers is empty"),
        ([ode.FourierBarrier().fit(*gaussian_classes(40, D))], "of no degree"),
    ):
        with pytest.raises(ValueError, match=word):
            ode.BarrierSet(bad)
    with pytest.raises(ValueError, match="levels has 1 entries"):
        ode.BarrierSet(barriers, levels=[0.1])


def test_a_merged_barrier_is_the_smooth_minimum_with_its_gradient(tmp_path):
    h, a = some(3), activations(20, D).requires_grad_()
    both = ode.MergedBarrier(h, kappa=4.0)
    values = torch.stack([each.value(a) for each in h])
    torch.testing.assert_close(both.value(a), -torch.logsumexp(-4 * values, 0) / 4)
    (slope,) = torch.autograd.grad(both.value(a).sum(), a)
    torch.testing.assert_close(both.gradient(a.detach()), slope, rtol=1e-9, atol=1e-12)
    assert (both.value(a) <= values.amin(0)).all()
    steerer = ode.Steerer(ode.BarrierField(both), ode.Flow(angle=0.2), 2)
    steerer.save(tmp_path / "s")
    loaded = ode.Steerer.load(tmp_path / "s").field.barrier
    assert torch.equal(loaded.value(a.detach()), both.value(a.detach()))


def test_a_merged_barriers_certificate_is_its_members():
    h, a = some(2), activations(80, D)
    field = ode.BarrierSet(h, levels=0.0)
    path = ode.Flow(angle=0.6, steps=6).solve(ode.BarrierField(field.merged(2.0)), a, record=True)
    merged = field.merged(2.0)
    certificate = ode.certify_path(merged, path)
    each = [ode.certify_path(q, path).certified for q in h]
    assert torch.equal(certificate.certified, each[0] & each[1])
    assert 0.2 < certificate.certified.float().mean() < 1
    low = ode.certify_level(merged, path, -1.0)
    share = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None, None, None]
    between = path.points[:-1] + share * (path.points[1:] - path.points[:-1])
    least = merged.value(between).amin((0, 1))
    assert (least >= low.margin - 1.0 - 1e-9).all()
    assert low.certified[low.margin >= 0].all()
    assert low.certified.any()
    # where both members rise throughout, and only there, the start is kept without arithmetic
    assert (ode.certify_level(merged, path).certified >= certificate.certified.all(0)).all()


def test_a_merged_barrier_of_members_without_a_certificate_has_none():
    class Odd(ode.KernelBarrier):
        @property
        def polynomial_degree(self):
            return None

    odd = Odd().fit(*gaussian_classes(40, D))
    points = torch.stack([activations(5, D), activations(5, D, seed=2)])
    for ask in (lambda m: ode.certify_path(m, points), lambda m: ode.certify_level(m, points, 0.0),
                lambda m: ode.certify_level(m, points)):  # fmt: skip
        with pytest.raises(ValueError, match="no sound"):
            ask(ode.MergedBarrier([odd, *some(1)]))


def test_the_flows_own_strength_is_used_where_none_is_given(organism):
    contrast = ode.organism.contrast("valence", n=20)
    steerer = ode.fit("barrier_steer", organism, contrast, layer=2)
    assert (steerer.flow.T, steerer.flow.steps, steerer.flow.solver) == (1.0, 1, "euler")
    assert replace(steerer, positions="all").generate(organism, ["anna was"], max_new_tokens=4)
