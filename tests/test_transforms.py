"""A wide sketch is followed by Fourier transforms: the eigenbasis' end points, without the eigenbasis."""

import pytest
import torch

import odesteer_tl as ode
from analyses.cost.published_form import published_euler
from analyses.cost.timing import peak_memory
from odesteer_tl.barriers.transforms import SketchTransforms
from tests.problems import activations, gaussian_classes

D, N = 400, 300


@pytest.fixture(scope="module", params=[1.0, 0.0], ids=["c0=1", "c0=0"])
def barrier(request):
    """Wide enough for its few features that the transforms are chosen."""
    barrier = ode.SketchBarrier(n_components=N, coef0=request.param, seed=1).fit(*gaussian_classes(60, D))
    assert barrier.transforms is not None
    return barrier


@pytest.fixture(scope="module")
def eigen(barrier):
    """The same h, which is followed in its eigenbasis."""
    assert barrier.quadratic.transforms is None
    return ode.BarrierField(barrier.quadratic)


def test_the_choice_is_by_shape():
    for d, n, chosen in ((768, 8000, False), (2048, 8000, False), (4096, 8000, True), (8192, 8000, True), (D, N, True)):
        assert SketchTransforms.worth(d, n) == chosen
    assert ode.SketchBarrier(n_components=N, degree=1).fit(*gaussian_classes(9, D)).transforms is None
    assert ode.SketchBarrier(n_components=10, degree=3).fit(*gaussian_classes(9, D)).transforms is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_transforms_are_the_quadratics_value_and_gradient(barrier, dtype):
    a = activations(19, D).to(dtype).reshape(19, 1, D)
    exact, tolerance = a.double(), 2e-6 if dtype == torch.float32 else 1e-13
    for ours, theirs in ((barrier.value, barrier.quadratic.value), (barrier.gradient, barrier.quadratic.gradient)):
        found, expected = ours(a), theirs(exact)
        assert found.dtype == dtype
        assert found.shape == expected.shape
        assert float((found - expected).norm() / expected.norm()) < tolerance


@pytest.mark.parametrize(("method", "steps"), [("euler", 10), ("geodesic", 10), ("geodesic_midpoint", 3), ("rk4", 4),
                                               ("euler", 1000), ("geodesic", 1000)])  # fmt: skip
def test_end_points_are_the_eigenbasis(barrier, eigen, method, steps):
    """In float64 to its rounding (to the extrapolation's 1e-7 for many steps), in float32 to a few of its own."""
    flow, a = ode.Flow(angle=0.5, steps=steps, solver=method), activations(600, D)
    field = ode.BarrierField(barrier)
    for dtype, tolerance in ((torch.float64, 1e-12 if steps < 100 else 1e-6), (torch.float32, 2e-6)):
        rows = a[: 600 if dtype == torch.float32 and steps < 100 else 4].to(dtype)
        ends = [flow.solve(f, rows).end for f in (field, eigen)]
        assert float(((ends[0] - ends[1]).norm(dim=-1) / ends[1].norm(dim=-1)).max()) < tolerance
        # blocks of rows are nothing but a way to go through them
        alone = flow.solve(field, rows[-2:]).end
        torch.testing.assert_close(ends[0][-2:], alone, rtol=0, atol=tolerance * float(rows[0].norm()))


def test_gradients_pass_through_as_in_the_eigenbasis(barrier, eigen):
    pulled = []
    for field in (ode.BarrierField(barrier), eigen):
        a = activations(3, D).requires_grad_(True)
        pulled += torch.autograd.grad(ode.Flow(angle=0.5, steps=3).solve(field, a).end.square()[:, :9].sum(), a)
    torch.testing.assert_close(*pulled, rtol=1e-9, atol=1e-9)


def test_recorded_points_end_where_unrecorded_ones_do(barrier):
    flow, a = ode.Flow(angle=0.5), activations(500, D).float().reshape(2, 250, D)
    path = flow.solve(ode.BarrierField(barrier), a, record=True)
    torch.testing.assert_close(path.points[-1], flow.solve(ode.BarrierField(barrier), a).end, rtol=0, atol=1e-5)
    assert bool(ode.certify_path(barrier, path.points[:, 0, :5]).certified.all())


def test_a_maximum_is_a_fixed_point_here_too(barrier):
    top = ode.ceiling(barrier.quadratic).point
    assert not ode.BarrierField(barrier)(5 * top).any()
    assert bool(ode.Flow(angle=0.3).solve(ode.BarrierField(barrier), 5 * top[None]).stationary.all())
    values = barrier.quadratic.spectrum.values
    bound = 2 * float(values.max() - values.min()) + float(barrier.quadratic.b.norm())
    assert barrier.transforms.scale == pytest.approx(bound, rel=0.02)


def test_nothing_is_collapsed_until_it_is_asked_for(tmp_path):
    barrier = ode.SketchBarrier(n_components=N).fit(*gaussian_classes(60, D))
    field, a = ode.BarrierField(barrier), activations(4, D).float()
    ode.Flow(angle=0.3).solve(field, a)
    assert (barrier.value(a).shape, barrier.gradient(a).shape, field(a).shape) == ((4,), a.shape, a.shape)
    ode.Steerer(field, ode.Flow(angle=0.3), layer=0).save(tmp_path / "saved")
    assert "quadratic" not in vars(barrier)
    for method in ("certified", "optimal"):  # stated in the eigenbasis
        better = barrier.value(ode.Flow(angle=0.3, solver=method).solve(field, a).end) - barrier.value(a)
        assert (better > 0).all()
    assert field.quadratic is barrier.quadratic is not None


def test_a_barrier_fitted_anew_is_followed_anew():
    barrier, a = ode.SketchBarrier(n_components=N), activations(3, D)
    field, other = ode.BarrierField(barrier.fit(*gaussian_classes(60, D))), gaussian_classes(60, D, seed=5)
    before = ode.Flow(angle=0.3).solve(field, a).end
    barrier.fit(*other)
    fresh = ode.BarrierField(ode.SketchBarrier(n_components=N).fit(*other))
    for method in ("geodesic", "certified"):
        flow = ode.Flow(angle=0.3, solver=method)
        assert torch.equal(flow.solve(field, a).end, flow.solve(fresh, a).end)
        assert not torch.equal(flow.solve(field, a).end, before)


def test_memory_at_4096_is_a_fraction_of_the_published_forms():
    """256 rows: their arrays of features are 16 MiB each, ours are blocks of a few rows."""
    d = 4096
    barrier, a = ode.SketchBarrier().fit(*gaussian_classes(10, d)), activations(256, d).float()
    flow = ode.Flow(angle=0.5, steps=1, solver="euler")
    ours = peak_memory(lambda: flow.solve(ode.BarrierField(barrier), a))
    theirs = peak_memory(lambda: published_euler(barrier, a, 0.5 * a.norm(dim=-1, keepdim=True), steps=1))
    assert ours < theirs / 5
    assert ours < 307 * 2**20
    assert "quadratic" not in vars(barrier)
