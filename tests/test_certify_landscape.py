"""All stationary points of a quadratic on the sphere, and caps whose Lagrange dual is loose."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp

import odesteer_tl as ode
from odesteer_tl.certify import landscape
from tests.problems import activations, gaussian_classes, random_quadratic
from tests.test_certify import adversarial_ascent


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 14), st.integers(0, 10_000), st.floats(-2, 2))
def test_every_point_found_is_stationary_and_none_is_missing(d, seed, log_curvature):
    """Morse theory counts them: Σ(−1)^index is the sphere's Euler characteristic, 1 + (−1)^(d−1)."""
    q = random_quadratic(d, seed, curvature=10.0**log_curvature)
    found = landscape(q)
    scale = q.curvature_bound
    assert q.gradient(found.points).norm(dim=-1).max() < 1e-9 * scale
    torch.testing.assert_close(q.value(found.points), found.values, rtol=0, atol=1e-11 * scale + 1e-12)
    assert int(((-1) ** found.ascending).sum()) == 1 + (-1) ** (d - 1)
    assert float(found.values[0]) == pytest.approx(ode.ceiling(q).value, abs=1e-9 * scale)
    assert found.maxima in (1, 2)
    assert found.minima in (1, 2)


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 10), st.integers(0, 10_000), st.floats(-1, 1))
def test_the_index_counts_the_ascending_directions(d, seed, log_curvature):
    """Against the eigenvalues of the Hessian on the tangent space."""
    q = random_quadratic(d, seed, curvature=10.0**log_curvature)
    found = landscape(q)
    for u, mu, ascending in zip(found.points, found.multipliers, found.ascending, strict=True):
        P = torch.eye(d, dtype=torch.float64) - torch.outer(u, u)
        curvatures = torch.linalg.eigvalsh(P @ (q.A - mu * torch.eye(d, dtype=torch.float64)) @ P)
        clear = curvatures.abs() > 1e-7 * q.curvature_bound
        if int(clear.sum()) == d - 1:
            assert int((curvatures[clear] > 0).sum()) == int(ascending)


def test_gradient_flow_ends_in_a_maximum_that_was_found():
    q = random_quadratic(6, 6, curvature=10.0)
    found = landscape(q)
    assert found.maxima == 2
    ends = ode.Flow(angle=40.0, steps=600, solver="certified").solve(ode.BarrierField(q), activations(40, 6)).end
    tops = found.points[found.ascending == 0]
    nearest = (ends / ends.norm(dim=-1, keepdim=True) @ tops.mT).amax(1)
    assert (nearest > 1 - 1e-6).all()


def test_the_sufficient_test_for_a_benign_landscape_is_sufficient():
    sure = 0
    for seed in range(60):
        q = random_quadratic(5, seed, curvature=0.3 + seed / 40)
        found = landscape(q)
        assert found.benign or not found.surely_benign
        sure += found.surely_benign
    assert 0 < sure < 60


@pytest.mark.parametrize(("values", "b", "expected"), [
    ([3.0, 1.0, -2.0], [0.0, 0.0, 0.0], [0, 0, 1, 1, 2, 2]),  # no linear part: ± every eigenvector
    ([1.0, 1.0, -2.0], [0.0, 0.0, 0.5], [0, 2, 2]),  # a circle of maxima
    ([2.0, 0.5, -1.0], [0.0, 1.0, 0.0], [0, 0, 1, 1, 2, 2]),  # hard case
])  # fmt: skip
def test_degenerate_quadratics(values, b, expected):
    q = ode.QuadraticBarrier(A=torch.diag(torch.tensor(values)), b=torch.tensor(b), c=0.0)
    found = landscape(q)
    assert sorted(found.ascending.tolist()) == expected
    assert q.gradient(found.points).norm(dim=-1).max() < 1e-12


def test_a_factored_barrier_has_the_dense_ones_landscape():
    q = ode.KernelBarrier(C=100.0, gamma=4.0, coef0=0.2).fit(*gaussian_classes(6, 40)).quadratic
    one, other = landscape(q), landscape(ode.QuadraticBarrier(q.A, q.b, q.c))
    assert q.spectrum.reduced
    torch.testing.assert_close(one.values[0], other.values[0], rtol=0, atol=1e-9)
    assert (one.maxima, one.minima) == (other.maxima, other.minima)
    assert q.gradient(one.points).norm(dim=-1).max() < 1e-9 * q.curvature_bound


@pytest.mark.parametrize("d", [3, 4, 6, 12])
@pytest.mark.parametrize("curvature", [1.0, 10.0, 1000.0])
def test_where_the_dual_is_loose_the_bound_is_exact_and_still_a_bound(d, curvature):
    """12 settings × 100 caps of small, strongly curved problems, against projected ascent from many starts."""
    q = random_quadratic(d, 3 * d, curvature=curvature)
    a = activations(100, d, seed=d)
    for angle in (0.3, 0.9, 1.8):
        found = ode.cap_bound(q, a, angle)
        best = adversarial_ascent(q, a, angle, starts=8, steps=80)
        assert (best <= found.bound).all()
        assert found.tight().all()
        u, p = (x / x.norm(dim=-1, keepdim=True) for x in (a, found.point))
        assert ((u * p).sum(-1).clamp(-1, 1).arccos() <= angle + 1e-7).all()


def test_loose_duals_do_occur_and_cost_what_they_say():
    q, a = random_quadratic(6, 6, curvature=1.0), activations(500, 6, seed=6)
    found = ode.cap_bound(q, a, 0.9)
    loose = found.dual_gap > 1e-3
    assert int(loose.sum()) > 10
    assert found.tight().all()


def test_an_angle_a_row():
    q, a = random_quadratic(6, 0), activations(5, 6)
    angles = torch.linspace(0, 3, 5, dtype=torch.float64)
    together = ode.cap_bound(q, a, angles).bound
    alone = torch.stack([ode.cap_bound(q, row, float(angle)).bound for row, angle in zip(a, angles, strict=True)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


DEGENERATE = [
    (torch.zeros(3, 3), torch.tensor([0.0, 0.0, 1.0])),
    (torch.diag(torch.tensor([3.0, 3.0, 1.0])), torch.tensor([1e-16, 0.0, 0.0])),
    (torch.diag(torch.tensor([3.0, 1.0, -2.0])), torch.tensor([1e-15, 0.0, 0.0])),
    (torch.diag(torch.tensor([1.0, 1.0 + 3e-13, -2.0])), torch.tensor([0.0, 0.0, 0.5])),
    (-torch.eye(3), torch.tensor([0.0, 1.0, 0.0])),
]


@pytest.mark.parametrize(("A", "b"), DEGENERATE)
@pytest.mark.parametrize("angle", [0.0, 1e-6, 0.5, math.pi / 2, 2.0, math.pi])
def test_degenerate_caps_keep_their_bound_and_their_point(A, b, angle):
    q = ode.QuadraticBarrier(A=A.double(), b=b.double())
    axes = 4 * torch.cat([torch.eye(3), -torch.eye(3)]).double()
    a = torch.cat([axes, activations(6, 3)])
    found = ode.cap_bound(q, a, angle)
    assert found.value.isfinite().all()
    u, p = (x / x.norm(dim=-1, keepdim=True) for x in (a, found.point))
    assert ((u * p).sum(-1).clamp(-1, 1).arccos() <= angle + 1e-6).all()
    torch.testing.assert_close(found.point.norm(dim=-1), a.norm(dim=-1))
    assert (adversarial_ascent(q, a, angle, starts=6, steps=40) <= found.bound + 1e-15).all()
    assert (found.value <= found.bound + 1e-12).all()
    top = ode.ceiling(q)
    assert math.isfinite(top.value)
    assert (q.value(activations(400, 3, seed=9)) <= top.bound).all()


def test_a_centre_inside_a_reduced_span_keeps_its_point():
    barrier = ode.KernelBarrier(C=10.0).fit(*gaussian_classes(3, 12))
    a = barrier.fitted("X")[:4] * 5
    for q in (barrier.quadratic, barrier.quadratic.negated()):
        for angle in (0.3, 1.0, 2.0):
            found = ode.cap_bound(q, a, angle)
            torch.testing.assert_close(found.point.norm(dim=-1), a.norm(dim=-1))
            assert (found.value <= found.bound).all()
            assert (adversarial_ascent(q, a, angle) <= found.bound).all()


def exact_index(q, mu, y):
    """Ascending directions at the stationary point next to (y, μ), by Newton's method and eigenvalues in 60 digits."""
    with mp.workdps(60):
        level, b = ([mp.mpf(float(x)) for x in v] for v in (q.spectrum.eigenvalues, q.spectrum.linear))
        d, u, m = len(level), [mp.mpf(float(x)) for x in y], mp.mpf(float(mu))
        for _ in range(30):
            slope, rest = mp.matrix(d + 1, d + 1), mp.matrix(d + 1, 1)
            for i in range(d):
                rest[i] = 2 * (level[i] - m) * u[i] + b[i]
                slope[i, i], slope[i, d], slope[d, i] = 2 * (level[i] - m), -2 * u[i], 2 * u[i]
            rest[d] = sum(x * x for x in u) - 1
            step = mp.lu_solve(slope, -rest)
            u, m = [u[i] + step[i] for i in range(d)], m + step[d]
        P = mp.matrix(d, d)
        for i in range(d):
            for j in range(d):
                P[i, j] = (i == j) - u[i] * u[j]
        curvatures = mp.eigsy(P * mp.diag([x - m for x in level]) * P, eigvals_only=True)
        return sum(1 for x in curvatures if x > mp.mpf(10) ** -30)


def test_an_index_that_hangs_on_a_tiny_load_is_called_degenerate():
    generator, told, untold = torch.Generator().manual_seed(0), 0, 0
    for trial in range(30):
        values, b = (torch.randn(4, generator=generator).double() for _ in range(2))
        b[trial % 4] *= (1e-12, 1e-11, 1e-10, 1e-8, 1e-3)[trial % 5]
        if trial % 2:
            b[(trial + 1) % 4] *= 1e-12
        q = ode.QuadraticBarrier(torch.diag(values), b)
        found = landscape(q)
        for i in (~found.degenerate).nonzero().flatten().tolist():
            assert int(found.ascending[i]) == exact_index(q, found.multipliers[i], found.coordinates[i])
        told, untold = told + int((~found.degenerate).sum()), untold + int(found.degenerate.sum())
    assert untold > 10
    assert told > 2 * untold  # not by calling everything degenerate
    assert not landscape(random_quadratic(5, 0)).degenerate.any()
    assert "degenerate" in str(found)
