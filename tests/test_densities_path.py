"""The pair and the paths: splits that leak are refused, T*, exits and over-steering are those of the known truth."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, kstest

import odesteer_tl as ode
from odesteer_tl.densities import (
    PPCA,
    AngularCentralGaussian,
    DensityPair,
    FactorAnalysis,
    MixturePPCA,
    ShrunkGaussian,
    Splits,
    TangentGaussian,
    agreement,
    score_path,
)
from tests.gaussian_pair import GaussianPair, as_density

FAMILIES = [ShrunkGaussian(), PPCA(6), FactorAnalysis(4), FactorAnalysis(8)]
DIRECTIONAL = [TangentGaussian(ShrunkGaussian()), TangentGaussian(FactorAnalysis(8)), AngularCentralGaussian(8)]


def groups(start, n):
    """One prompt a pair."""
    return range(start, start + n), range(start, start + n)


def fitted(truth, n=500, candidates=FAMILIES, tied=False, held_out=400, folds=3):
    pair = DensityPair(candidates, tied, folds).fit(*truth.sample(n, 1), groups(0, n), barrier_groups=range(-50, 0))
    return pair.calibrate(*truth.sample(held_out, 2), groups(n, held_out))


@pytest.fixture(scope="module")
def truth():
    return GaussianPair.draw(128, seed=3)


@pytest.fixture(scope="module")
def pair(truth):
    return fitted(truth, 1000, FAMILIES[2:], held_out=1000)


@pytest.fixture(scope="module")
def line(truth):
    return truth.line(300, 20, 12.0, seed=4)


def true_peak(truth, points):
    """Where log p₊ peaks along a straight line, in steps: exact, from the quadratic it is there."""
    y = truth.positive.log_prob(points)
    curvature = y[2] - 2 * y[1] + y[0]
    return (-(y[1] - y[0]) / curvature + 0.5).clamp(0, len(points) - 1)


def test_log_densities_and_ratio(pair, truth):
    a = truth.sample(200, 5)[0]
    torch.testing.assert_close(pair.raw_ratio(a), pair.log_positive(a) - pair.log_negative(a))
    found = pair.calibrated
    torch.testing.assert_close(pair.log_ratio(a), found.slope * pair.raw_ratio(a) + found.intercept)
    exact = truth.positive.log_prob(a) - truth.negative.log_prob(a)
    assert np.corrcoef(pair.raw_ratio(a), exact)[0, 1] > 0.9


def test_calibration_of_the_truth_is_perfect_and_of_an_overconfident_pair_is_mended():
    truth = GaussianPair.draw(32, separation=1.5, tied=True, seed=1)
    parts = {"positive": as_density(truth.positive), "negative": as_density(truth.negative)}
    right = (
        DensityPair()
        .restore(parts, Splits(), None, DensityPair().table)
        .calibrate(*truth.sample(4000, 1), groups(0, 4000))
    )
    found = right.calibrated
    assert found.slope == pytest.approx(1.0, abs=0.12)
    assert found.intercept == pytest.approx(0.0, abs=0.15)
    assert found.positive.rank_pvalue > 0.01
    bits = -float(truth.positive.log_prob(truth.sample(4000, 1)[0]).mean()) / 32 / math.log(2)
    assert found.positive.bits_per_dimension == pytest.approx(bits, rel=1e-9)

    small = (
        DensityPair([PPCA(30)])
        .fit(*truth.sample(60, 3), groups(5000, 60))
        .calibrate(*truth.sample(1000, 2), groups(0, 1000))
    )
    assert small.calibrated.slope < 0.6
    assert small.calibrated.positive.rank_pvalue < 1e-3
    assert small.calibrated.positive.rank_statistic > found.positive.rank_statistic
    fresh = truth.sample(2000, 7)
    loss = [np.mean([np.logaddexp(0, -f(fresh[0])).mean(), np.logaddexp(0, f(fresh[1])).mean()]) for f in
            (lambda x: small.raw_ratio(x).numpy(), lambda x: small.log_ratio(x).numpy())]  # fmt: skip
    assert loss[1] < loss[0]


def test_slope_and_intercept_are_those_of_barrier_calibration():
    """The same Platt fit as a barrier's; `test_calibration` has the oracle."""
    truth = GaussianPair.draw(16, separation=2.0, tied=True, seed=2)
    x = truth.sample(300, 1)
    density = DensityPair([ShrunkGaussian()], tied=True).fit(*x, groups(0, 300))

    class Score(ode.LinearBarrier):
        def value(self, a):
            return density.raw_ratio(a)

    held_out = truth.sample(200, 2)
    expected = Score().fit(*x).calibrate(*held_out).calibration
    found = density.calibrate(*held_out, groups(300, 200)).calibrated
    assert (found.slope, found.intercept) == pytest.approx((expected.slope, expected.intercept), rel=1e-3, abs=1e-3)


def test_ranks_of_new_positives_are_uniform(pair, truth):
    """Over 12 calibration splits and as many test splits: any single one may be an unlucky draw."""
    pvalues, shares = [], []
    for k in range(12):
        again = DensityPair().restore(pair.parts, Splits(), None, pair.table)
        again.calibrate(*truth.sample(400, 100 + k), groups(0, 400))
        rank = again.calibrated.rank(again.log_positive(truth.sample(400, 200 + k)[0]))
        pvalues.append(kstest(rank.numpy(), again.calibrated.rank(again.calibrated.held_out).numpy()).pvalue)
        shares.append(float((rank < 0.025).double().mean()))
    assert binomtest(sum(p < 0.05 for p in pvalues), 12, 0.05, alternative="greater").pvalue > 0.001
    slack = 3 * math.sqrt(0.025 * 0.975 * (2 / 400) / 12)
    assert np.mean(shares) == pytest.approx(0.025, abs=slack)


def test_tied_pairs_have_better_ratios_where_the_covariance_is_one():
    truth = GaussianPair.draw(48, separation=2.0, tied=True, seed=4)
    fresh = torch.cat(truth.sample(1000, 8))
    exact = truth.positive.log_prob(fresh) - truth.negative.log_prob(fresh)
    error = {t: float((fitted(truth, 200, tied=t).log_ratio(fresh) - exact).square().mean()) for t in (True, False)}
    assert error[True] < error[False]


def test_saved_and_loaded():
    truth = GaussianPair.draw(12, rank=3)
    for candidates in (FAMILIES[:2], [MixturePPCA(2, 4)], DIRECTIONAL[:1], [AngularCentralGaussian(3)]):
        one = fitted(truth, 80, candidates, held_out=60)
        settings, tensors = one.dump()
        other = DensityPair.load(json.loads(json.dumps(settings)), tensors)
        a = truth.sample(20, 1)[0]
        assert torch.equal(one.log_ratio(a), other.log_ratio(a))
        assert torch.equal(one.relative_mahalanobis(a), other.relative_mahalanobis(a))
        assert other.splits == one.splits
        assert other.calibrated.positive == one.calibrated.positive
        assert list(other.table["chosen"]) == list(one.table["chosen"])


def test_leaks_between_splits_are_refused(truth):
    x = truth.sample(60, 1)
    with pytest.raises(ValueError, match=r"density and barrier share 3 prompt\(s\) \(the first: \[0, 1, 2\]\)"):
        DensityPair([PPCA(2)]).fit(*x, groups(0, 60), barrier_groups=[0, 1, 2])
    pair = DensityPair([PPCA(2)]).fit(*x, groups(0, 60), barrier_groups=[-1])
    with pytest.raises(ValueError, match="calibration and density share 1 prompt"):
        pair.calibrate(*x, groups(59, 60))
    with pytest.raises(ValueError, match="calibration and barrier share"):
        pair.calibrate(*x, ([-1] * 60, range(100, 160)))
    pair.calibrate(*x, groups(60, 60))
    points = torch.stack([x[0], x[0] + 1])
    for seen, name in ((-1, "barrier"), (5, "density"), (70, "calibration")):
        with pytest.raises(ValueError, match=f"test and {name} share 1"):
            score_path(pair, points, [seen, *range(1000, 1059)])
    score = score_path(pair, points, range(1000, 1060))
    assert score.splits == Splits((-1,), tuple(range(60)), tuple(range(60, 120)), tuple(range(1000, 1060)))


@pytest.mark.parametrize(("d", "n"), [(32, 250), (128, 2000), (512, 500)])
def test_turning_points_are_those_of_the_truth(d, n):
    """Median per-prompt T* within one grid step; the population's T* within one, and near its interval."""
    truth = GaussianPair.draw(d, seed=d + 1)
    pair = fitted(truth, n, FAMILIES[1:], folds=2)
    points = truth.line(300, 20, 12.0, seed=4)
    score = score_path(pair, points, range(9000, 9300))
    peak = true_peak(truth, points)
    for found in (score.peak_step.double(), score.turning_step.nan_to_num(nan=20.0)):
        assert float((found - peak).abs().median()) <= 1.0
    population = score.population_peak()
    mean = float(truth.positive.log_prob(points).mean(1).argmax())
    assert population.low - 0.5 <= mean <= population.high + 0.5
    assert abs(population.value - mean) <= 1.0


def test_several_paths_of_a_prompt_are_one_unit_of_the_populations_peak(pair, line):
    once = score_path(pair, line[:, :30], range(9000, 9030)).population_peak()
    copies = score_path(pair, line[:, :30].repeat_interleave(10, dim=1), [9000 + i // 10 for i in range(300)])
    found = copies.population_peak()
    assert (found.value, found.n) == (pytest.approx(once.value), 30)
    assert (found.low, found.high) == (once.low, once.high)
    with pytest.raises(ValueError, match="1 independent units"):
        score_path(pair, line[:, :30], [9000] * 30).population_peak()


def test_few_prompts_do_not_calibrate_however_many_rows_they_have(truth):
    x = truth.sample(60, 1)
    pair = DensityPair([PPCA(2)]).fit(*x, groups(0, 60))
    with pytest.raises(ValueError, match="60 rows of 3 prompts"):
        pair.calibrate(*x, ([100 + i // 20 for i in range(60)],) * 2)


@pytest.mark.parametrize(("d", "n", "tied"), [(32, 250, True), (32, 250, False), (128, 500, True), (512, 500, False)])
def test_exit_flags_agree_with_the_truth_where_paths_do_leave(d, n, tied):
    """95 % of points, on paths that cross p₊ (tied) or start inside and leave: both answers are common.

    With 1000 held-out positives: the 2.5 % quantile of 400 alone is uncertain by a third.
    """
    truth = GaussianPair.draw(d, seed=d + 1, tied=tied)
    pair = fitted(truth, n, FAMILIES[3:], held_out=1000, folds=2)
    t = torch.linspace(0, 12 if tied else 9, 21, dtype=torch.float64)[:, None, None]
    direction = truth.positive.mean - truth.negative.mean
    points = truth.sample(300, 4)[1 if tied else 0] + t * direction / direction.norm()
    score = score_path(pair, points, range(9000, 9300))
    cut = truth.positive.log_prob(truth.sample(20000, 6)[0]).quantile(0.025)
    outside = truth.positive.log_prob(points) < cut
    assert 0.2 < float(outside.double().mean()) < 0.8
    assert float((score.outside == outside).double().mean()) >= 0.95
    left = outside[1:] & ~outside[:-1]
    exits = torch.where(left.any(0), left.int().argmax(0) + 1.0, torch.nan)
    both = ~exits.isnan() & ~score.exit_step.isnan()
    assert float((exits.isnan() == score.exit_step.isnan()).double().mean()) >= 0.95
    assert float((score.exit_step[both] - exits[both]).abs().median()) <= 1.0


def test_everything_along_a_path_is_what_it_says(pair, line):
    h = torch.linspace(0, 1, 21).double()[:, None].expand(21, 300)
    score = score_path(pair, line, range(9000, 9300), h)
    torch.testing.assert_close(score.log_positive, pair.log_positive(line))
    torch.testing.assert_close(score.log_ratio, pair.log_ratio(line))
    torch.testing.assert_close(score.displacement[:, 0], torch.linspace(0, 12, 21).double())
    cosine = torch.nn.functional.cosine_similarity(line, line[:1], dim=-1).clamp(-1, 1)
    torch.testing.assert_close(score.angle, torch.arccos(cosine), rtol=0, atol=1e-6)
    torch.testing.assert_close(score.gain_per_radian[-1] * score.angle[-1], score.log_ratio[-1] - score.log_ratio[0])
    # a straight path: ∇log p₊ along it is the derivative of a parabola, which central differences give exactly
    torch.testing.assert_close(
        score.slope[1:-1], (score.log_positive[2:] - score.log_positive[:-2]) / 2, rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(score.typicality, 2 * torch.minimum(score.rank, 1 - score.rank))
    assert torch.equal(score.toward_positive, score.change_positive + score.change_negative >= 0)
    for i in range(300):
        inside = ~score.outside[:, i]
        exits = [t for t in range(1, 21) if inside[t - 1] and not inside[t]]
        assert (score.exit_step[i].isnan() and not exits) or float(score.exit_step[i]) == exits[0]
    frame = score.frame()
    assert len(frame) == 21 * 300
    row = frame[(frame["step"] == 3) & (frame["prompt"] == 7)].iloc[0]
    assert row["log_positive"] == float(score.log_positive[3, 7])
    assert row["h"] == float(h[3, 7])


def test_relative_mahalanobis_is_its_definition(truth):
    x = truth.sample(300, 1)
    pair = DensityPair([ShrunkGaussian()]).fit(*x, groups(0, 300))
    within = torch.cat([side - side.mean(0) for side in x])
    a = truth.sample(20, 2)[0]

    def distance(rows, mean):
        from sklearn.covariance import LedoitWolf

        z = (a - mean).numpy()
        return np.einsum("ni,ij,nj->n", z, LedoitWolf(assume_centered=True).fit(rows.numpy()).precision_, z)

    both = torch.cat(x)
    expected = distance(within, x[0].mean(0)) - distance(both - both.mean(0), both.mean(0))
    np.testing.assert_allclose(pair.relative_mahalanobis(a).numpy(), expected, rtol=1e-7, atol=1e-7)


@pytest.fixture(scope="module")
def steered(truth):
    """A kernel barrier and its flow, far past the data."""
    barrier = ode.KernelBarrier(gamma=1.0, C=10.0).fit(*truth.sample(400, 11)).calibrate(*truth.sample(300, 12))
    a = truth.sample(200, 13)[1]
    path = ode.Flow(angle=1.4, steps=14).solve(ode.BarrierField(barrier), a, record=True)
    return barrier, path.points


def test_an_over_steered_flow_is_caught(pair, truth, steered):
    """True log p₊ falls while h rises; the flags say so, and agree with the truth path by path."""
    barrier, points = steered
    h = barrier.value(points)
    score = score_path(pair, points, range(9000, 9200), h)
    exact = truth.positive.log_prob(points)
    assert float((h.diff(dim=0) > 0).double().mean()) > 0.99
    assert float((exact[-1] < exact.max(0).values - 20).double().mean()) > 0.95
    assert float(score.over_steered.double().mean()) > 0.95
    true_flags = (exact.diff(dim=0) < 0) & (h.diff(dim=0) > 0)
    assert float((score.over_steering == true_flags).double().mean()) >= 0.95
    assert bool(score.outside[-1].all())


def test_a_path_inside_the_data_is_not_flagged(pair, truth):
    """From a positive's own side toward the mode: log p₊ rises all the way."""
    a = truth.sample(200, 21)[0]
    t = torch.linspace(0, 0.5, 6).double()[:, None, None]
    points = a + t * (truth.positive.mean - a)
    score = score_path(pair, points, range(9000, 9200), h=t.squeeze(-1).expand(6, 200))
    assert not bool(score.over_steered.any())
    assert bool(score.turning_step.isnan().all())
    assert float((~score.exit_step.isnan()).double().mean()) < 0.02


def test_agreement_with_the_directional_ratio(truth, steered):
    barrier, points = steered
    directional = fitted(truth, 600, DIRECTIONAL)
    assert directional.positive.spherical
    score = score_path(directional, points, range(9000, 9200), barrier.value(points))
    h = barrier.log_ratio(points)
    found = agreement(h, score.log_ratio, score.over_steering)
    x, y = score.log_ratio.numpy().ravel(), h.numpy().ravel()
    assert found.overall.correlation == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found.overall.slope == pytest.approx(np.polyfit(x, y, 1)[0])
    assert found.overall.n == found.on_data.n + found.over_steered.n == x.size
    assert found.over_steered.n > 200
    same = agreement(h, h, score.over_steering)
    assert same.parting_step is None
    assert (same.overall.correlation, same.overall.slope, same.overall.gap) == pytest.approx((1, 1, 0))
    late = h + 3.0 * (torch.arange(len(h)) >= 9).double()[:, None] + 0.1 * torch.randn_like(h)
    parted = agreement(late, h, score.over_steering)
    assert parted.parting_step == 9
    assert parted.gap.center[9] == pytest.approx(3.0, abs=0.1)


def test_bad_input(unchecked, pair, truth, line):
    x = truth.sample(60, 1)
    raw = DensityPair([PPCA(2)]).fit(*x, groups(0, 60))
    for says, call in (
        ("not fitted", lambda: DensityPair().log_positive(x[0])),
        ("not calibrated", lambda: raw.log_ratio(x[0])),
        ("positive has 30 rows", lambda: raw.calibrate(x[0][:30], x[1], (range(100, 130), range(100, 160)))),
        ("not calibrated", lambda: score_path(raw, line, range(9000, 9300))),
        ("groups 3 labels", lambda: score_path(pair, line, [1, 2, 3])),
        ("NaN", lambda: score_path(pair, line.where(line != line[0, 0, 0], torch.nan), range(9000, 9300))),
        ("width 127", lambda: score_path(pair, line[..., :-1], range(9000, 9300))),
        ("h has shape", lambda: score_path(pair, line, range(9000, 9300), h=torch.zeros(3, 300))),
        ("pass h to score_path", lambda: score_path(pair, line, range(9000, 9300)).over_steered),
        ("must be", lambda: agreement(torch.zeros(3, 4), torch.zeros(3, 4), torch.zeros(3, 4).bool())),
        ("name='train' is unknown", lambda: Splits().extended("train", [1])),
    ):
        with pytest.raises(ValueError, match=says):
            call()
