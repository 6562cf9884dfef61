"""Everything the project reports with a level: an interval, a band or a test, each asked of simulated units."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, permutation_test, spearmanr

from analyses.benchmarks.hatecheck import group_weights, spread, weighted_auc
from analyses.benchmarks.truthfulqa import product_of_shares
from analyses.inference import units
from analyses.inference.units import MARGIN, Rng, prompts_of
from odesteer_tl import certify, stats
from odesteer_tl.densities.calibration import rank_pvalue

LEVEL = 0.95
UNIT = (0.0, 1.0)
#: of both means of `rank correlation`: Spearman's of normal numbers whose correlation is .6
RHO = 6 / np.pi * np.arcsin(0.6 / 2)


@dataclass(frozen=True)
class Claim:
    """One thing that is reported.

    Attributes:
        name, data: what, and of which numbers.
        exact: whether it may never hold less often than it says; else it does so for many units.
        holds: of n simulated prompts (and a seed), whether what is reported of them is true.
    """

    name: str
    data: str
    exact: bool
    holds: Callable[[Rng, int, int], bool]


def inside(estimate: stats.Estimate, truth: float) -> bool:
    """Whether the interval holds the truth, to rounding."""
    return estimate.low - 1e-9 <= truth <= estimate.high + 1e-9


def over(band: stats.Band, truth: NDArray[np.float64]) -> bool:
    """Whether the band holds the truth at all points."""
    return bool(((band.low <= truth) & (truth <= band.high)).all())


def claims(resamples: int = 1000) -> Iterator[Claim]:
    """All of them."""
    yield from _shares()
    yield from _means(resamples)
    yield from _differences(resamples)
    yield from _equivalence(resamples)
    yield from _rankings(resamples)
    yield from _curves(resamples)
    yield from _tests()


def _shares() -> Iterator[Claim]:
    for p in (0.5, 0.95):
        yield Claim("share", f"binary, {p}", True, lambda r, n, s, p=p: inside(stats.share(units.flips(r, n, p)), p))
        yield Claim("share", f"binary, {p}, prompts repeat", False, lambda r, n, s, p=p: inside(
            stats.share(units.flips(r, n, p, True), groups=prompts_of(n)), p))  # fmt: skip
    yield Claim("product of shares", "binary, .6 and .95", False, lambda r, n, s: inside(
        product_of_shares(units.flips(r, n, 0.6), units.flips(r, n, 0.95)), 0.57))  # fmt: skip
    yield Claim("rate bound", "binary, .05", True, lambda r, n, s:
                certify.rate_bound(units.flips(r, n, 0.05)).upper >= 0.05)  # fmt: skip
    yield Claim("conformal bound", "continuous", True, lambda r, n, s:
                certify.conformal_lower(units.skewed(r, n)) <= units.skewed(r, 1)[0])  # fmt: skip


def _means(k: int) -> Iterator[Claim]:
    yield Claim("mean", "continuous, normal", False, lambda r, n, s: inside(
        stats.mean(r.normal(size=n), LEVEL, k, s), 0))  # fmt: skip
    yield Claim("mean", "continuous, skewed", False, lambda r, n, s: inside(
        stats.mean(units.skewed(r, n), LEVEL, k, s), 0))  # fmt: skip
    yield Claim("mean", "continuous, prompts repeat", False, lambda r, n, s: inside(
        stats.mean(units.skewed(r, n, True), LEVEL, k, s, prompts_of(n)), 0))  # fmt: skip
    yield Claim("mean", "three values, mean .95", False, lambda r, n, s: inside(
        stats.mean(units.area_values(r, n), LEVEL, k, s), 0.95))  # fmt: skip
    yield Claim("mean within bounds", "three values, mean .95", True, lambda r, n, s: inside(
        stats.mean(np.r_[units.area_values(r, n)] * 0.999, bounds=UNIT), 0.95 * 0.999))  # fmt: skip
    yield Claim("median", "continuous, skewed", True, lambda r, n, s: inside(
        stats.median(units.skewed(r, n)), float(np.log(2)) - 1))  # fmt: skip


def _differences(k: int) -> Iterator[Claim]:
    def shares(r: Rng, n: int, s: int, apart: float, true: float) -> bool:
        return inside(stats.paired_difference(*units.pairs(r, n, apart, true)), true)

    for apart, true in ((0.02, 0.02), (0.1, 0.05), (0.5, 0.1)):
        yield Claim("paired difference", f"binary, {apart:.0%} part", True, partial(shares, apart=apart, true=true))
    yield Claim("paired difference", "binary, prompts repeat", True, lambda r, n, s: inside(
        stats.paired_difference(*units.grouped_pairs(r, n), groups=prompts_of(n)), MARGIN))  # fmt: skip
    yield Claim("paired difference", "continuous, skewed", False, lambda r, n, s: inside(
        stats.paired_difference(units.skewed(r, n), np.zeros(n), None, LEVEL, k, s), 0))  # fmt: skip
    yield Claim("paired difference", "continuous, prompts repeat", False, lambda r, n, s: inside(
        stats.paired_difference(units.skewed(r, n, True), units.skewed(r, n, True), None, LEVEL, k, s, prompts_of(n)),
        0))  # fmt: skip
    yield Claim("paired difference of medians", "continuous", False, lambda r, n, s: inside(
        stats.paired_difference(units.skewed(r, n), units.skewed(r, n), np.median, LEVEL, k // 4, s), 0))  # fmt: skip


def _equivalence(k: int) -> Iterator[Claim]:
    def undeclared(a: Any, b: Any, s: int, **more: Any) -> bool:
        return not stats.equivalence(a, b, MARGIN, 0.05, k, s, **more).equivalent

    for apart in (0.1, 0.2, 0.5):
        yield Claim("equivalence at the margin", f"binary, {apart:.0%} part", True, lambda r, n, s, a=apart:
                    undeclared(*units.pairs(r, n, a, MARGIN), s))  # fmt: skip
    yield Claim("equivalence at the margin", "binary, prompts repeat", True, lambda r, n, s:
                undeclared(*units.grouped_pairs(r, n), s, groups=prompts_of(n)))  # fmt: skip
    # a spread at which some studies do declare it
    yield Claim("equivalence at the margin", "continuous, normal", False, lambda r, n, s:
                undeclared(MARGIN + 0.1 * np.sqrt(n / 10) * r.normal(size=n), np.zeros(n), s))  # fmt: skip
    yield Claim("equivalence at the margin", "continuous, skewed", False, lambda r, n, s:
                undeclared(-MARGIN + 0.1 * np.sqrt(n / 10) * units.skewed(r, n), np.zeros(n), s))  # fmt: skip
    yield Claim("equivalence at the margin", "three values within bounds", True, lambda r, n, s:
                undeclared(units.area_values(r, n), np.full(n, 0.95 - MARGIN), s, bounds=UNIT))  # fmt: skip


def _rankings(k: int) -> Iterator[Claim]:
    def area(r: Rng, n: int, s: int, true: float, repeated: bool = False, ties: bool = False) -> bool:
        x, y = units.scores(r, n, true, repeated, ties)
        return inside(stats.auc(x, y, groups=prompts_of(n) if repeated else None), true)

    def resampled(r: Rng, n: int, s: int) -> bool:
        x, y = units.scores(r, n, 0.8, True)
        weights = group_weights(prompts_of(n), k, s)
        areas = [weighted_auc(z, y.astype(int), weights) for z in (x, x + 0.5 * r.normal(size=len(x)))]
        blurred = float(norm.cdf(norm.ppf(0.8) / np.sqrt(1.25)))
        return inside(spread(areas[0] - areas[1], n), 0.8 - blurred)

    def correlation(r: Rng, n: int, s: int) -> bool:
        x = r.normal(size=n)
        return inside(stats.rank_correlation(x, 0.6 * x + 0.8 * r.normal(size=n)), float(RHO))

    for true in (0.8, 0.95, 0.99):
        yield Claim("area under the curve", f"continuous, {true}", False, partial(area, true=true))
    yield Claim("area under the curve", "binary scores, .9", False, partial(area, true=0.9, ties=True))
    yield Claim("area under the curve", "continuous, .9, prompts repeat", False, partial(area, true=0.9, repeated=True))
    yield Claim("difference of areas", "continuous, prompts repeat", False, resampled)
    yield Claim("rank correlation", "continuous, .6", False, correlation)


def _curves(k: int) -> Iterator[Claim]:
    zeros, steps = np.zeros(11), np.arange(11)
    yield Claim("band of means", "continuous, 11 points", False, lambda r, n, s: over(
        stats.mean_band(units.curves(r, n), LEVEL, k, s), zeros))  # fmt: skip
    yield Claim("band of means", "continuous, prompts repeat", False, lambda r, n, s: over(
        stats.mean_band(units.curves(r, n, repeated=True), LEVEL, k, s, prompts_of(n)), zeros))  # fmt: skip
    for p in (0.5, 0.95):
        yield Claim("band of shares", f"binary, {p}, 12 points", False, lambda r, n, s, p=p: over(
            stats.share_band(r.random((n, 12)) < p, LEVEL, k, s), np.full(12, p)))  # fmt: skip

    def peak(r: Rng, n: int, s: int, mean: NDArray[np.float64], true: float, repeated: bool = False) -> bool:
        x = mean + units.curves(r, n, repeated=repeated)
        return inside(stats.peak(x, steps, LEVEL, k, s, prompts_of(n) if repeated else None), true)

    tent = partial(peak, mean=units.kink(), true=5.4)
    yield Claim("peak", "a smooth curve", False, partial(peak, mean=units.parabola(), true=5.0))
    yield Claim("peak", "a kink between grid points", False, tent)
    yield Claim("peak", "a kink, prompts repeat", False, partial(tent, repeated=True))


def _tests() -> Iterator[Claim]:
    def mcnemar(r: Rng, n: int, s: int) -> bool:
        a, b = units.pairs(r, n, 0.5, 0.0)
        better, worse = int((a > b).sum()), int((a < b).sum())
        return better + worse == 0 or float(binomtest(better, better + worse).pvalue) > 0.05

    def signs(r: Rng, n: int, s: int) -> bool:
        found: Any = permutation_test((r.standard_t(3, size=n),), np.mean, permutation_type="samples", vectorized=True,
                                      n_resamples=499, rng=r)  # fmt: skip
        return float(found.pvalue) > 0.05

    def holm(r: Rng, n: int, s: int) -> bool:
        x = r.normal(size=(8, n))
        return bool((stats.holm([float(spearmanr(row, np.arange(n)).pvalue) for row in x]) > 0.05).all())  # pyright: ignore[reportAttributeAccessIssue]

    def ranks(r: Rng, n: int, s: int, repeated: bool) -> bool:
        own = r.normal(size=n)
        rows = np.repeat(own, units.ROWS) * np.sqrt(0.9) + np.sqrt(0.1) * r.normal(size=n * units.ROWS)
        found = (
            rank_pvalue(rows, r.normal(size=2000), prompts_of(n).tolist())
            if repeated
            else rank_pvalue(own, r.normal(size=2000))
        )
        return found > 0.05

    yield Claim("McNemar's test", "binary, half part", True, mcnemar)
    yield Claim("sign-flip test", "continuous", True, signs)
    yield Claim("eight tests, Holm", "continuous", False, holm)
    yield Claim("p-value of ranks", "continuous", True, partial(ranks, repeated=False))
    yield Claim("p-value of ranks", "continuous, prompts repeat", True, partial(ranks, repeated=True))
