"""Invariance of {h ≥ level}, chatter, curvature, robustness and population bounds."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import odesteer_tl as ode
from odesteer_tl.certify import (
    certified_radius,
    certify_level,
    certify_whole,
    conformal_lower,
    geodesic_curvature,
    quadratic_share,
    rate_bound,
    reach_angle,
    reversals,
)
from tests.problems import activations, gaussian_classes, random_quadratic
from tests.soundness import polynomial


def dense(barrier, points, samples=257):
    """h along the straight segments, [steps, samples, n]."""
    t = torch.linspace(0, 1, samples, dtype=torch.float64)[None, :, None, None]
    return barrier.value(points[:-1, None] + t * (points[1:] - points[:-1])[:, None])


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("level", [None, 0.0])
def test_a_level_certificate_is_never_false(degree, level):
    barrier = polynomial(8, degree, 3, 1.0)
    points = torch.stack([activations(2000, 8, seed=1), activations(2000, 8, seed=2)])
    points = torch.cat([points, (points[1] + barrier.gradient(points[1]) * 20)[None]])
    found = certify_level(barrier, points, level)
    lowest = (dense(barrier, points) - found.level).amin((0, 1))
    assert not (found.certified & found.refuted).any()
    assert not (found.certified & (lowest < -1e-12)).any()
    assert not (found.refuted & (lowest > 1e-2)).any()
    assert (found.margin <= lowest + 1e-9).all()
    assert (found.certified | found.refuted).float().mean() > 0.98


def test_the_certified_flow_never_leaves_its_level_set_and_a_long_euler_step_does():
    q = random_quadratic(12, 4, curvature=4.0)
    a = activations(200, 12)
    field = ode.BarrierField(q)
    certified = ode.Flow(angle=5.0, steps=20, solver="certified").solve(field, a, record=True).points
    euler = ode.Flow(angle=5.0, steps=20, solver="euler").solve(field, a, record=True).points
    kept = certify_level(q, certified)
    assert not kept.refuted.any()
    assert not ode.certify_path(q, certified).refuted.any()
    assert ode.certify_path(q, euler).refuted.any(0).all()
    assert reversals(euler)[-5:].float().mean() > 0.5
    assert not reversals(ode.Flow(angle=0.5).solve(field, a, record=True).points).any()


@pytest.mark.parametrize("seed", range(2))
def test_the_certified_flow_is_never_refuted_not_even_where_it_comes_to_rest(seed):
    q = random_quadratic(96, seed, curvature=0.1 * 2**seed)
    a = activations(100, 96, seed)
    points = ode.Flow(angle=12.0, steps=30, solver="certified").solve(ode.BarrierField(q), a, record=True).points
    assert not ode.certify_path(q, points).refuted.any()
    assert not certify_level(q, points).refuted.any()
    # and it has come to rest: the last steps turn by less than 1e-6 rad
    assert (ode.certify_path(q, points).angle[-1] < 1e-6).float().mean() > 0.5


def test_curvature_predicts_what_one_geodesic_step_loses():
    """h_flow − h_one-step → κ²Gθ³/3."""
    q, a = random_quadratic(20, 1, curvature=1.0), activations(50, 20)
    field, theta = ode.BarrierField(q), 0.02
    flow = ode.Flow(angle=theta, steps=400, solver="rk4").solve(field, a, record=True).end
    one = ode.Flow(angle=theta, steps=1, solver="geodesic").solve(field, a).end
    G = (q.gradient(a) * 8).norm(dim=-1)
    predicted = geodesic_curvature(q, a) ** 2 * G * theta**3 / 3
    ratio = (q.value(flow) - q.value(one)) / predicted
    assert ratio.median() == pytest.approx(1.0, abs=0.05)


def test_a_linear_barrier_has_no_curvature_and_no_quadratic_share():
    linear = ode.LinearBarrier().fit(*gaussian_classes(30, 8)).quadratic
    a = activations(10, 8)
    assert geodesic_curvature(linear, a).abs().max() < 1e-12
    assert quadratic_share(linear, a).abs().max() < 1e-12
    pure = random_quadratic(8, 0, slope=0.0)
    torch.testing.assert_close(quadratic_share(pure, a), torch.ones(10).double())


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 20), st.integers(0, 1000), st.floats(0.05, 1.5), st.floats(-1, 1))
def test_nothing_gains_faster_than_the_reach_bound(d, seed, theta, log_curvature):
    q, a = random_quadratic(d, seed, curvature=10.0**log_curvature), activations(20, d, seed)
    best = ode.cap_bound(q, a, theta)
    gain = (best.value - q.value(a)).clamp_min(0)
    assert (reach_angle(q, a, gain) <= theta + 1e-9).all()


@settings(max_examples=8, deadline=None)
@given(st.integers(3, 24), st.integers(0, 1000), st.floats(-1, 1))
def test_inside_the_certified_radius_h_stays_above_the_level(d, seed, log_curvature):
    q, a = random_quadratic(d, seed, curvature=10.0**log_curvature), activations(30, d, seed)
    level = float(q.value(a).median()) - 0.05
    found = certified_radius(q, a, level)
    push = activations(30, d, seed + 7, norm=1.0)
    for direction in (push, -q.gradient(a), -q.gradient(a) + 0.3 * q.gradient(a).norm() * push):
        moved = a + (1 - 1e-9) * found.radius[:, None] * direction / direction.norm(dim=-1, keepdim=True)
        inside = found.radius > 0
        assert (q.value(moved)[inside] >= level - 1e-9).all()
    assert (found.radius[q.value(a) < level] == 0).all()
    # and it is not much less than what can be had: just outside, the worst point is below
    worst = ode.cap_bound(q.negated(), a, (found.angle + 1e-4).clamp_max(math.pi))
    finite = (found.angle > 0) & (found.angle < math.pi - 1e-3)
    assert (-worst.value[finite] < level + 1e-9).all()


def test_rounding_to_bfloat16_stays_inside_its_radius():
    a = activations(500, 64)
    found = certified_radius(random_quadratic(64, 0), a, level=-100.0)
    assert ((a.bfloat16().double() - a).norm(dim=-1) <= found.bfloat16).all()
    assert (found.angle == math.pi).all()


@pytest.mark.parametrize(("n", "percent"), [(100, 2.95), (300, 0.99), (817, 0.37)])
def test_no_violation_in_n_prompts(n, percent):
    assert 100 * rate_bound(np.zeros(n, dtype=bool)).upper == pytest.approx(percent, abs=0.005)
    assert rate_bound(np.zeros(n), looks=5).upper == pytest.approx(1 - 0.01 ** (1 / n))


def test_the_conformal_bound_covers():
    rng = np.random.default_rng(0)
    kept = [rng.gamma(2.0) >= conformal_lower(rng.gamma(2.0, size=99), alpha=0.05) for _ in range(4000)]
    assert np.mean(kept) == pytest.approx(0.95, abs=0.012)
    assert conformal_lower(np.ones(10), alpha=0.05) == -math.inf


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: certify_level(ode.FourierBarrier().fit(*gaussian_classes(9, 4)), torch.ones(2, 4)), "no sound"),
        (lambda: certify_level(lambda a: a, torch.ones(2, 4)), "no sound"),
        (lambda: reach_angle(random_quadratic(3, 0), torch.ones(1, 3), -torch.ones(1)), "negative"),
        (lambda: reversals(torch.ones(2, 1, 3)), "three points"),
        (lambda: rate_bound([], 0.05), "0 prompts"),
        (lambda: rate_bound([True], 1.5), "alpha=1.5"),
        (lambda: conformal_lower([np.nan]), "NaN"),
    ],
)
def test_bad_input_names_the_argument_and_the_value(make, word, unchecked):
    with pytest.raises(ValueError, match=word):
        make()


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_all_at_once_is_what_each_certificate_says_alone(degree):
    barrier = ode.KernelBarrier(degree=degree, C=10.0).fit(*gaussian_classes(60, 8))
    solver = "geodesic" if degree > 2 else "euler"
    points = (
        ode.Flow(angle=2.5, steps=12, solver=solver)
        .solve(ode.BarrierField(barrier), activations(2000, 8), record=True)
        .points
    )  # more than one block of paths
    whole = certify_whole(barrier, points, 0.3)
    alone = (ode.certify_path(barrier, points), certify_level(barrier, points, 0.3), certify_level(barrier, points))
    for found, expected in zip((whole.steps, whole.level, whole.start), alone, strict=True):
        for name, x in vars(expected).items():
            torch.testing.assert_close(getattr(found, name), x, rtol=1e-12, atol=1e-12, equal_nan=True)
    assert whole.steps.certified.any()
    assert not whole.steps.certified.all()
