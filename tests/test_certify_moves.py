"""Moves that a certificate must tell apart: radial ones, turns by π, points of any size, and what is no path."""

import math

import pytest
import torch

import odesteer_tl as ode
from odesteer_tl.barriers.quadratic import QuadraticBarrier
from odesteer_tl.certify import certify_level, reversals
from tests.problems import activations, gaussian_classes, random_quadratic
from tests.soundness import polynomial


def linear(*b):
    b = torch.tensor(b, dtype=torch.float64)
    return QuadraticBarrier(torch.zeros(len(b), len(b)), b)


def test_a_move_through_the_origin_is_refuted_where_its_end_is_lower():
    """h = u₁ falls from .6 to −.6 on the straight segment from [3, 4, 0] to −2 times that."""
    a = torch.tensor([3.0, 4.0, 0.0], dtype=torch.float64)
    for far in (-2.0, -1.0, -1e-3, -1e9):
        for way, refuted in ((torch.stack([a, far * a]), True), (torch.stack([far * a, a]), False)):
            found = ode.certify_path(linear(1, 0, 0), way[:, None])
            assert not found.stationary.any()
            assert not found.certified.any()
            assert bool(found.refuted) == refuted
            assert bool(found.undecided) != refuted
            assert float(found.angle) == pytest.approx(math.pi)
            assert certify_level(linear(1, 0, 0), way[:, None]).refuted.item() == refuted


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_turns_by_pi_are_decided_by_their_ends(degree):
    barrier = polynomial(6, degree, 1, 1.0)
    a = activations(200, 6)
    found = ode.certify_path(barrier, torch.stack([a, -3 * a]))
    falls = barrier.value(-a) - barrier.value(a)
    assert torch.equal(found.refuted[0], falls < 0)
    assert torch.equal(found.undecided[0], falls > 0)
    assert not found.certified.any()


def test_an_even_h_does_not_refute_a_move_through_the_origin():
    q = random_quadratic(5, 0, slope=0.0)
    a = activations(50, 5)
    assert ode.certify_path(q, torch.stack([a, -2 * a])).undecided.all()


def test_only_a_turn_within_rounding_is_stationary():
    q, a = random_quadratic(6, 0), activations(20, 6)
    for factor in (1.0, 2.0, 1e-3, 1e12, 1e-12):
        assert ode.certify_path(q, torch.stack([a, factor * a])).stationary.all()
    side = activations(20, 6, seed=3)
    for turn in (1e-9, 1e-3, 1.0):
        assert not ode.certify_path(q, torch.stack([a, a + turn * side])).stationary.any()


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_points_of_any_size_have_the_verdicts_of_their_directions(degree):
    """Arcs are seen through a/‖a‖: 8,000 segments whose points are as small, or as large, as float64 has them."""
    barrier = polynomial(6, degree, 2, 1.0)
    one, other = activations(1000, 6, seed=1), activations(1000, 6, seed=2)
    truth = ode.certify_path(barrier, torch.stack([one, other]))
    for first, last in ((1e-155, 1e-155), (1e-170, 1e-170), (1e-300, 1e-300), (1e155, 1e155), (1e300, 1e300),
                        (1e-300, 1e300), (1.0, 1e-160), (1e160, 1.0)):  # fmt: skip
        found = ode.certify_path(barrier, torch.stack([first * one, last * other]))
        assert not (found.certified & truth.refuted).any()
        assert not (found.refuted & truth.certified).any()
        agree = (found.certified == truth.certified) & (found.refuted == truth.refuted)
        assert agree.double().mean() > 0.99
        torch.testing.assert_close(found.angle, truth.angle)


def test_points_below_all_normal_numbers_are_never_certified_falsely():
    """Five bits are left of a coordinate at 1e-322: the points that are there decide, not those they came from."""
    q = random_quadratic(3, 4)
    one, other = 1e-322 * activations(300, 3, seed=1), 1e-322 * activations(300, 3, seed=2)
    kept = (one != 0).any(-1) & (other != 0).any(-1)
    found = ode.certify_path(q, torch.stack([one, other])[:, kept])
    large = torch.stack([one, other])[:, kept] * 2.0**1000 * 2.0**70
    truth = ode.certify_path(q, large)
    assert torch.equal(found.certified, truth.certified)
    assert torch.equal(found.refuted, truth.refuted)


def test_values_levels_and_caps_do_not_depend_on_the_size_of_a_point():
    q, a = random_quadratic(6, 0), activations(20, 6)
    for size in (1e-170, 1e-300, 1e170, 1e300):
        torch.testing.assert_close(q.value(size * a), q.value(a))
        torch.testing.assert_close(ode.cap_bound(q, size * a, 0.4).bound, ode.cap_bound(q, a, 0.4).bound)
        torch.testing.assert_close(ode.certify.geodesic_curvature(q, size * a), ode.certify.geodesic_curvature(q, a))
        path = ode.Flow(angle=0.3, solver="certified").solve(ode.BarrierField(q), size * a, record=True)
        assert not ode.certify_path(q, path).refuted.any()
        torch.testing.assert_close((path.end / size).norm(dim=-1), a.norm(dim=-1))
        found = certify_level(q, path)
        assert not found.refuted.any()
    barriers = [ode.LinearBarrier(), ode.KernelBarrier(degree=3, C=1.0), ode.SketchBarrier(degree=3, n_components=64)]
    for barrier in barriers:
        barrier.fit(*gaussian_classes(20, 6))
        torch.testing.assert_close(barrier.value(1e-200 * a), barrier.value(a))
        torch.testing.assert_close(barrier.gradient(1e-200 * a) * 1e-200, barrier.gradient(a))


def test_a_fourier_barrier_refuses_points_it_cannot_square(unchecked):
    barrier = ode.FourierBarrier(n_components=20).fit(*gaussian_classes(20, 4))
    a = torch.stack([activations(2, 4), activations(2, 4, seed=2)])
    for size in (1e-155, 1e155):
        with pytest.raises(ValueError, match=r"points: norms from .* a Fourier barrier"):
            ode.certify_path(barrier, size * a)


def test_a_path_is_certified_as_itself():
    q, field = random_quadratic(6, 0), ode.BarrierField(random_quadratic(6, 0))
    flow = ode.Flow(angle=0.4, steps=5)
    for batch in ((), (7,), (2, 3)):
        a = activations(max(1, math.prod(batch)), 6).reshape(*batch, 6)
        path = flow.solve(field, a, record=True)
        found = ode.certify_path(q, path)
        assert found.certified.shape == (5, *batch)
        assert found.certified.all()
        assert certify_level(q, path).certified.shape == batch
        assert reversals(path).shape == (4, *batch)


@pytest.mark.parametrize("ask", [ode.certify_path, certify_level, lambda q, points: reversals(points)])
def test_a_batch_is_not_taken_for_the_steps_of_a_path(ask, unchecked):
    q = random_quadratic(6, 0)
    flow, field = ode.Flow(angle=0.4, steps=5), ode.BarrierField(q)
    with pytest.raises(ValueError, match=r"points has shape \(60, 6\).*pass the Path itself"):
        ask(q, flow.solve(field, activations(60, 6)).end)
    with pytest.raises(ValueError, match="record=True"):
        ask(q, flow.solve(field, activations(60, 6)))
