"""Certificates: attacked with dense sampling and projected ascent; broken flows are refuted."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import odesteer_tl as ode
from odesteer_tl.barriers.quadratic import QuadraticBarrier
from tests.problems import activations, gaussian_classes, random_quadratic
from tests.soundness import segments


def some(rows):
    """As many at a time as stay, with their samples, in a core's cache: a third of the time."""
    return torch.arange(rows).split(64)


def dense_minimum_slope(q: QuadraticBarrier, start, end, samples=257):
    """The least increment of h between neighbouring samples of each straight segment."""
    t = torch.linspace(0, 1, samples, dtype=torch.float64)[:, None, None]
    values = (q.value(start[rows] + t * (end - start)[rows]) for rows in some(len(start)))
    return torch.cat([(value[1:] - value[:-1]).amin(0) for value in values])


def least_slope_by_angle(q, start, end, angle, first):
    """The least dh/dφ over 257 angles of each arc and 60 angles close behind the reported first violation."""
    return torch.cat([_least(q, start[rows], end[rows], angle[rows], first[rows]) for rows in some(len(start))])


def _least(q, start, end, angle, first):
    u = start / start.norm(dim=-1, keepdim=True)
    v = end - start - ((end - start) * u).sum(-1, keepdim=True) * u
    v = v / v.norm(dim=-1, keepdim=True)
    first = first.nan_to_num()
    even = torch.linspace(0, 1, 257).double()[:, None] * angle
    close = first + 2.0 ** -torch.arange(60).double()[:, None] * (angle - first)
    phi = torch.cat([even, close])[..., None]
    x, t = phi.cos() * u + phi.sin() * v, phi.cos() * v - phi.sin() * u
    return (q.gradient(x) * t).sum(-1).amin(0)


@pytest.mark.parametrize("kind", ["plain", "along", "tiny", "antipodal", "radial", "stationary"])
@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_no_certificate_and_no_refutation_is_ever_false(kind, slope):
    """12 × 9 × 300 = 32,400 segments, saddles and fixed points among them, against dense sampling."""
    undecided = total = 0
    for seed, (d, exponent) in enumerate([(d, e) for d in (3, 8, 24) for e in (-6, 0, 6)]):
        q = random_quadratic(d, seed, curvature=10.0**exponent, slope=slope)
        start, end = segments(q, 300, seed, "saddles" if (kind, slope) == ("stationary", 0.0) else kind)
        result = ode.certify_path(q, torch.stack([start, end]))
        least = dense_minimum_slope(q, start, end)
        noise = 64 * 2.0**-53 * float(q.A.norm() + q.b.norm() + abs(q.c))
        certified, refuted = result.certified[0], result.refuted[0]
        assert not (certified & refuted).any()
        assert not (certified & (least < -noise)).any()
        moving = ~result.stationary[0]
        arcs = result.angle[0, moving], result.first_violation[0, moving]
        steepest = least_slope_by_angle(q, start[moving], end[moving], *arcs)
        assert not (certified[moving] & (steepest < -noise)).any()
        # what is called falling does fall, at an angle that can be named
        assert not (refuted[moving] & (steepest > noise)).any()
        undecided += int(result.undecided.sum())
        total += len(start)
    if kind in ("plain", "along"):
        assert undecided <= 1e-4 * total


def test_a_test_of_the_ends_alone_is_not_enough():
    q = random_quadratic(8, 0, curvature=3.0)
    start, end = segments(q, 4000, 7, "along")
    result = ode.certify_path(q, torch.stack([start, end]))
    ends_rise = q.value(end) > q.value(start)
    assert int((ends_rise & result.refuted[0]).sum()) > 100


def test_first_violation_is_where_h_stops_rising():
    q = random_quadratic(8, 1, curvature=3.0)
    start, end = segments(q, 500, 3, "along")
    result = ode.certify_path(q, torch.stack([start, end]))
    rows = result.refuted[0].nonzero().squeeze(1)
    u = start / start.norm(dim=-1, keepdim=True)
    v = end - (end * u).sum(-1, keepdim=True) * u
    v = v / v.norm(dim=-1, keepdim=True)
    for i in rows[:50]:
        phi = float(result.first_violation[0, i])
        at = [q.value(math.cos(p) * u[i] + math.sin(p) * v[i]) for p in
              (0.98 * phi, phi, min(phi + 0.02, float(result.angle[0, i])))]  # fmt: skip
        assert at[1] >= at[0] - 1e-12
        assert at[2] <= at[1] + 1e-4
    assert result.first_violation[0][result.certified[0]].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_realised_points_of_any_dtype(dtype):
    barrier = ode.KernelBarrier(C=10.0).fit(*gaussian_classes(40, 32))
    path = ode.Flow(angle=0.5).solve(ode.BarrierField(barrier), activations(20, 32).to(dtype), record=True)
    result = ode.certify_path(barrier, path.points.to(dtype))
    assert result.certified.float().mean() > 0.9
    assert result.certified.shape == (10, 20)


def test_the_factored_and_the_dense_certificate_agree():
    barrier = ode.KernelBarrier(C=10.0).fit(*gaussian_classes(10, 64))
    q = barrier.quadratic
    dense = QuadraticBarrier(q.A, q.b, q.c)
    points = torch.stack([activations(300, 64, seed=s) for s in range(5)])
    one, other = ode.certify_path(q, points), ode.certify_path(dense, points)
    assert torch.equal(one.certified, other.certified)
    assert torch.equal(one.refuted, other.refuted)


def mutants(a, q):
    """Flows that are broken on purpose."""
    good = ode.Flow(angle=1.0, steps=10).solve(ode.BarrierField(q), a, record=True).points
    flipped = ode.Flow(angle=-1.0, steps=10).solve(ode.BarrierField(q), a, record=True).points
    direction = good[1] - good[0]
    stale = torch.stack([a + 4 * k * direction for k in range(11)])
    long_step = ode.Flow(angle=6.0, steps=3).solve(ode.BarrierField(q), a, record=True).points
    return good, {"flipped sign": flipped, "stale gradient": stale, "step too long": long_step}


def test_broken_flows_are_refuted():
    q = random_quadratic(12, 4, curvature=4.0, slope=1.0)
    good, broken = mutants(activations(30, 12), q)
    assert ode.certify_path(q, good).certified.all()
    for name, points in broken.items():
        result = ode.certify_path(q, points)
        assert result.refuted.any(0).float().mean() > 0.9, name


def test_repeated_points_are_stationary_not_certified():
    q, a = random_quadratic(6, 0), activations(3, 6)
    for end in (a, 2 * a):
        result = ode.certify_path(q, torch.stack([a, end]))
        assert result.stationary.all()
        assert not (result.certified | result.refuted).any()


@pytest.mark.parametrize("curvature", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("angle", [0.2, 0.9, 2.0])
def test_cap_bound_is_not_beaten_by_adversarial_ascent(curvature, angle):
    for d in (3, 6, 40):
        q = random_quadratic(d, d, curvature=curvature)
        a = activations(40, d, seed=d)
        bound = ode.cap_bound(q, a, angle=angle)
        best = adversarial_ascent(q, a, angle)
        assert (best <= bound.bound).all()
        assert (bound.value <= bound.bound).all()
        u = a / a.norm(dim=-1, keepdim=True)
        p = bound.point / bound.point.norm(dim=-1, keepdim=True)
        assert ((u * p).sum(-1).clamp(-1, 1).arccos() <= angle + 1e-7).all()
        # where the dual is tight nothing that ascent finds is better than the point
        tight = bound.tight()
        assert (best[tight] <= bound.value[tight] + 1e-7).all()


def adversarial_ascent(q, a, angle, starts=4, steps=60):
    """The best value found by projected gradient ascent inside the cap from random starts."""
    u0 = a / a.norm(dim=-1, keepdim=True)
    best = q.value(a)
    for s in range(starts):
        w = activations(len(a), a.shape[1], seed=100 + s, norm=1.0)
        x = into_cap(u0 + 0.5 * (s + 1) * w, u0, angle)
        for k in range(steps):
            x = into_cap(x + (0.5 / (1 + k / 20)) * q.gradient(x) / q.curvature_bound * 4, u0, angle)
        best = torch.maximum(best, q.value(x))
    return best


def into_cap(x, u0, angle):
    x = x / x.norm(dim=-1, keepdim=True)
    cos = (x * u0).sum(-1, keepdim=True)
    side = x - cos * u0
    edge = math.cos(angle) * u0 + math.sin(angle) * side / side.norm(dim=-1, keepdim=True)
    return torch.where(cos >= math.cos(angle), x, edge)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 15), st.integers(0, 10_000), st.floats(-3, 3), st.floats(-3, 3))
def test_ceiling_bounds_and_is_reached(d, seed, curvature, slope):
    q = random_quadratic(d, seed, curvature=10.0**curvature, slope=10.0**slope)
    top = ode.ceiling(q)
    scale = 10.0**curvature + 10.0**slope
    assert -1e-12 * scale <= top.gap <= 1e-7 * scale
    found = adversarial_ascent(q, activations(10, d), torch.pi, starts=2, steps=50)
    assert (found <= top.bound).all()


def test_ceiling_in_the_hard_case():
    A = torch.diag(torch.tensor([1.0, 1.0, -2.0]))
    q = ode.QuadraticBarrier(A=A, b=torch.tensor([0.0, 0.0, 0.5]), c=0.0)
    top = ode.ceiling(q)
    # Lagrange by hand: u₃ = b/(2(μ − λ₃)) with μ = 1, the rest in the top eigenspace
    u3 = 0.5 / (2 * 3)
    assert top.value == pytest.approx(1 - u3**2 - 2 * u3**2 + 0.5 * u3, abs=1e-9)
    assert top.gap < 1e-9


def test_ceiling_of_a_factored_barrier_is_the_dense_ones():
    q = ode.KernelBarrier(C=10.0).fit(*gaussian_classes(15, 80)).quadratic
    dense = QuadraticBarrier(q.A, q.b, q.c)
    assert float(ode.ceiling(q)) == pytest.approx(float(ode.ceiling(dense)), abs=1e-9)


def test_cap_of_zero_and_of_pi():
    q, a = random_quadratic(6, 0), activations(4, 6)
    torch.testing.assert_close(ode.cap_bound(q, a, angle=0.0).bound, q.value(a), rtol=0, atol=1e-5)
    whole = ode.cap_bound(q, a, angle=torch.pi).bound
    torch.testing.assert_close(whole, torch.full((4,), ode.ceiling(q).bound, dtype=torch.float64), rtol=0, atol=1e-6)


def test_a_quadratic_whose_factors_cancel_is_given_no_certificate():
    """A = e₁e₁ᵀ, given as (10¹⁶ + 1 − 10¹⁶)e₁e₁ᵀ, of which float64 keeps nothing: h truly falls here."""
    X = torch.tensor([[1.0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0]], dtype=torch.float64)
    weights = torch.tensor([1e16, 1, -1e16, 0], dtype=torch.float64)
    b, c = torch.tensor([0, 1e-3, 0, 0, 0], dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    q = QuadraticBarrier.from_factors(X, weights, b, c)
    points = torch.tensor([[1, 0.2, 0, 0, 0], [0.9, 0.3, 0, 0, 0]], dtype=torch.float64)[:, None]
    assert not ode.certify_path(q, points).certified.any()
    assert not ode.certify_level(q, points).certified.any()


def test_a_tiny_point_after_a_huge_one_is_neither_certified_nor_refuted_by_lost_digits():
    q = random_quadratic(6, 0)
    u = [activations(500, 6, seed=s, norm=1.0) for s in range(3)]
    last = ode.certify_path(q, torch.stack([1e13 * u[0], 1e-10 * u[1], 1e-13 * u[2]]))
    alone = ode.certify_path(q, torch.stack([1e-10 * u[1], 1e-13 * u[2]]))
    assert not (last.certified[1] & alone.refuted[0]).any()
    assert not (last.refuted[1] & alone.certified[0]).any()
    assert (alone.certified | alone.refuted).all()


def test_a_move_through_the_origin_says_nothing_of_a_level():
    q = QuadraticBarrier(
        torch.diag(torch.tensor([1.0, 2.0]).double()), torch.zeros(2).double(), 0.0
    )  # h ≥ 1 everywhere
    for end in ([-1.0, 0.0], [-1.0, 1e-16], [-1.0, 1e-15]):
        points = torch.tensor([[1.0, 0.0], end], dtype=torch.float64)[:, None]
        for level in (None, 0.5, 1.0):
            assert not ode.certify_level(q, points, level).refuted


class Unbounded(ode.LinearBarrier):
    """A barrier of which nothing is declared but value and gradient."""

    @property
    def polynomial_degree(self):
        return None


def test_a_barrier_that_declares_no_structure_is_given_no_number(unchecked):
    barrier = Unbounded().fit(*gaussian_classes(9, 4))
    with pytest.raises(ValueError, match="Unbounded: no sound certificate exists for this class"):
        ode.certify_path(barrier, activations(2, 4)[:, None])
    with pytest.raises(ValueError, match="no sound level certificate exists for this class"):
        ode.certify_level(barrier, activations(2, 4)[:, None])


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: ode.certify_path(lambda a: a, torch.ones(2, 3)), "no sound certificate exists for this class"),
        (lambda: ode.certify_path(random_quadratic(3, 0), torch.ones(1, 3)), "at least two points"),
        (lambda: ode.certify_path(random_quadratic(3, 0), torch.ones(2, 4)), "d_model=3"),
        (lambda: ode.certify_path(random_quadratic(3, 0), torch.zeros(2, 3)), "is zero"),
        (lambda: ode.certify_path(random_quadratic(3, 0), torch.full((2, 3), torch.nan)), "NaN"),
        (lambda: ode.cap_bound(random_quadratic(3, 0), torch.ones(3), angle=4.0), "angle=4.0"),
    ],
)
def test_bad_input_names_the_argument_and_the_value(make, word, unchecked):
    with pytest.raises(ValueError, match=word):
        make()
