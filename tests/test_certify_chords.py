"""The Fourier barrier's certificate on straight chords, against dense sampling."""

import pytest
import torch

import odesteer_tl as ode
from tests.problems import activations, gaussian_classes


@pytest.fixture(scope="module")
def fourier():
    return ode.FourierBarrier(n_components=60, C=100.0).fit(*gaussian_classes(60, 16))


def sampled_slopes(barrier, start, end, samples=513):
    """Slope of h along the chord, per fraction, at dense samples."""
    t = torch.linspace(0, 1, samples, dtype=torch.float64)[:, None, None]
    return (barrier.gradient(start + t * (end - start)) * (end - start)).sum(-1)


@pytest.mark.parametrize("length", [1e-6, 0.1, 1.0, 6.0])
def test_no_certificate_and_no_refutation_on_a_chord_is_false(fourier, length):
    start = activations(3000, 16, seed=1, norm=4.0)
    direction = fourier.gradient(start) + 0.3 * fourier.gradient(start).norm(dim=-1, keepdim=True) * activations(
        3000, 16, seed=2, norm=1.0
    )
    end = start + length * direction / direction.norm(dim=-1, keepdim=True)
    found = ode.certify_path(fourier, torch.stack([start, end]))
    slopes = sampled_slopes(fourier, start, end)
    noise = 1e-12 * float(fourier.fitted("weight").abs().sum())
    assert found.certified.any()
    assert not (found.certified[0] & (slopes.amin(0) < -noise)).any()
    # samples are close enough to see any fall the certificate can
    assert not (found.refuted[0] & (slopes.amin(0) > 1e-3 * slopes.abs().amax(0))).any()
    assert found.undecided.float().mean() < 0.01
    proved = found.first_violation[0]
    assert proved[found.certified[0]].isnan().all()
    assert (proved[found.refuted[0]] <= found.angle[0][found.refuted[0]] + 1e-12).all()


def test_the_flow_of_a_fourier_barrier_is_certified_and_its_reverse_refuted(fourier):
    a = activations(40, 16, norm=4.0)
    up = ode.Flow(T=0.5, steps=10, solver="euler").solve(ode.BarrierField(fourier), a, record=True).points
    down = ode.Flow(T=-0.5, steps=10, solver="euler").solve(ode.BarrierField(fourier), a, record=True).points
    assert ode.certify_path(fourier, up).certified.float().mean() > 0.95
    assert ode.certify_path(fourier, down).refuted.float().mean() > 0.95


def test_slack_is_a_length_h_goes_on_rising_for(fourier):
    a = activations(200, 16, norm=4.0)
    step = ode.Flow(T=0.05, steps=1, solver="euler").solve(ode.BarrierField(fourier), a, record=True).points
    found = ode.certify_path(fourier, step)
    rows = found.certified[0]
    v = (step[1] - step[0]) / 0.05
    # going on by 0.9 of the slack, by the curvature at the step itself, still rises
    longer = step[1] + 0.9 * found.slack[0][:, None].clamp_min(0) * v
    assert (sampled_slopes(fourier, step[1], longer).amin(0)[rows] > 0).all()


def test_a_repeated_point_is_stationary(fourier):
    a = activations(3, 16)
    assert ode.certify_path(fourier, torch.stack([a, a])).stationary.all()
