"""Intervals: against their definitions and by coverage."""

import numpy as np
import pytest
from scipy.stats import beta, bootstrap, t
from sklearn.metrics import roc_auc_score

from odesteer_tl import stats


@pytest.mark.parametrize(("k", "n"), [(0, 100), (3, 10), (817, 817), (250, 500)])
def test_share_is_clopper_pearson(k, n):
    found = stats.share([True] * k + [False] * (n - k))
    low = beta.ppf(0.025, k, n - k + 1) if k else 0.0
    high = beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    assert (found.value, found.n) == (k / n, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_paired_difference_covers_and_uses_the_pairing():
    rng = np.random.default_rng(0)
    covered, widths = 0, []
    for _ in range(60):
        base = rng.normal(size=80) * 5
        first, second = base + rng.normal(size=80) + 0.5, base + rng.normal(size=80)
        found = stats.paired_difference(first, second, resamples=300)
        covered += found.low <= 0.5 <= found.high
        widths.append(found.high - found.low)
    assert covered >= 50
    assert np.mean(widths) < 1.0  # unpaired, the spread of `base` would make it about 3


def test_areas_are_scikit_learns_row_by_row():
    rng = np.random.default_rng(0)
    x, truth = rng.integers(0, 6, (2, 3, 40)), rng.random((2, 3, 40)) > 0.4  # few values: ties
    found = stats.areas(x, truth)
    assert found.shape == (2, 3)
    for i in np.ndindex(2, 3):
        assert found[i] == pytest.approx(roc_auc_score(truth[i], x[i]))
    assert np.isnan(stats.areas([1.0, 2.0], [True, True]))


def test_auc_is_the_bootstrap_of_scikit_learns():
    rng = np.random.default_rng(0)
    truth = np.repeat([True, False], [60, 90])
    scores = np.round(rng.normal(truth * 1.0), 1)
    found = stats.auc(scores, truth, resamples=200, seed=3)
    wanted = bootstrap((scores, truth), lambda s, y: roc_auc_score(y, s), paired=True, vectorized=False,
                       n_resamples=200, method="percentile", rng=np.random.default_rng(3))  # fmt: skip
    assert found.value == pytest.approx(roc_auc_score(truth, scores))
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval))
    assert found.n == 150


def test_the_interval_of_auc_covers():
    rng = np.random.default_rng(0)
    truth = np.repeat([True, False], [60, 90])
    found = [stats.auc(rng.normal(truth * 1.0), truth, resamples=400) for _ in range(300)]
    covered = np.mean([x.low <= 0.7602 <= x.high for x in found])  # Φ(1/√2)
    assert 0.91 < covered < 0.985


def test_bad_input():
    with pytest.raises(ValueError, match="units of both classes"):
        stats.auc([1.0, 2.0], [True, True])
    with pytest.raises(ValueError, match="one of each a unit"):
        stats.auc([1.0, 2.0, 3.0], [True, False])
    with pytest.raises(ValueError, match="successes is empty"):
        stats.share([])
    with pytest.raises(ValueError, match="paired difference"):
        stats.paired_difference([1.0], [1.0, 2.0])
    same = stats.paired_difference([1.0, 2.0], [1.0, 2.0])
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def curves(n, rng):
    """Skewed, correlated, heteroscedastic curves of 11 points, mean 0."""
    steps = rng.exponential(size=(n, 11)) - 1
    return np.cumsum(steps, axis=1) * 0.3 + rng.normal(size=(n, 1)) + 0.2 * rng.normal(size=(n, 11))


def test_simultaneous_bands_cover_all_points_together():
    """300 simulations: within three binomial standard errors of .95; pointwise limits would not be."""
    rng = np.random.default_rng(0)
    together = pointwise = 0
    for i in range(300):
        x = curves(80, rng)
        band = stats.mean_band(x, resamples=400, seed=i)
        together += bool(((band.low <= 0) & (band.high >= 0)).all())
        pointwise += bool((np.abs(x.mean(0)) <= 1.96 * x.std(0, ddof=1) / np.sqrt(80)).all())
    slack = 3 * np.sqrt(0.95 * 0.05 / 300)
    assert abs(together / 300 - 0.95) <= slack
    assert pointwise / 300 < 0.95 - slack


def test_a_band_of_one_point_is_the_t_interval():
    x = np.random.default_rng(1).normal(size=(400, 1))
    found = stats.mean_band(x, resamples=20000)
    half = t.ppf(0.975, 399) * x.std(ddof=1) / 20
    assert found.high - found.center == pytest.approx(half, rel=0.05)
    assert found.n == 400


def test_a_point_where_all_curves_agree_has_no_width():
    x = np.c_[np.zeros(30), np.random.default_rng(2).normal(size=30)]
    found = stats.mean_band(x)
    assert found.low[0] == found.high[0] == 0
    assert found.low[1] < found.high[1]


def test_the_peak_of_parabolas_is_exact_and_its_interval_covers():
    grid = np.array([0.0, 0.5, 1.5, 2.0, 3.0, 4.5])
    exact = stats.peak(-((grid - 1.7) ** 2) * np.ones((5, 1)), grid)
    assert (exact.value, exact.low, exact.high) == pytest.approx((1.7, 1.7, 1.7))
    assert stats.peak(grid * np.ones((5, 1)), grid).value == 4.5
    rng, covered = np.random.default_rng(3), 0
    for i in range(200):
        centres = rng.normal(5, 1.5, size=(60, 1))
        found = stats.peak(-((np.arange(11) - centres) ** 2), np.arange(11), resamples=400, seed=i)
        covered += found.low <= 5 <= found.high
    assert covered >= 200 * (0.95 - 3 * np.sqrt(0.95 * 0.05 / 200)) - 3  # percentile intervals fall a little short


def test_holm_is_its_definition():
    p = np.array([0.04, 0.001, 0.03, 0.2])
    assert stats.holm(p) == pytest.approx([0.09, 0.004, 0.09, 0.2])
    rng, wrong = np.random.default_rng(4), 0
    for _ in range(2000):
        wrong += bool((stats.holm(rng.uniform(size=8)) < 0.05).any())
    assert wrong / 2000 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_equivalence_is_two_one_sided_tests():
    rng = np.random.default_rng(5)
    first = rng.normal(size=200)
    near, far = first + rng.normal(0.0, 0.1, size=200), first + 0.2
    found = stats.equivalence(first, near, margin=0.05)
    assert found.equivalent
    assert found.equivalent == (found.difference.low > -0.05 and found.difference.high < 0.05)
    assert not stats.equivalence(first, far + rng.normal(0, 0.1, size=200), margin=0.1).equivalent
    # at the margin itself the false-positive rate is α
    wrong = sum(stats.equivalence(rng.normal(0.1, 0.3, size=50), np.zeros(50), 0.1).equivalent for _ in range(1000))
    assert wrong / 1000 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


def test_bad_input_to_curves_and_comparisons():
    with pytest.raises(ValueError, match="at least 2 units"):
        stats.mean_band(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="finite"):
        stats.mean_band([[0.0, np.nan], [1.0, 2.0]])
    with pytest.raises(ValueError, match="increasing"):
        stats.peak(np.zeros((3, 4)), [0, 1, 1, 2])
    with pytest.raises(ValueError, match="numbers in"):
        stats.holm([0.2, 1.2])
    with pytest.raises(ValueError, match=r"margin=0\.0"):
        stats.equivalence([1.0, 2.0], [1.0, 2.0], 0.0)
    with pytest.raises(ValueError, match="same units"):
        stats.equivalence([1.0, 2.0], [1.0], 0.1)


@pytest.mark.parametrize("probability", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("correlated", [False, True])
def test_a_band_of_shares_covers_all_points_together(probability, correlated):
    """Twelve points, shares up to 99 %: all of them inside at least nine times in ten, and never a useless band."""
    rng = np.random.default_rng(0)
    covered, width = [], []
    for seed in range(120):
        noise = rng.random((200, 1 if correlated else 12)) + np.zeros((1, 12))
        band = stats.share_band(noise < probability, resamples=400, seed=seed)
        covered.append(bool(((band.low <= probability) & (probability <= band.high)).all()))
        width.append(float((band.high - band.low).max()))
    assert np.mean(covered) >= 0.93
    assert max(width) < 0.25
    # points that go together need no correction: the band is that of one share
    if correlated and probability == 0.5:
        assert np.mean(width) == pytest.approx(0.142, abs=0.01)


def test_a_band_of_shares_refuses_other_numbers():
    with pytest.raises(ValueError, match="other than 0 and 1"):
        stats.share_band([[0.5, 1.0], [0.0, 1.0]])
