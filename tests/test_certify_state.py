"""What is derived of a barrier goes with it: refitted, restored, saved, or changed behind its back."""

import pytest
import torch

import odesteer_tl as ode
from odesteer_tl.barriers.quadratic import QuadraticBarrier
from tests.problems import activations, gaussian_classes, random_quadratic


def looked_at(q):
    """The barrier, with everything derived of it asked for once."""
    assert q.curvature_bound > 0
    assert q.spectral_error >= 0
    q.value(activations(2, q.d_model))
    return q


def same_as_new(q, fresh):
    """Whether a barrier and one made anew agree in all that certificates stand on."""
    torch.testing.assert_close(q.spectrum.eigenvalues, fresh.spectrum.eigenvalues)
    assert q.curvature_bound == fresh.curvature_bound
    assert q.spectral_error == pytest.approx(fresh.spectral_error, rel=0.01)
    points = torch.stack([activations(20, q.d_model, seed=s) for s in range(4)])
    one, other = ode.certify_path(q, points), ode.certify_path(fresh, points)
    assert torch.equal(one.certified, other.certified)
    assert torch.equal(one.refuted, other.refuted)
    assert float(ode.ceiling(q)) == float(ode.ceiling(fresh))


def test_a_restored_quadratic_keeps_nothing_of_its_old_self():
    old, new = looked_at(random_quadratic(6, 0)), random_quadratic(6, 1, curvature=3.0)
    falling = ode.Flow(angle=-0.5, steps=4).solve(ode.BarrierField(new), activations(1, 6), record=True)
    old.restore(dict(new.state), None)
    assert ode.certify_path(old, falling).refuted.all()
    same_as_new(old, new)
    old.state = dict(new.negated().state)
    assert ode.certify_path(old, falling).certified.all()
    same_as_new(old, new.negated())


@pytest.mark.parametrize("make", [lambda: ode.KernelBarrier(C=1.0), lambda: ode.LinearBarrier(),
                                  lambda: ode.SketchBarrier(n_components=64)])  # fmt: skip
def test_a_field_follows_its_barrier_when_that_is_fitted_again(make):
    positive, negative = gaussian_classes(20, 8)
    barrier = make().fit(positive, negative)
    field, a = ode.BarrierField(barrier), activations(5, 8)
    looked_at(field.quadratic)
    before = ode.Flow(angle=0.5).solve(field, a).end
    barrier.fit(negative, positive)
    after = ode.Flow(angle=0.5).solve(field, a).end
    fresh = ode.BarrierField(make().fit(negative, positive))
    torch.testing.assert_close(after, ode.Flow(angle=0.5).solve(fresh, a).end)
    torch.testing.assert_close(field(a), fresh(a))
    assert (after - before).norm(dim=-1).min() > 0.1
    same_as_new(field.quadratic, fresh.quadratic)
    certified = ode.Flow(angle=0.5, solver="certified").solve(field, a, record=True)
    assert not ode.certify_path(barrier, certified).refuted.any()


def test_a_quadratic_shares_no_coefficient_with_its_caller():
    A, b = torch.eye(3).double(), torch.ones(3).double()
    q = QuadraticBarrier(A, b, torch.tensor(0.5).double())
    before = float(ode.ceiling(q))
    b.neg_()
    assert float(q.b.sum()) == 3.0
    assert float(ode.ceiling(q)) == before


def test_what_the_collapse_cost_is_saved_with_the_quadratic(tmp_path):
    q = ode.KernelBarrier(C=1.0).fit(*gaussian_classes(20, 8)).quadratic
    assert q.collapse_error > 0
    again = ode.BarrierField.load(*ode.BarrierField(q).dump()).barrier
    assert again.collapse_error == q.collapse_error
    assert again.negated().collapse_error == q.collapse_error
    same_as_new(again, q)
