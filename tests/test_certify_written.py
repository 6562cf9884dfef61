"""What is written back, in the model's dtype, against exact rational arithmetic on the numbers written."""

import pytest
import torch

import odesteer_tl as ode
from tests.exact import exact_rise, fractions
from tests.problems import activations, gaussian_classes, random_quadratic

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


def signs(q, start, end):
    """Of h(end) − h(start), exactly."""
    A, b = fractions(q.A), fractions(q.b)
    return torch.tensor([exact_rise(A, b, x, y) for x, y in zip(fractions(start), fractions(end), strict=True)])


def starts(q, n, dtype, place):
    """Activations as a model of that dtype has them: anywhere, or at h's maximum as far as the dtype goes."""
    if place == "anywhere":
        return activations(n, q.d_model, seed=4).to(dtype)
    a = 8 * ode.ceiling(q).point * torch.linspace(0.9, 1.1, n, dtype=torch.float64)[:, None]
    return a.to(dtype)


@pytest.mark.parametrize("place", ["anywhere", "at the maximum"])
@pytest.mark.parametrize("angle", [0.001, 0.05])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_claimed_of_a_written_end_is_false(dtype, angle, place):
    q = random_quadratic(24, 3, curvature=2.0)
    a = starts(q, 25, dtype, place)
    field = ode.BarrierField(q)
    for method in ("geodesic", "optimal", "certified"):
        end = ode.Flow(angle=angle, solver=method, steps=3).solve(field, a).end
        assert end.dtype == dtype
        found, truth = ode.certify_written(q, a, end), signs(q, a, end)
        assert not (found.proved & (truth < 0)).any()
        assert not (found.refuted & (truth >= 0)).any()
        # in half precision what is true is decided, also at the maximum
        if dtype in (torch.bfloat16, torch.float16):
            assert not found.unproved.any()


@pytest.mark.parametrize("place", ["anywhere", "at the maximum"])
@pytest.mark.parametrize("angle", [0.001, 0.3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_certified_flow_never_writes_a_lower_point(dtype, angle, place):
    q = random_quadratic(24, 3, curvature=2.0)
    a = starts(q, 25, dtype, place)
    path = ode.Flow(angle=angle, solver="certified", steps=3).solve(ode.BarrierField(q), a, record=True)
    assert (signs(q, a, path.end) >= 0).all()
    assert ode.certify_written(q, a, path.end).proved.all()
    assert torch.equal(path.end[~path.held_back], path.points[-1].to(dtype)[~path.held_back])
    if place == "anywhere" and angle == 0.3:
        assert not path.held_back.any()
        assert (path.end != a).any(-1).all()


def test_the_rounded_end_of_the_flow_does_fall_in_bfloat16():
    """Why the certified flow looks at what is written: at a maximum, rounding alone lowers h."""
    q = random_quadratic(24, 3, curvature=2.0)
    a = starts(q, 25, torch.bfloat16, "at the maximum")
    path = ode.Flow(angle=0.001, solver="certified", steps=3).solve(ode.BarrierField(q), a, record=True)
    rounded = path.points[-1].to(torch.bfloat16)
    assert ode.certify_path(q, torch.stack([path.points[-2], rounded.double()])).refuted.any()
    assert "proved no lower" in str(path)
    assert "unproved" in str(ode.Flow(angle=0.1).solve(ode.BarrierField(q), a))
    assert ode.Flow(angle=0.1).solve(ode.BarrierField(q), a).held_back is None


def test_rows_that_may_not_move_and_no_strength_at_all_are_proved():
    q, a = random_quadratic(6, 0), activations(4, 6).bfloat16()
    strengths = torch.tensor([0.0, 0.2, 0.0, 0.4])
    path = ode.Flow(angle=strengths, solver="certified").solve(ode.BarrierField(q), a)
    assert torch.equal(path.end[strengths == 0], a[strengths == 0])
    assert not path.held_back[strengths == 0].any()
    none = ode.Flow(angle=0.0, solver="certified").solve(ode.BarrierField(q), a)
    assert not none.held_back.any()
    shaped = ode.Flow(angle=0.2, solver="certified").solve(ode.BarrierField(q), a.reshape(2, 2, 6))
    assert shaped.held_back.shape == (2, 2)


@pytest.mark.parametrize(
    "barrier",
    [
        ode.LinearBarrier(),
        ode.KernelBarrier(degree=3, C=1.0),
        ode.FourierBarrier(n_components=20),
        ode.SketchBarrier(n_components=32),
    ],
)
def test_every_barrier_with_a_certificate_has_this_one(barrier):
    barrier.fit(*gaussian_classes(20, 6))
    start, end = activations(300, 6, norm=2.0), activations(300, 6, seed=2, norm=2.0)
    for end_here in (end, start + 1e-5 * end, start):
        found = ode.certify_written(barrier, start, end_here)
        change = barrier.value(end_here) - barrier.value(start)
        assert not (found.proved & (change < -1e-12)).any()
        assert not (found.refuted & (change > 1e-12)).any()
        assert (found.rise <= change + 1e-12).all()
        assert found.unproved.double().mean() < 0.01
    assert ode.certify_written(barrier, start, start).proved.all()
    rounded = ode.certify_written(barrier, start, end, torch.bfloat16)
    again = ode.certify_written(barrier, start.bfloat16(), end.bfloat16())
    assert torch.equal(rounded.proved, again.proved)


def test_bad_input_names_the_argument_and_the_value(unchecked):
    q = random_quadratic(3, 0)
    with pytest.raises(ValueError, match=r"start has shape \(2, 3\) and end \(3, 3\)"):
        ode.certify_written(q, torch.ones(2, 3), torch.ones(3, 3))
    with pytest.raises(ValueError, match="zero"):
        ode.certify_written(q, torch.ones(2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="no sound certificate"):
        ode.certify_written(lambda a: a, torch.ones(2, 3), torch.ones(2, 3))
