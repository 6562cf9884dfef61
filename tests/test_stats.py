"""Intervals: against their definitions and by coverage."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import gammaln, xlogy
from scipy.stats import beta, binom, norm, t, ttest_1samp
from sklearn.metrics import roc_auc_score

from odesteer_tl import certify, stats
from odesteer_tl.stats import bounded, paired


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


def hanley_mcneil(area, m, n):
    """Their variance with Newcombe's m* = n* = (m + n)/2 − 1."""
    other = (m + n) / 2 - 1
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    return (area * (1 - area) + other * (q1 - area**2) + other * (q2 - area**2)) / (m * n)


@pytest.mark.parametrize("shift", [0.5, 1.0, 20.0])
def test_the_limits_of_auc_are_areas_that_lie_their_own_error_away(shift):
    rng = np.random.default_rng(0)
    truth = np.repeat([True, False], [60, 90])
    scores = np.round(rng.normal(truth * shift), 1)
    found = stats.auc(scores, truth)
    assert found.value == pytest.approx(roc_auc_score(truth, scores))
    assert found.n == 150
    for limit in (found.low, found.high):
        if limit < 1:
            z = abs(found.value - limit) / np.sqrt(hanley_mcneil(limit, 60, 90))
            assert 1.95 < z < 2.6  # more where DeLong's error is the larger
    assert found.low < found.value <= found.high
    assert found.high < 1 or shift == 20


def test_where_the_error_of_delong_is_larger_the_interval_of_auc_is_his():
    """Against his definition: the variance of each unit's share of the other class that it is on the right side of."""
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(0.8, 4, size=40), rng.normal(0, 1, size=300)
    order = (positive[:, None] > negative).astype(float)
    variance = order.mean(1).var(ddof=1) / 40 + order.mean(0).var(ddof=1) / 300
    area = order.mean()
    assert variance > 1.2 * hanley_mcneil(area, 40, 300)
    found = stats.auc(np.r_[positive, negative], np.repeat([True, False], [40, 300]))
    scale = np.sqrt(variance / hanley_mcneil(area, 40, 300))
    for limit in (found.low, found.high):
        z = abs(area - limit) / np.sqrt(hanley_mcneil(limit, 40, 300))
        assert z == pytest.approx(norm.ppf(0.975) * scale, rel=1e-6)


def test_separated_classes_have_an_interval_and_few_units_none():
    found = stats.auc(range(20), [i >= 10 for i in range(20)])
    assert (found.value, found.high) == (1, 1)
    assert found.low < 0.9
    with pytest.raises(ValueError, match="true of 3 and false of 50 prompts"):
        stats.auc(np.arange(53.0), np.arange(53) < 3)
    with pytest.warns(DeprecationWarning, match="do nothing any more"):
        stats.auc(range(20), [i >= 10 for i in range(20)], resamples=100)


def test_the_interval_of_auc_covers():
    rng = np.random.default_rng(0)
    truth = np.repeat([True, False], [60, 90])
    found = [stats.auc(rng.normal(truth * 1.0), truth) for _ in range(300)]
    covered = np.mean([x.low <= 0.7602 <= x.high for x in found])  # Φ(1/√2)
    assert 0.91 < covered < 0.985


def test_bad_input():
    for says, call in (
        ("units of both classes", lambda: stats.auc([1.0, 2.0], [True, True])),
        ("one of each a unit", lambda: stats.auc([1.0, 2.0, 3.0], [True, False])),
        ("successes is empty", lambda: stats.share([])),
        ("paired difference", lambda: stats.paired_difference([1.0], [1.0, 2.0])),
        (r"2 independent units .* at least 5", lambda: stats.paired_difference([1.0, 2.0], [1.0, 2.0])),
    ):
        with pytest.raises(ValueError, match=says):
            call()


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
    # the highest grid point is 1.5: the mean may peak anywhere between its neighbours
    assert (exact.value, exact.low, exact.high) == pytest.approx((1.7, 0.5, 2.0))
    assert stats.peak(grid * np.ones((5, 1)), grid).value == 4.5
    rng, covered = np.random.default_rng(3), 0
    for i in range(200):
        centres = rng.normal(5, 1.5, size=(60, 1))
        found = stats.peak(-((np.arange(11) - centres) ** 2), np.arange(11), resamples=400, seed=i)
        covered += found.low <= 5 <= found.high
    assert covered >= 200 * (0.95 - 3 * np.sqrt(0.95 * 0.05 / 200))


def test_holm_is_its_definition():
    p = np.array([0.04, 0.001, 0.03, 0.2])
    assert stats.holm(p) == pytest.approx([0.09, 0.004, 0.09, 0.2])
    rng, wrong = np.random.default_rng(4), 0
    for _ in range(2000):
        wrong += bool((stats.holm(rng.uniform(size=8)) < 0.05).any())
    assert wrong / 2000 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


def tables(n):
    """All (b, c) of n units, as rows."""
    return np.array([(b, c) for b in range(n + 1) for c in range(n + 1 - b)])


def chances(table, n, apart, difference):
    """The chance of each table, by the multinomial formula."""
    b, c = table.T
    p, q = (apart + difference) / 2, max((apart - difference) / 2, 0.0)
    logs = gammaln(n + 1) - gammaln(b + 1) - gammaln(c + 1) - gammaln(n - b - c + 1)
    return np.exp(logs + xlogy(b, p) + xlogy(c, q) + xlogy(n - b - c, 1 - apart))


@pytest.mark.parametrize("difference", [-0.3, -0.05, 0.0, 0.1, 0.6])
@pytest.mark.parametrize("n", [2, 5, 9])
def test_the_exact_p_value_is_the_largest_by_enumeration(n, difference):
    every = tables(n)
    z = paired.score(*every.T, n, difference)
    # Tango's score is a maximum-likelihood one: the restricted estimate maximises the likelihood
    rates = np.linspace(abs(difference), 1, 3001)
    weights = np.array([chances(every, n, rate, difference) for rate in rates])
    for (b, c), own in zip(every, z, strict=True):
        wanted = (weights * (z >= own - 1e-9)).sum(1).max()
        assert paired.pvalue(int(b), int(c), n, difference) == pytest.approx(wanted, abs=2e-5)


def test_the_score_rises_with_what_the_first_alone_has_and_falls_with_the_other():
    """Barnard's convexity, without which the largest chance would not lie at the hypothesis's edge."""
    for n, difference in ((7, -0.2), (30, -0.05), (80, 0.1)):
        b, c = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
        z = np.where(b + c <= n, paired.score(b, np.minimum(c, n - b), n, difference), np.nan)
        assert np.nanmin(np.diff(z, axis=0)) > 0
        assert np.nanmax(np.diff(z, axis=1)) < 0


@pytest.mark.parametrize(("n", "margin"), [(5, 0.3), (10, 0.1), (20, 0.1), (40, 0.05), (60, 0.05), (90, 0.1)])
def test_no_more_than_alpha_of_studies_at_the_margin_declare_0_1_outcomes_equivalent(n, margin):
    """Exactly, over every rate at which the two part; by t tests it was .60, .36, .13, .19, .12 at n = 10 to 100."""
    every = tables(n)
    near = [(int(b), int(c)) for b, c in every if abs(b - c) < margin * n]
    p = {table: paired.pvalue(*table, n, -margin) for table in near}
    declared = {(b, c) for b, c in near if max(p[b, c], p[c, b]) <= 0.05}
    assert all(
        stats.equivalence(*outcomes(n, *table), margin).equivalent == (table in declared) for table in near[::40]
    )
    region = np.array([(b, c) in declared for b, c in every.tolist()])
    worst = max(chances(every, n, rate, margin) @ region for rate in np.linspace(margin, 1, 211))
    assert worst <= 0.05 + 1e-6
    assert n < 90 or worst > 0.02  # not by never declaring


def outcomes(n, b, c):
    """Paired 0 and 1 of n units of which b succeed under the first alone, c under the second alone."""
    first = np.r_[np.ones(b), np.zeros(c), np.ones(n - b - c)]
    return first, np.r_[np.zeros(b), np.ones(c), np.ones(n - b - c)]


def test_few_equal_prompts_are_no_evidence_of_equivalence():
    assert not stats.equivalence([1, 0], [1, 0], 0.05).equivalent
    assert not stats.equivalence(*outcomes(58, 0, 0), 0.05).equivalent
    assert stats.equivalence(*outcomes(59, 0, 0), 0.05).equivalent  # .95⁵⁹ < .05
    assert stats.equivalence([1, 0], [1, 0], 0.05).pvalue == pytest.approx(0.95**2)
    # numbers that never differ say nothing of how they would, unless they have bounds
    same = np.random.default_rng(0).random(80)
    found = stats.equivalence(same, same, 0.05)
    assert (found.equivalent, found.pvalue) == (False, 1.0)
    assert stats.equivalence(same, same, 0.05, bounds=(0.0, 1.0)).equivalent
    with pytest.raises(ValueError, match="4 independent units"):
        stats.equivalence([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.5], 0.05)


@pytest.mark.parametrize("n", [4, 9, 14])
def test_the_interval_of_a_paired_difference_of_shares_covers_exactly(n):
    every = tables(n)
    limits = np.array([paired.limits(int(b), int(c), n, 0.95) for b, c in every])
    for difference in (0.0, 0.04, 0.2, 0.5, 0.9):
        inside = (limits[:, 0] <= difference + 1e-6) & (difference - 1e-6 <= limits[:, 1])
        least = min(chances(every, n, rate, difference) @ inside for rate in np.linspace(difference, 1, 41))
        assert least >= 0.95


def test_the_verdict_on_shares_is_that_of_the_interval():
    for b, c in ((0, 0), (3, 1), (9, 4), (12, 12), (2, 9)):
        found = stats.equivalence(*outcomes(90, b, c), 0.1)
        assert found.equivalent == (found.difference.low > -0.1 and found.difference.high < 0.1)
        assert (found.difference.value, found.difference.n) == (pytest.approx((b - c) / 90), 90)


@pytest.mark.parametrize("mean", [0.05, 0.5, 0.9])
def test_the_test_of_bounded_means_keeps_its_level_and_its_interval_is_its_inversion(mean):
    """Enumerated for 0 and 1, whose mean varies the most there is."""
    n = 30
    samples = [np.r_[np.ones(k), np.zeros(n - k)] for k in range(n + 1)]
    p = np.array([bounded.pvalue(y, mean) for y in samples])
    for alpha in (0.01, 0.05, 0.2):
        assert binom.pmf(range(n + 1), n, mean) @ (p <= alpha) <= alpha
    low, high = bounded.limits(samples[20], 0.9)
    assert bounded.pvalue(samples[20], low) == pytest.approx(0.05, abs=1e-6)
    assert bounded.pvalue(1 - samples[20], 1 - high) == pytest.approx(0.05, abs=1e-6)
    with pytest.raises(ValueError, match="must enclose"):
        stats.mean([0.5, 1.5, 0.2], bounds=(0.0, 1.0))


def test_limits_are_infinite_where_few_units_differ():
    """Of 40 prompts one has a value of its own: a bootstrap or a t test takes it for the whole spread."""
    x = np.r_[np.full(39, 0.5), 0.9]
    assert (stats.mean(x).low, stats.mean(x).high) == (-np.inf, np.inf)
    assert stats.mean(x, bounds=(0.0, 1.0)).low > 0.3
    assert stats.mean([0.1, 0.2, 0.4]).high == np.inf
    many = np.random.default_rng(0).exponential(size=300)
    found = stats.mean(many)
    assert found.high - found.low == pytest.approx(2 * 1.96 * many.std() / np.sqrt(300), rel=0.15)


def test_the_p_value_of_a_difference_is_the_inversion_of_its_interval():
    """Of numbers, of 0 and 1 and within bounds; and where it is unlike a t test it is by what it says."""
    rng = np.random.default_rng(0)
    refuted = 0
    for i in range(30):
        x = 0.3 + rng.normal(size=40) if i % 2 else rng.exponential(size=40) - 0.7
        found = stats.paired_difference(x, 0 * x, resamples=999, seed=i)
        p = stats.difference_pvalue(x, 0 * x, 999, i)
        assert (p <= 0.05) == (not found.low <= 0 <= found.high)
        assert p == stats.difference_pvalue(0 * x, x, 999, i)
        refuted += p <= 0.05
    assert 5 < refuted < 25
    for b, c in ((0, 0), (5, 0), (6, 0), (9, 1), (9, 2), (12, 4), (3, 12)):
        low, high = paired.limits(b, c, 40, 0.95)
        first, second = outcomes(40, b, c)
        p = stats.difference_pvalue(first, second)
        assert (p <= 0.05) == (not low <= 0 <= high)
        assert p == pytest.approx(min(1.0, 2 * paired.pvalue(max(b, c), min(b, c), 40, 0.0)))
        mixed = stats.paired_difference(0.9 * first, 0.9 * second, bounds=(0.0, 1.0))
        assert (stats.difference_pvalue(0.9 * first, 0.9 * second, bounds=(0.0, 1.0)) <= 0.05) == (
            not mixed.low <= 0 <= mixed.high
        )
    far = rng.normal(size=400)
    assert stats.difference_pvalue(far + 0.1, 0 * far) == pytest.approx(ttest_1samp(far + 0.1, 0).pvalue, abs=2e-3)
    assert stats.difference_pvalue(far, far) == 1
    copied = np.repeat(far[:20], 5)
    assert stats.difference_pvalue(copied + 0.3, 0 * copied, groups=np.repeat(np.arange(20), 5)) == pytest.approx(
        stats.difference_pvalue(far[:20] + 0.3, np.zeros(20))
    )
    with pytest.raises(ValueError, match="4 independent units"):
        stats.difference_pvalue([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.5])


def test_copies_of_a_prompts_rows_change_nothing_where_groups_are_named():
    rng = np.random.default_rng(3)
    x, y, k = rng.exponential(size=24), rng.exponential(size=24), 7
    groups, binary = np.repeat(np.arange(24), k), x > 0.7
    copy = {name: np.repeat(v, k, axis=0) for name, v in {"x": x, "y": y, "b": binary}.items()}
    curves = rng.normal(size=(24, 5)) + np.array([0, 1, 2, 1, 0])
    assert stats.share(copy["b"], groups=groups) == stats.share(binary)
    once, found = stats.mean(x), stats.mean(copy["x"], groups=groups)
    assert (found.value, found.low, found.high, found.n) == pytest.approx((once.value, once.low, once.high, 24))
    assert stats.rank_correlation(copy["x"], copy["y"], groups=groups) == stats.rank_correlation(x, y)
    for extra in ({}, {"statistic": np.median, "resamples": 200}, {"bounds": (0.0, 9.0)}):
        once = stats.paired_difference(x, y, **extra)
        found = stats.paired_difference(copy["x"], copy["y"], groups=groups, **extra)
        assert (found.value, found.low, found.high, found.n) == pytest.approx((once.value, once.low, once.high, 24))
    assert stats.equivalence(copy["x"], copy["y"], 0.3, groups=groups).pvalue == stats.equivalence(x, y, 0.3).pvalue
    many, few = stats.mean_band(np.repeat(curves, k, 0), groups=groups), stats.mean_band(curves)
    assert many.n == 24
    np.testing.assert_allclose(many.low, few.low)
    assert stats.peak(np.repeat(curves, k, 0), range(5), groups=groups) == stats.peak(curves, range(5))
    once, found = (
        stats.auc(x, binary ^ (y > 1.5)),
        stats.auc(copy["x"], np.repeat(binary ^ (y > 1.5), k), groups=groups),
    )
    assert (found.value, found.n) == (pytest.approx(once.value), 24)
    assert found.high - found.low > 0.95 * (once.high - once.low)
    first, second = outcomes(24, 5, 2)
    once, found = (stats.paired_difference(np.repeat(first, r), np.repeat(second, r), groups=np.repeat(range(24), r))
                   for r in (1, k))  # fmt: skip
    assert found == once


def test_the_peak_of_a_kink_between_grid_points_is_covered():
    """Coverage was 0 at n = 400: the parabola through three points of a tent misses its top by a fixed amount."""
    rng, covered = np.random.default_rng(5), 0
    for i in range(60):
        tents = -np.abs(np.arange(11) - 5.4) + 0.3 * rng.normal(size=(400, 11))
        found = stats.peak(tents, range(11), resamples=200, seed=i)
        covered += found.low <= 5.4 <= found.high
        assert found.high - found.low <= 3
    assert covered >= 57


@pytest.mark.parametrize("bad", [[float("nan")], [0.3, 1.0], ["yes"], [True, None], [2, 0]])
def test_a_share_of_anything_but_true_and_false_is_refused(bad):
    with pytest.raises(ValueError, match="neither true nor false"):
        stats.share(bad)


@pytest.mark.parametrize("call", [
    lambda: stats.mean([0.1, np.nan]),
    lambda: stats.mean([]),
    lambda: stats.paired_difference([0.1, np.inf], [0.2, 0.3]),
    lambda: stats.equivalence([0.1] * 9 + [np.nan], [0.2] * 10, 0.1),
    lambda: stats.auc([np.nan] * 10, [True, False] * 5),
    lambda: stats.auc(range(10), [0.5] * 10),
    lambda: certify.rate_bound([np.nan, 0.0]),
    lambda: stats.areas([1.0, 2.0], [np.nan, 1.0]),
    lambda: stats.share_band([[0.0, np.nan], [1.0, 1.0]]),
    lambda: stats.rank_correlation(range(10), [np.nan] * 10),
    lambda: stats.rank_correlation(range(9), range(9)),
    lambda: stats.share([True, False], groups=[1]),
    lambda: stats.share([True, False], groups=[1.0, np.nan]),
    lambda: stats.share([True, False], level=95),
    lambda: stats.mean_band(np.random.default_rng(0).normal(size=(20, 2)), groups=[0] * 20),
    lambda: stats.peak(np.random.default_rng(0).normal(size=(20, 3)), range(3), groups=[0] * 20),
    lambda: stats.equivalence([1, 0], [1, 0], 0.1, alpha=0.6),
    lambda: stats.holm([np.nan]),
    lambda: stats.median([np.nan, 1.0]),
])  # fmt: skip
def test_what_is_no_number_no_group_or_no_level_is_refused(unchecked, call):
    with pytest.raises(ValueError, match=r"pass|give|needs|drop|must|holds|carry|belongs"):
        call()


def test_rank_correlation_is_spearmans_and_covers():
    rng, covered = np.random.default_rng(6), 0
    for _ in range(300):
        x = rng.normal(size=25)
        covered += stats.rank_correlation(x, 0.6 * x + 0.8 * rng.normal(size=25)).low <= 0.5819
    assert covered >= 0.955 * 300
    perfect = stats.rank_correlation(range(12), range(12))
    assert (perfect.value, perfect.high) == (1, 1)
    assert perfect.low < 0.99
    assert np.isnan(stats.rank_correlation([1.0] * 12, range(12)).value)


def test_intervals_shrink_with_units_and_grow_with_the_level():
    widths = [stats.paired_difference(*outcomes(n, n // 10, n // 20)) for n in (20, 80, 320)]
    assert all(a.high - a.low > b.high - b.low for a, b in pairwise(widths))
    levels = [stats.paired_difference(*outcomes(40, 4, 2), level=x) for x in (0.99, 0.9, 0.5)]
    assert all(a.low < b.low and a.high > b.high for a, b in pairwise(levels))


def test_equivalence_is_two_one_sided_tests():
    rng = np.random.default_rng(5)
    first = rng.normal(size=200)
    near, far = first + rng.normal(0.0, 0.1, size=200), first + 0.2
    found = stats.equivalence(first, near, margin=0.05)
    assert found.equivalent
    assert found.equivalent == (found.difference.low > -0.05 and found.difference.high < 0.05)
    assert not stats.equivalence(first, far + rng.normal(0, 0.1, size=200), margin=0.1).equivalent
    # at the margin itself the false-positive rate is α
    samples = rng.normal(0.1, 0.3, size=(500, 50))
    wrong = sum(stats.equivalence(x, np.zeros(50), 0.1, resamples=400).equivalent for x in samples)
    assert wrong / 500 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 500)


def test_bad_input_to_curves_and_comparisons():
    for says, call in (
        ("at least 2 units", lambda: stats.share_band(np.zeros((1, 4)))),
        ("4 independent units", lambda: stats.mean_band(np.zeros((4, 4)))),
        ("use share_band", lambda: stats.mean_band(np.eye(8))),
        ("finite", lambda: stats.mean_band([[0.0, np.nan], [1.0, 2.0]])),
        ("increasing", lambda: stats.peak(np.zeros((3, 4)), [0, 1, 1, 2])),
        ("numbers in", lambda: stats.holm([0.2, 1.2])),
        (r"margin=0\.0", lambda: stats.equivalence([1.0, 2.0], [1.0, 2.0], 0.0)),
        ("same units", lambda: stats.equivalence([1.0, 2.0], [1.0], 0.1)),
    ):
        with pytest.raises(ValueError, match=says):
            call()


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
