"""Levels and multipliers: strengths that mean something, met exactly."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import odesteer_tl as ode
from odesteer_tl.fields import AffineField, GatedField, GradientField
from tests.problems import activations, gaussian_classes, random_quadratic


@pytest.fixture(scope="module")
def fitted():
    positive, negative = gaussian_classes(40, 24)
    return ode.KernelBarrier(gamma=1.0, C=10.0).fit(positive, negative), positive, negative


def angles(points):
    u = points / points.norm(dim=-1, keepdim=True)
    return 2 * torch.atan2((u[1:] - u[:-1]).norm(dim=-1), (u[1:] + u[:-1]).norm(dim=-1))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 500), d=st.sampled_from([3, 16]), share=st.floats(0.05, 0.95), steps=st.integers(1, 12))
def test_the_end_is_the_level_and_every_step_is_certified(seed, d, share, steps):
    q, a = random_quadratic(d, seed, curvature=2.0), activations(12, d, norm=5.0, seed=seed)
    h = q.value(a)
    level = float(h.min() + share * (h.max() - h.min()))
    path = ode.Flow(level=level, steps=steps).solve(ode.BarrierField(q), a, record=True)
    end, rests = q.value(path.end), h >= level
    climbed = path.reached & ~rests
    torch.testing.assert_close(end[climbed], torch.full_like(end[climbed], level), rtol=1e-9, atol=1e-12)
    assert bool((end[~rests] <= level + 1e-12).all()), "h overshot the level"
    assert torch.equal(path.end[rests], a[rests])
    assert bool(path.reached[rests].all())
    assert not bool(ode.certify_path(q, path.points).refuted.any())
    torch.testing.assert_close(path.points.norm(dim=-1), torch.full(path.points.shape[:-1], 5.0).double())
    # what did not arrive, and could still turn, stands at a maximum of h
    at_top = ~path.reached & (angles(path.points).sum(0) < math.pi - 1e-6)
    assert torch.equal(at_top, path.stationary)
    assert bool((q.gradient(path.end[at_top]).norm(dim=-1) * 5 < 1e-4 * q.curvature_bound).all())


def test_a_levels_end_is_where_a_fine_flow_crosses_it(fitted):
    barrier, _, negative = fitted
    field, a = ode.BarrierField(barrier), negative[:5].double()
    fine = ode.Flow(angle=1.5, steps=6000).solve(field, a, record=True).points
    h = barrier.value(fine)
    level = float(h[2000].max())
    crossing = (h >= level).int().argmax(0)
    expected = torch.stack([fine[k, i] for i, k in enumerate(crossing.tolist())])
    errors = []
    for steps in (20, 40):
        end = ode.Flow(level=level, steps=steps).solve(field, a).end
        errors.append(float(((end - expected).norm(dim=-1) / a.norm(dim=-1)).max()))
    assert errors[1] < 5e-3
    assert errors[1] < 0.6 * errors[0]  # first order, as the geodesic steps are


def test_a_linear_barriers_level_is_met_at_the_angle_of_the_formula():
    b = torch.tensor([3.0, 0.0, 0.0]).double()
    q = ode.QuadraticBarrier(A=torch.zeros(3, 3), b=b, c=-1.0)
    a = torch.tensor([[0.0, 2.0, 0.0]])
    end = ode.Flow(level=0.5).solve(ode.BarrierField(q), a).end[0]
    assert float(torch.atan2(end[0], end[1])) == pytest.approx(math.asin(1.5 / 3.0), abs=1e-7)


def test_a_row_that_cannot_get_there_ends_at_its_best_and_says_so():
    q, a = random_quadratic(8, 3, curvature=1.0), activations(10, 8, norm=5.0)
    ceiling = ode.ceiling(q)
    above = ode.Flow(level=float(ceiling.bound) + 1.0).solve(ode.BarrierField(q), a)
    assert not bool(above.reached.any())
    assert float(q.value(above.end).max()) == pytest.approx(float(ceiling.bound), rel=1e-6)
    short = ode.Flow(level=1e6, angle=0.1).solve(ode.BarrierField(q), a, record=True)
    assert not bool(short.reached.any())
    torch.testing.assert_close(
        angles(short.points).sum(0), torch.full((10,), 0.1, dtype=torch.float64), rtol=1e-9, atol=0
    )
    plain = ode.Flow(angle=0.1, solver="certified").solve(ode.BarrierField(q), a).end
    torch.testing.assert_close(short.end, plain, rtol=1e-9, atol=1e-9)
    assert "reached the level: 0 of 10" in repr(short)
    assert ode.Flow(angle=0.1).solve(ode.BarrierField(q), a).reached is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_do_not_influence_each_other_and_resting_ones_keep_their_bits(fitted, dtype):
    barrier, positive, negative = fitted
    a = torch.cat([negative[:3], positive[:3]]).to(dtype)
    flow, field = ode.Flow(level="median"), ode.BarrierField(barrier)
    assert f"median: until h is {float(barrier.positive_quantile(0.5)):.3g}" in repr(ode.Steerer(field, flow, 0))
    path = flow.solve(field, a)
    assert path.end.dtype == dtype
    rests = barrier.value(a.double()) >= barrier.positive_quantile(0.5)
    assert torch.equal(path.end[rests], a[rests])
    for i in range(6):
        torch.testing.assert_close(flow.solve(field, a[i : i + 1]).end[0], path.end[i], rtol=1e-6, atol=1e-6)


def test_one_level_a_row(fitted):
    barrier, _, negative = fitted
    levels = torch.tensor([0.0, 1.0, -50.0])
    end = ode.Flow(level=levels).solve(ode.BarrierField(barrier), negative[:3].double()).end
    expected = torch.maximum(levels.double(), barrier.value(negative[:3].double()))
    torch.testing.assert_close(barrier.value(end), expected, rtol=1e-9, atol=1e-9)


def test_quantiles_of_the_positives_are_remembered_saved_and_replaced_by_held_out_ones(fitted, tmp_path):
    barrier, positive, negative = fitted
    h = barrier.value(positive.double())
    for name, share in (("median", 0.5), ("q75", 0.75), ("q0", 0.0), ("q100", 1.0)):
        end = ode.Flow(level=name).solve(ode.BarrierField(barrier), negative[:2].double()).end
        torch.testing.assert_close(barrier.value(end), h.quantile(share).expand(2), rtol=1e-9, atol=1e-9)
    ode.Steerer(ode.BarrierField(barrier), ode.Flow(level="median", angle=1.0), layer=1).save(tmp_path / "s")
    loaded = ode.Steerer.load(tmp_path / "s")
    assert loaded.flow == ode.Flow(level="median", angle=1.0)
    assert loaded.field.barrier.positive_quantile(0.5) == barrier.positive_quantile(0.5)
    other, held_out = (gaussian_classes(30, 24, seed=s) for s in (5, 6))
    again = ode.KernelBarrier(gamma=1.0, C=10.0).fit(*other).calibrate(*held_out)
    median = again.value(held_out[0].double()).quantile(0.5)
    assert again.positive_quantile(0.5) == pytest.approx(float(median), abs=1e-12)


def test_an_older_file_steers_by_number_and_refuses_the_median(fitted):
    barrier, _, negative = fitted
    settings, tensors = ode.BarrierField(barrier).dump()
    old = ode.BarrierField.load(settings, {k: x for k, x in tensors.items() if k != "positive_percentiles"})
    assert bool(ode.Flow(level=0.0).solve(old, negative[:2]).reached.all())
    with pytest.raises(ValueError, match=r"level='median'.*fit it again"):
        ode.Flow(level="median").solve(old, negative[:2])


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: ode.Flow(level=1.0, T=1.0), "exactly one"),
        (lambda: ode.Flow(level="mean"), "level='mean' is no level"),
        (lambda: ode.Flow(level="q101"), "level='q101' is no level"),
        (lambda: ode.Flow(level=math.inf), "level=inf"),
        (lambda: ode.Flow(level=1.0, angle=-1.0), "angle=-1.0 is negative"),
        (lambda: ode.Flow(level=1.0, solver="euler"), "solver='euler'"),
        (lambda: ode.Flow(level=1.0).solve(ode.ConstantField(torch.ones(3)), torch.ones(1, 3)), "needs a quadratic"),
        (lambda: ode.Flow(level=1.0).length(ode.ConstantField(torch.ones(3)), torch.ones(1, 1)), "use solve"),
        (lambda: ode.Flow(level=torch.ones(2)).config(), "cannot be saved"),
    ],
)  # fmt: skip
def test_levels_that_mean_nothing_are_refused(make, word):
    with pytest.raises(ValueError, match=word):
        make()


def test_a_steerer_brings_the_last_token_to_the_median_of_real_positives(organism):
    contrast = ode.organism.contrast("valence", n=40)
    steerer = ode.fit("odesteer_kernel", organism, contrast, layer=3, level="median", steer_position="last")
    barrier, tokens, after = steerer.field.barrier, torch.arange(7, 14)[None], []
    with torch.no_grad(), steerer.on(organism, prompt_length=7):
        organism.run_with_hooks(tokens, fwd_hooks=[(steerer.hook_name, lambda x, hook: after.append(x[0, -1]))])
    expected = max(barrier.positive_quantile(0.5), float(barrier.value(after[0])))
    assert float(barrier.value(after[0].double())) == pytest.approx(expected, rel=1e-4)


# --- multipliers


def test_a_multiplier_adds_the_vector_as_it_was_learned():
    a, v = activations(4, 6, norm=3.0), torch.linspace(-2, 5, 6).double()
    field = ode.ConstantField(v)
    for alpha in (-1.5, 0.0, 1.0, 2.5):
        flow = ode.Flow(multiplier=alpha)
        assert (flow.solver, flow.steps, flow.unit, flow.strength) == ("euler", 1, "multiplier", alpha)
        torch.testing.assert_close(flow.solve(field, a).end, a + alpha * v, rtol=1e-13, atol=1e-13)
    by_row = torch.tensor([0.0, 1.0, 2.0, -1.0]).double()
    torch.testing.assert_close(
        ode.Flow(multiplier=by_row).solve(field, a).end, a + by_row[:, None] * v, rtol=1e-13, atol=1e-13
    )
    gated = GatedField(field, v, -1.0)
    torch.testing.assert_close(ode.Flow(multiplier=2.0).solve(gated, a).end, a + 2 * v, rtol=1e-13, atol=1e-13)


def test_a_multiplier_of_a_map_is_the_share_of_the_way():
    a, target = activations(4, 6), torch.randn(6, generator=torch.Generator().manual_seed(0)).double()
    field = AffineField(torch.zeros(6).double(), target, None)
    torch.testing.assert_close(
        ode.Flow(multiplier=0.25).solve(field, a).end, a + 0.25 * (target - a), rtol=1e-12, atol=1e-12
    )


def test_a_field_without_a_unit_of_its_own_refuses_a_multiplier():
    q, a = random_quadratic(6, 0), activations(2, 6)
    with pytest.raises(ValueError, match="multiplier: BarrierField has unit speed"):
        ode.Flow(multiplier=1.0).solve(ode.BarrierField(q), a)
    torch.testing.assert_close(ode.Flow(multiplier=0.1).solve(GradientField(q), a).end, a + 0.1 * q.gradient(a))


# --- algebra of constant fields


def test_constant_fields_add_up_in_their_own_units():
    v, w = (torch.randn(5, generator=torch.Generator().manual_seed(s)).double() for s in (1, 2))
    a, b = ode.ConstantField(v, 10.0), ode.ConstantField(w, 10.0)
    cases = [(a + b, v + w), (a - b, v - w), (-a, -v), (2 * a, 2 * v), (a * 0.5, v / 2), (a / 4, v / 4)]
    for field, expected in cases:
        assert torch.equal(field.given, expected)
        assert field.median_norm == 10.0
        assert field.length == pytest.approx(float(expected.norm()), rel=1e-15)
    x = activations(3, 5)
    both = ode.Flow(multiplier=1.5).solve(a - 2 * b, x).end
    torch.testing.assert_close(both, x + 1.5 * (v - 2 * w), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("make", "error", "word"),
    [
        (lambda v: v - v, ValueError, "direction is zero"),
        (lambda v: 0 * v, ValueError, "direction is zero"),
        (lambda v: v / 0, ValueError, "factor=0"),
        (lambda v: v * math.nan, ValueError, "NaN"),
        (lambda v: v + ode.ConstantField(torch.ones(4)), ValueError, "width 4"),
        (lambda v: v + 1.0, TypeError, "unsupported"),
        (lambda v: v * v, TypeError, "unsupported"),
    ],
)
def test_algebra_that_has_no_answer_is_refused(make, error, word, unchecked):
    with pytest.raises(error, match=word):
        make(ode.ConstantField(torch.ones(3)))


def test_a_sum_of_fields_of_different_norms_has_no_relative_strength():
    v, w = ode.ConstantField(torch.ones(3), 10.0), ode.ConstantField(torch.arange(3.0), 12.0)
    assert (v + w).median_norm is None
    with pytest.raises(ValueError, match="relative"):
        ode.Flow(relative=0.1).solve(v + w, torch.ones(1, 3))
