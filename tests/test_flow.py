"""Flows: orders, closed forms, norm laws, charts, batch independence, bad input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import simpson
from scipy.linalg import expm
from scipy.optimize import brentq
from torchdiffeq import odeint

import odesteer_tl as ode
from odesteer_tl.flow import INTEGRATORS
from tests.problems import activations, gaussian_classes, random_quadratic

D = 16
STEPPED = ["euler", "midpoint", "rk4", "geodesic", "geodesic_midpoint"]


@pytest.fixture
def kernel_field():
    positive, negative = gaussian_classes(40, D)
    barrier = ode.KernelBarrier(gamma=1.0, C=10.0).fit(positive, negative)
    return ode.BarrierField(barrier), activations(4, D, norm=5.0)


def solve(q, a, **flow):
    return ode.Flow(**flow).solve(ode.BarrierField(q), a, record=True)


def error_at(q, a, truth, method, steps):
    end = solve(q, a, angle=0.8, steps=steps, solver=method).end
    u = end / end.norm(dim=-1, keepdim=True)
    return float((u - truth).norm(dim=-1).max())


@pytest.mark.parametrize(
    ("method", "order"), [("euler", 1), ("geodesic", 1), ("midpoint", 2), ("geodesic_midpoint", 2), ("rk4", 4)]
)
def test_observed_order(method, order):
    q, a = random_quadratic(D, 0, curvature=1.0), activations(5, D)
    fine = solve(q, a, angle=0.8, steps=4000, solver="rk4").end
    truth = fine / fine.norm(dim=-1, keepdim=True)
    errors = [error_at(q, a, truth, method, steps) for steps in (8, 16)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("steps", [1, 10, 1000])
def test_euler_leaves_the_sphere_by_the_law(steps):
    q, a, T = random_quadratic(D, 1), activations(6, D, norm=5.0), 2.0
    path = solve(q, a, T=T, steps=steps, solver="euler")
    torch.testing.assert_close(path.end.square().sum(-1), a.square().sum(-1) + T**2 / steps, rtol=4e-14, atol=0)
    # the k-th step turns by arctan(η/R_k) with R_k² = R² + kη²
    eta = T / steps
    u = path.points / path.points.norm(dim=-1, keepdim=True)
    turned = torch.atan2((u[1:] - u[:-1]).norm(dim=-1) / 2, (u[1:] + u[:-1]).norm(dim=-1) / 2) * 2
    radius = torch.sqrt(25.0 + torch.arange(steps).double() * eta**2)
    torch.testing.assert_close(turned, torch.atan(eta / radius)[:, None].expand_as(turned), rtol=1e-7, atol=0)


@pytest.mark.parametrize("method", ["midpoint", "rk4", "geodesic", "geodesic_midpoint", "certified", "optimal"])
def test_other_methods_stay_on_the_sphere(method):
    path = solve(random_quadratic(D, 1), activations(6, D, norm=5.0), angle=0.7, solver=method)
    torch.testing.assert_close(
        path.points.norm(dim=-1), torch.full((len(path.points), 6), 5.0).double(), rtol=2e-15, atol=0
    )


@pytest.mark.parametrize("angle", [0.1, 1.0, 2.0])
def test_one_geodesic_step_is_exact_for_a_linear_barrier(angle):
    q = ode.QuadraticBarrier(A=torch.zeros(D, D), b=torch.arange(1.0, D + 1), c=0.0)
    a = -activations(4, D).abs()  # away from b, so that 2 rad do not pass it
    one, many = (solve(q, a, angle=angle, steps=n, solver="geodesic").end for n in (1, 500))
    b = q.b / q.b.norm()
    u = a / a.norm(dim=-1, keepdim=True)
    v = b - (u @ b)[:, None] * u
    exact = 8.0 * (math.cos(angle) * u + math.sin(angle) * v / v.norm(dim=-1, keepdim=True))
    torch.testing.assert_close(one, exact, rtol=0, atol=2e-14 * 8)
    torch.testing.assert_close(many, exact, rtol=0, atol=1e-12 * 8)


def test_without_a_linear_part_the_flow_is_ojas():
    q = random_quadratic(D, 3, slope=0.0)
    a = activations(1, D)
    path = solve(q, a, angle=0.6, steps=400, solver="rk4")
    # Oja's flow at the same arc length: find τ by bisection on the angle-length integral
    A = q.A.numpy()

    def at(tau):
        w = torch.from_numpy(expm(2 * A * tau)) @ a[0]
        return w / w.norm()

    def excess(tau):  # arc length of Oja's flow up to τ, minus the angle asked for
        ts = np.linspace(0, tau, 41)
        speed = [float(q.gradient(at(t)).norm()) for t in ts]
        return float(simpson(speed, x=ts)) - 0.6

    tau = brentq(excess, 0.0, 5.0, xtol=1e-12)
    difference = (at(tau) - path.end[0] / path.end[0].norm()).norm()
    assert float(difference) < 4e-8


@pytest.mark.parametrize("method", STEPPED)
@pytest.mark.parametrize(("curvature", "angle"), [(0.1, 0.5), (1.0, 1.0), (5.0, 1.0), (3.0, 20.0)])
def test_many_steps_end_where_the_loop_ends(method, curvature, angle):
    """Also where the flow reaches the maximum and steps chatter (the last case)."""
    q, a = random_quadratic(D, 7, curvature=curvature), activations(6, D)
    flow = ode.Flow(angle=angle, steps=1000, solver=method)
    field = ode.BarrierField(q)
    loop, few = flow.solve(field, a, record=True), flow.solve(field, a)
    if angle > 10:  # chatter amplifies rounding: only its size can be compared
        assert (q.value(few.end) - q.value(loop.end)).abs().max() < q.curvature_bound * (angle / 1000) ** 2
        return
    torch.testing.assert_close(few.end, loop.end, rtol=0, atol=2e-7 * 8)
    if curvature == 0.1:
        assert few.n_evaluations < loop.n_evaluations / 10


@pytest.mark.parametrize("method", ["euler", "midpoint", "rk4"])
def test_classical_steps_are_torchdiffeqs_on_a_plain_field(method):
    class Spiral(ode.ConstantField):
        def __call__(self, a):
            return torch.stack([a[..., 1], -a[..., 0] + a[..., 2] ** 2, -a[..., 2]], dim=-1)

    a = activations(4, 3, norm=1.0)
    ours = ode.Flow(T=0.9, steps=30, solver=method).solve(Spiral(torch.ones(3)), a).end
    field = Spiral(torch.ones(3))
    times = torch.linspace(0, 0.9, 31, dtype=torch.float64)
    theirs = odeint(lambda t, y: field(y), a, times, method=method)[-1]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7 if method == "rk4" else 1e-14)


@pytest.mark.parametrize("method", [*STEPPED, "certified"])
@pytest.mark.parametrize("d", [30, 300])
def test_eigenbasis_and_reduced_span_are_the_ambient_flow(method, d):
    barrier = ode.KernelBarrier(gamma=4.0, coef0=0.2, C=100.0).fit(*gaussian_classes(40, d))
    a = activations(8, d, norm=10.0)
    chart = ode.Flow(angle=0.5, solver=method).solve(ode.BarrierField(barrier), a, record=True)
    dense = ode.QuadraticBarrier(barrier.quadratic.A, barrier.quadratic.b, barrier.quadratic.c)
    field = ode.BarrierField(dense)
    if method != "certified":
        field.chart = lambda x: ode.VectorField.chart(field, x)  # integrate in the ambient space instead
    ambient = ode.Flow(angle=0.5, solver=method).solve(field, a, record=True)
    torch.testing.assert_close(chart.points, ambient.points, rtol=0, atol=3e-12)


def test_an_activation_inside_or_outside_the_span_is_handled():
    barrier = ode.KernelBarrier(C=10.0).fit(*gaussian_classes(10, 100))
    basis = barrier.quadratic.spectrum.basis
    inside = (basis @ torch.randn(20, dtype=torch.float64))[None]
    free = torch.randn(1, 100, dtype=torch.float64)
    outside = free - free @ basis @ basis.mT
    for a in (inside, outside):
        path = ode.Flow(angle=0.4).solve(ode.BarrierField(barrier), a, record=True)
        assert ode.certify_path(barrier, path.points).certified.all()
        torch.testing.assert_close(path.end.norm(dim=-1), a.norm(dim=-1), rtol=1e-12, atol=0)


@pytest.mark.parametrize("method", sorted(INTEGRATORS))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_zero_strength_is_bitwise_identity(method, dtype):
    a = activations(4, D).to(dtype)
    field = ode.BarrierField(random_quadratic(D, 0))
    for strength in ({"angle": 0.0}, {"T": 0.0}):
        path = ode.Flow(**strength, solver=method).solve(field, a, record=True)
        assert torch.equal(path.end, a)
        assert path.end.dtype == dtype


@pytest.mark.parametrize("method", sorted(INTEGRATORS))
def test_a_row_does_not_depend_on_its_batch_mates(method):
    field = ode.BarrierField(ode.KernelBarrier(C=10.0).fit(*gaussian_classes(30, D)))
    a = activations(9, D) * torch.logspace(-2, 2, 9).double()[:, None]
    flow = ode.Flow(angle=0.9, steps=7, solver=method)
    together = flow.solve(field, a).end
    alone = torch.cat([flow.solve(field, row[None]).end for row in a])
    torch.testing.assert_close(together, alone, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3)])
def test_any_batch_shape(shape):
    field = ode.BarrierField(random_quadratic(D, 0))
    a = torch.randn(*shape, D)
    path = ode.Flow(angle=0.3, steps=4).solve(field, a, record=True)
    assert path.end.shape == a.shape
    assert path.points.shape == (5, *a.shape)
    assert path.stationary.shape == shape
    assert path.n_evaluations == 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_integrated_in_float32(dtype):
    field = ode.BarrierField(random_quadratic(D, 0))
    a = torch.randn(5, D).to(dtype)
    half = ode.Flow(angle=0.5).solve(field, a).end
    full = ode.Flow(angle=0.5).solve(field, a.float()).end
    assert half.dtype == dtype
    assert torch.equal(half, full.to(dtype))


def test_strengths_in_three_units_agree():
    barrier = ode.LinearBarrier().fit(*gaussian_classes(50, D))
    field, a = ode.BarrierField(barrier), activations(4, D, norm=barrier.median_norm)
    ends = [
        ode.Flow(**s).solve(field, a).end for s in ({"angle": 0.3}, {"T": 0.3 * barrier.median_norm}, {"relative": 0.3})
    ]
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-12, atol=0)
    torch.testing.assert_close(ends[0], ends[2], rtol=1e-12, atol=0)


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 20), st.integers(0, 1000), st.floats(0.05, 3.0), st.floats(-3, 3))
def test_the_certified_flow_never_falls(d, seed, angle, exponent):
    q = random_quadratic(d, seed, curvature=10.0**exponent)
    path = solve(q, activations(3, d, seed=seed), angle=angle, steps=20, solver="certified")
    values = q.value(path.points)
    noise = 1e-14 * float(q.A.norm() + q.b.norm())
    assert (values[1:] - values[:-1] >= -noise).all()


def test_the_certified_flow_ends_at_the_maximum():
    q = random_quadratic(D, 5, curvature=1.0, slope=3.0)
    path = solve(q, activations(5, D), angle=10.0, steps=100, solver="certified")
    torch.testing.assert_close(
        q.value(path.end), torch.full((5,), ode.ceiling(q).value, dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_a_step_at_a_maximum_is_zero():
    q = random_quadratic(D, 5)
    top = ode.ceiling(q).point[None] * 3
    for method in [*STEPPED, "certified"]:
        path = solve(q, top, angle=0.1, steps=1, solver=method)
        assert float((q.value(path.end) - q.value(top)).abs()) < 1e-3
    at_pole = ode.QuadraticBarrier(A=torch.zeros(3, 3), b=torch.tensor([1.0, 0, 0]))
    a = torch.tensor([[2.0, 0, 0]], dtype=torch.float64)
    for method in [*STEPPED, "certified"]:
        path = solve(at_pole, a, angle=0.5, steps=3, solver=method)
        assert torch.equal(path.end, a)
        assert path.stationary.all()


def test_the_optimal_steer_beats_every_integrator():
    barrier = ode.KernelBarrier(gamma=4.0, coef0=0.2, C=100.0).fit(*gaussian_classes(60, D))
    a = activations(20, D)
    ends = {m: solve(barrier, a, angle=0.5, steps=50, solver=m).end for m in [*STEPPED, "certified", "optimal"]}
    for method in STEPPED:
        assert (barrier.value(ends["optimal"]) >= barrier.value(ends[method]) - 1e-9).all()
    bound = ode.cap_bound(barrier.quadratic, a, angle=0.5).bound
    assert (barrier.value(ends["optimal"]) <= bound).all()


def test_a_negative_strength_goes_down():
    q, a = random_quadratic(D, 2), activations(5, D)
    assert (q.value(solve(q, a, angle=-0.3, solver="geodesic").end) < q.value(a)).all()


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: ode.Flow(), "exactly one"),
        (lambda: ode.Flow(angle=1.0, T=1.0), "exactly one"),
        (lambda: ode.Flow(angle=1.0, steps=0), "steps=0"),
        (lambda: ode.Flow(angle=1.0, solver="leapfrog"), "solver='leapfrog'"),
        (lambda: ode.Flow(angle=math.nan), "angle=nan"),
        (lambda: ode.Flow(T=-1.0, solver="certified"), "no inverse"),
        (lambda: ode.Flow(T=-1.0, solver="optimal"), "no inverse"),
        (lambda: solve(random_quadratic(4, 0), torch.ones(2, 5), angle=1.0), "d_model=4"),
        (lambda: solve(random_quadratic(4, 0), torch.zeros(2, 4), angle=1.0), "is zero"),
        (lambda: solve(random_quadratic(4, 0), torch.full((2, 4), torch.nan), angle=1.0), "NaN"),
        (lambda: solve(random_quadratic(4, 0), torch.ones(2, 4), relative=0.5), "relative"),
        (
            lambda: ode.Flow(angle=1.0, solver="certified").solve(ode.ConstantField(torch.ones(4)), torch.ones(4)),
            "quadratic",
        ),
        (lambda: ode.ConstantField(torch.zeros(4)), "direction is zero"),
    ],
)
def test_bad_input_names_the_argument_and_the_value(make, word, unchecked):
    with pytest.raises(ValueError, match=word):
        make()


@pytest.mark.parametrize("method", sorted(INTEGRATORS))
@pytest.mark.parametrize("unit", ["angle", "T", "relative"])
def test_strengths_of_every_row_are_those_rows_solved_alone(method, unit, kernel_field):
    field, a = kernel_field
    strengths = torch.tensor([0.0, 0.1, 0.35, 0.2], dtype=torch.float64)
    path = ode.Flow(**{unit: strengths}, steps=4, solver=method).solve(field, a, record=True)
    for i, strength in enumerate(strengths.tolist()):
        alone = ode.Flow(**{unit: strength}, steps=4, solver=method).solve(field, a[i], record=True)
        torch.testing.assert_close(path.end[i], alone.end, rtol=1e-10, atol=1e-10)
        if strength:
            torch.testing.assert_close(path.points[:, i], alone.points, rtol=1e-10, atol=1e-10)
    assert torch.equal(path.points[:, 0], a[0].expand_as(path.points[:, 0]))
    assert torch.equal(path.end[0], a[0])
    assert bool(path.stationary[0])


def test_a_strength_a_prompt_holds_at_all_its_positions(kernel_field):
    field, a = kernel_field
    both = torch.stack([a, a])
    path = ode.Flow(angle=torch.tensor([[0.1], [0.3]])).solve(field, both)
    for i, angle in enumerate((0.1, 0.3)):
        torch.testing.assert_close(path.end[i], ode.Flow(angle=angle).solve(field, a).end, rtol=1e-6, atol=1e-6)


def test_strengths_that_do_not_fit_the_rows_are_refused(kernel_field, tmp_path, unchecked):
    field, a = kernel_field
    flow = ode.Flow(angle=torch.tensor([0.1, 0.2]))
    with pytest.raises(ValueError, match=r"strength has shape \(2,\).*\(4,\) rows"):
        flow.solve(field, a)
    with pytest.raises(ValueError, match=r"angle=.* must be finite"):
        ode.Flow(angle=torch.tensor([0.1, float("nan")]))
    with pytest.raises(ValueError, match=r"T=1e\+300 must be finite in float32, so below 3.4e\+38; use a smaller"):
        ode.Flow(T=1e300)
    with pytest.raises(ValueError, match=r"strength=3e\+38 is an infinite length .* use a smaller strength"):
        ode.Flow(angle=3e38).solve(field, 100 * a.float())
    with pytest.raises(ValueError, match="negative"):
        ode.Flow(angle=torch.tensor([0.1, -0.1]), solver="certified")
    with pytest.raises(ValueError, match="cannot be saved"):
        ode.Steerer(field, flow, 0).save(tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_flow_in_float32_leaves_out_only_what_h_cannot_feel():
    """Directions of decaying variance: the proved bound on h, checked where it is worst, and the same end points."""
    d, n = 120, 50
    scale = torch.logspace(0, -4, d)
    noise = torch.randn(2, n, d, generator=torch.Generator().manual_seed(0)) * scale
    barrier = ode.KernelBarrier(gamma=1.0, C=10.0).fit(noise[0] + 0.3 * scale + 0.2, noise[1] - 0.3 * scale + 0.2)
    whole = barrier.quadratic.spectrum
    brief = whole.brief
    assert brief.basis.shape[1] < 0.8 * whole.basis.shape[1]
    eye = torch.eye(brief.basis.shape[1]).double()
    torch.testing.assert_close(brief.basis.mT @ brief.basis, eye, rtol=0, atol=1e-9)
    torch.testing.assert_close(brief.basis @ brief.linear, whole.basis @ whole.linear, rtol=1e-9, atol=1e-12)
    without = ode.QuadraticBarrier((brief.basis * brief.eigenvalues) @ brief.basis.mT, brief.basis @ brief.linear,
                                   barrier.quadratic.c)  # fmt: skip
    u, h = torch.cat([whole.basis.mT, activations(2000, d)]), barrier.quadratic
    span = float(ode.ceiling(h)) + float(ode.ceiling(h.negated()))
    assert 0 < float((without.value(u) - h.value(u)).abs().max()) <= 1e-6 * span
    a, flow, field = activations(9, d), ode.Flow(angle=0.5), ode.BarrierField(barrier)
    exact = flow.solve(field, a).end
    torch.testing.assert_close(flow.solve(field, a.float()).end.double(), exact, rtol=0, atol=2e-5 * float(a[0].norm()))
    assert field.chart(a).start.shape[-1] == field.eigenchart(a.float()).start.shape[-1] == whole.values.shape[0]


def test_a_kernel_of_degree_1_is_followed_in_its_one_direction():
    field = ode.BarrierField(ode.KernelBarrier(degree=1, C=1.0).fit(*gaussian_classes(20, 60)))
    a, flow = activations(9, 60), ode.Flow(angle=0.5)
    assert field.chart(a.float()).start.shape[-1] == 2  # along b, and the rest of a
    torch.testing.assert_close(flow.solve(field, a.float()).end.double(), flow.solve(field, a).end, rtol=0, atol=1e-5)
