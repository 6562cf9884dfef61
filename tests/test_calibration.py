"""Calibration: Platt's map whatever the scale of the scores, and no more than n held-out texts can show."""

import math
import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

import odesteer_tl as ode
from odesteer_tl.barriers import Calibration
from tests.problems import gaussian_classes


class Score(ode.LinearBarrier):
    """A barrier whose value is the first coordinate."""

    def value(self, a):
        return a[..., 0].double()


def scored(positive, negative, groups=None) -> ode.Barrier:
    """A barrier calibrated on rows whose scores are given."""
    columns = [torch.stack([x.double(), torch.ones_like(x.double())], -1) for x in (positive, negative)]
    return Score().fit(*gaussian_classes(9, 2)).calibrate(*columns, groups=groups)


def draw(n: int, shift: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, generator=g).double() + shift / 2, torch.randn(n, generator=g).double() - shift / 2


def platt(positive, negative, counts):
    """Platt's loss (1999, eq. 2 with his targets), each class weighted as one, minimised directly."""

    def loss(theta):
        total = 0.0
        for x, n, high in ((positive, counts[0], True), (negative, counts[1], False)):
            z, target = theta[0] * x.numpy() + theta[1], (n + 1) / (n + 2) if high else 1 / (n + 2)
            total += np.mean(np.logaddexp(0, z) - target * z)
        return total

    return minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14, "maxiter": 4000}).x


@pytest.mark.parametrize(("n", "m", "shift"), [(60, 60, 1.0), (90, 30, 2.0)])
def test_slope_and_intercept_minimise_platts_loss(n, m, shift):
    positive, negative = draw(n, shift)[0], draw(m, shift, 1)[1]
    found = Calibration.of(positive, negative)
    assert (found.slope, found.intercept) == pytest.approx(platt(positive, negative, (n, m)), rel=1e-4, abs=1e-4)


def test_separated_scores_are_shrunk_to_the_bound_about_their_own_boundary():
    """Platt's smoothing alone says more of the farthest held-out text than so few can show."""
    positive, negative = draw(13, 8.0)
    slope, intercept = platt(positive, negative, (13, 13))
    found = Calibration.of(positive, negative)
    held_out = torch.cat([positive, negative])
    assert float((slope * held_out + intercept).abs().max()) > found.bound
    assert float((found.slope * held_out + found.intercept).abs().max()) == pytest.approx(found.bound)
    assert found.intercept / found.slope == pytest.approx(intercept / slope, abs=1e-4)
    assert len(found(held_out).unique()) == 26  # no two are made equal


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e-3, 1e6])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_the_scale_of_scores_changes_nothing(scale, offset):
    x, y = draw(300, 2.0)
    plain, scaled = scored(x, y), scored(scale * (x + offset), scale * (y + offset))
    assert scaled.calibration.slope * scale == pytest.approx(plain.calibration.slope, rel=1e-4)
    at = torch.tensor([[1.0, 1.0], [-2.0, 1.0]]).double()
    moved = torch.stack([scale * (at[:, 0] + offset), at[:, 1]], -1)
    torch.testing.assert_close(scaled.log_ratio(moved), plain.log_ratio(at), rtol=1e-4, atol=1e-3)
    assert plain.calibration.slope == pytest.approx(2.0, abs=0.5)  # log φ(s − 1)/φ(s + 1) = 2s


def test_separated_texts_warn_and_are_bounded_by_their_number():
    positive, negative = draw(13, 12.0)
    with pytest.warns(UserWarning, match=r"13 \+ 13 held-out texts are separated.*no more than 3\.3 nats"):
        barrier = scored(positive, negative)
    bound = math.log(28)
    assert barrier.calibration.bound == pytest.approx(bound)
    far = torch.tensor([[1e6, 1.0], [-1e6, 1.0]]).double()
    assert barrier.log_ratio(far).tolist() == pytest.approx([bound, -bound])
    bounds = [Calibration.of(*draw(n, 12.0)).bound for n in (20, 200, 2000)]
    assert bounds == pytest.approx([math.log(2 * (n + 1)) for n in (20, 200, 2000)])


def test_a_barrier_of_small_separable_data_claims_no_35_nats():
    """13 + 13 texts, as people bring them: what is steered far beyond them is not known to be e³⁵ times likelier."""
    g = torch.Generator().manual_seed(0)
    mean = torch.randn(64, generator=g)
    sample = [torch.randn(13, 64, generator=g) + sign * mean for sign in (1, -1, 1, -1)]
    barrier = ode.KernelBarrier(gamma=1.0, C=100.0).fit(*sample[:2])
    with pytest.warns(UserWarning, match="separated"):
        barrier.calibrate(*sample[2:])
    steered = ode.Flow(angle=1.0).solve(ode.BarrierField(barrier), sample[3]).end
    assert barrier.log_ratio(steered).max() <= math.log(28) + 1e-6


def test_overlapping_texts_are_not_bounded_and_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        barrier = scored(*draw(40, 1.0))
    assert barrier.calibration.bound is None
    assert float(barrier.log_ratio(torch.tensor([1e3, 1.0]).double())) > 100


def test_rows_of_one_text_count_once():
    positive, negative = (x.repeat_interleave(10) for x in draw(13, 12.0))
    labels = torch.arange(26).repeat_interleave(10).split(130)
    with pytest.warns(UserWarning, match=r"13 \+ 13"):
        grouped = scored(positive, negative, labels).calibration
    with pytest.warns(UserWarning, match=r"130 \+ 130"):
        each = scored(positive, negative).calibration
    assert (grouped.n_positive, grouped.bound) == (13, pytest.approx(math.log(28)))
    assert grouped.slope < each.slope
    with pytest.warns(UserWarning, match=r"13 \+ 13"):
        alone = scored(*draw(13, 12.0)).calibration
    assert (alone.slope, alone.intercept) == pytest.approx((grouped.slope, grouped.intercept), rel=1e-4, abs=1e-6)


def test_scores_that_differ_by_rounding_are_refused():
    x = torch.full((20,), 5.0).double()
    for y in (x, x * (1 + 2e-16)):
        with pytest.raises(ValueError, match="all 5 within rounding"):
            scored(x, y)


def test_the_bound_is_saved_with_the_barrier():
    positive, negative = gaussian_classes(50, 8, shift=3.0)
    barrier = ode.LinearBarrier().fit(positive[:30], negative[:30])
    with pytest.warns(UserWarning, match="separated"):
        barrier.calibrate(positive[30:], negative[30:])
    settings, tensors = ode.BarrierField(barrier).dump()
    again = ode.BarrierField.load(settings, tensors).barrier
    assert again.calibration == barrier.calibration
    del settings["calibration"]["bound"]  # as written before there was one
    assert ode.BarrierField.load(settings, tensors).barrier.calibration.bound is None
