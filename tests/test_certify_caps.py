"""Caps whose optimum is hard to find: vanishing loads, equal eigenvalues, centres on axes, whole spheres."""

import math

import pytest
import torch

import odesteer_tl as ode
from odesteer_tl.barriers.quadratic import QuadraticBarrier
from odesteer_tl.certify.bracket import narrowed
from tests.problems import activations, random_quadratic

EIGENVALUES = (0.0, 1.0, -2.0, 1e-8, 3.0)
LOADS = (0.0, 0.5, -1.0, 1e-12, 1e-6)
ANGLES = torch.tensor([1e-6, 0.01, 0.5, math.pi / 2, 2.0, 3.1, math.pi], dtype=torch.float64)


def pick(options, n, generator):
    return torch.tensor([options[int(i)] for i in torch.randint(0, len(options), (n,), generator=generator)]).double()


def structured(seed):
    """A quadratic in three dimensions, and centres on its axes, between them, and anywhere."""
    g = torch.Generator().manual_seed(seed)
    values, b = pick(EIGENVALUES, 3, g), pick(LOADS, 3, g)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=g).double())[0] if seed % 3 else torch.eye(3).double()
    axes = torch.cat([torch.eye(3), -torch.eye(3), torch.tensor([[1, 1, 0], [1, 0, 1], [0, 1, -1], [1.0, 1, 1]])])
    centres = torch.cat([axes.double() @ turn.mT, activations(4, 3, seed)])
    q = QuadraticBarrier(turn @ torch.diag(values) @ turn.mT, turn @ b if seed % 2 else b)
    return q, 5 * centres / centres.norm(dim=1, keepdim=True)


def sampled_best(q, a, theta):
    """The best of a dense circle on each cap's edge and of points all over the sphere that lie in it."""
    u = a / a.norm(dim=1, keepdim=True)
    axis = torch.zeros_like(u).scatter_(1, u.abs().argmin(1, keepdim=True), 1.0)
    one = torch.linalg.cross(u, axis)
    one = one / one.norm(dim=1, keepdim=True)
    two = torch.linalg.cross(u, one)
    phi = torch.linspace(0, 2 * math.pi, 181, dtype=torch.float64)[:, None, None]
    edge = theta.cos()[:, None] * u + theta.sin()[:, None] * (phi.cos() * one + phi.sin() * two)
    sphere = torch.cat([activations(300, 3, 9, norm=1.0), torch.eye(3).double(), -torch.eye(3).double()])
    h = torch.where((u @ sphere.mT).clamp(-1, 1).arccos() < theta[:, None], q.value(sphere), -torch.inf)
    return torch.maximum(q.value(edge).amax(0), h.amax(1))


def turned(u, w):
    along = (u * w).sum(-1)
    return torch.atan2((w - along[:, None] * u).norm(dim=-1), along)


@pytest.mark.parametrize("part", range(3))
def test_bound_and_point_meet_on_structured_caps(part):
    """3 × 35 × 98 = 10,290 caps of three dimensions, where the maximum may be sampled."""
    for seed in range(35 * part, 35 * part + 35):
        q, centres = structured(seed)
        a, theta = centres.repeat(len(ANGLES), 1), ANGLES.repeat_interleave(len(centres))
        found = ode.cap_bound(q, a, theta)
        best = sampled_best(q, a, theta)
        scale = q.curvature_bound
        assert (best <= found.bound).all()
        assert (best <= found.value + 1e-8 * scale).all()
        assert (found.value <= found.bound).all()
        assert (found.gap <= 1e-8 * scale + 1e-300).all()
        torch.testing.assert_close(found.point.norm(dim=1), a.norm(dim=1), rtol=1e-12, atol=0)
        assert (turned(a / 5, found.point / 5) <= theta + 1e-12).all()


def test_the_optimal_steer_is_the_maximum_and_keeps_the_norm():
    """An angle a row, from π on the whole sphere: one call for the five of them."""
    angles = torch.tensor([0.3, math.pi / 2, math.pi, 4.0, 10.0], dtype=torch.float64)
    for seed in range(12):
        q, centres = structured(seed)
        a, angle = centres.repeat(len(angles), 1), angles.repeat_interleave(len(centres))
        end = ode.Flow(angle=angle, solver="optimal").solve(ode.BarrierField(q), a).end
        bound = ode.cap_bound(q, a, angle.clamp(max=math.pi)).bound
        assert (bound - q.value(end) <= 1e-8 * q.curvature_bound + 1e-300).all()
        torch.testing.assert_close(end.norm(dim=1), a.norm(dim=1), rtol=1e-12, atol=0)
        assert (q.value(end) >= q.value(a)).all()


def test_without_a_linear_part_half_a_turn_reaches_the_top_eigenvector():
    q = QuadraticBarrier(torch.diag(torch.tensor([1.0, 0.0, -1.0])), torch.zeros(3))
    a = 3 * torch.cat([torch.eye(3), -torch.eye(3)])[[1, 2, 4, 5]]
    for angle in (math.pi, 3.2, 10.0):
        end = ode.Flow(angle=angle, solver="optimal").solve(ode.BarrierField(q), a).end
        torch.testing.assert_close(end[:, 0].abs(), torch.full((4,), 3.0))


@pytest.mark.parametrize("load", [0.0, 1e-16, 1e-15, 1e-14, 1e-13, 1e-10, 1e-7])
@pytest.mark.parametrize("gap", [0.0, 1e-16, 1e-14, 1e-12, 1e-8])
def test_the_ceiling_is_reached_near_the_hard_case(load, gap):
    for seed in range(4):
        turn = torch.linalg.qr(activations(5, 5, seed))[0]
        values = torch.tensor([1.0, 1.0 - gap, 0.2, -0.5, -2.0], dtype=torch.float64)
        b = torch.tensor([load, load, 0.3, -0.2, 0.1], dtype=torch.float64)
        for q in (QuadraticBarrier(torch.diag(values), b),
                  QuadraticBarrier(turn @ torch.diag(values) @ turn.mT, turn @ b)):  # fmt: skip
            top = ode.ceiling(q)
            assert 0 <= top.gap <= 1e-12
            assert float(q.gradient(top.point).norm()) < 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_a_bound_never_lies_below_what_is_attained(seed):
    """Eigenvalues that are no float32 numbers, on generic caps of three and four dimensions."""
    for d in (3, 4):
        q = random_quadratic(d, 100 + seed, curvature=10.0 ** (seed - 2))
        a = activations(1000, d, seed)
        theta = 3.1 * torch.rand(1000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        found = ode.cap_bound(q, a, theta)
        assert (q.value(found.point) <= found.bound).all()
        assert (found.gap <= 1e-8 * q.curvature_bound).all()
        if d == 3:
            assert (sampled_best(q, a, theta) <= found.bound).all()


def test_a_narrowed_bracket_holds_the_root_of_every_row():
    """Against roots known in closed form, over the range that the dual's multiplier has."""
    roots = torch.linspace(-30, 19, 40, dtype=torch.float64)
    calls = []

    def f(x):
        calls.append(1)
        return -torch.expm1(x - roots) + 1e-3 * (roots - x)

    low, high = narrowed(f, torch.full_like(roots, -34.0), torch.full_like(roots, 21.0), 1e-12)
    assert ((low <= roots + 1e-12) & (roots - 1e-12 <= high) & (high - low <= 1e-12)).all()
    assert len(calls) < 60
    # an end that was never a bracket's stays where it was
    low, high = narrowed(lambda x: -x - 10, torch.zeros(2), torch.ones(2), 1e-6)
    assert (low == 0).all()
    assert (high == 1).all()
