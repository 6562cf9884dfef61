"""Claims about areas under ROC curves and rank correlations."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.stats import norm

from analyses.benchmarks.hatecheck import group_weights, spread, weighted_auc
from analyses.inference import units
from analyses.inference.claim import Claim, inside
from analyses.inference.units import Rng, prompts_of
from odesteer_tl import stats

#: of both means of `rank correlation`: Spearman's of normal numbers whose correlation is .6
RHO = 6 / np.pi * np.arcsin(0.6 / 2)


def rankings(k: int) -> Iterator[Claim]:
    """Areas under the curve, their differences and Spearman's correlation; `k` resamples."""

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
    yield from _hard_rankings()


def _hard_rankings() -> Iterator[Claim]:
    """Spreads and classes of unequal size, heavy tails, ties, and failures that all lie at the far end."""

    def area(r: Rng, n: int, s: int, kind: str) -> bool:
        few = kind in ("few", "unequal")
        y = np.arange(n) < max(5, n // 10) if few else np.arange(n) % 2 == 0
        if kind == "far":
            return inside(stats.auc(np.where(y, np.where(r.random(n) < 0.8, 9, -9), r.normal(size=n)), y), 0.8)
        if kind == "spread":
            return inside(stats.auc(r.normal(size=n) * np.where(y, 3, 1) + norm.ppf(0.9) * np.sqrt(10) * y, y), 0.9)
        if kind == "tails":
            return inside(stats.auc(r.standard_cauchy(size=n) + 2 * np.tan(0.4 * np.pi) * y, y), 0.9)
        x, y = r.normal(size=n) + norm.ppf(0.9) * np.sqrt(2) * y, y
        return inside(stats.auc(x, y), 0.9)

    def unequal(r: Rng, n: int, s: int) -> bool:
        prompts, y = units.unequal_prompts(n), np.arange(n) % 2 == 0
        own = (np.sqrt(0.8) * r.normal(size=n) + norm.ppf(0.9) * np.sqrt(2) * y)[prompts]
        return inside(stats.auc(own + np.sqrt(0.2) * r.normal(size=len(own)), y[prompts], groups=prompts), 0.9)

    def correlation(r: Rng, n: int, s: int, kind: str) -> bool:
        x = r.normal(size=n)
        if kind == "spread":
            return inside(stats.rank_correlation(x, x * r.normal(size=n)), 0)
        return inside(stats.rank_correlation(np.round(x), r.normal(size=n) > 0), 0)

    yield Claim("area under the curve", "a tenth positive, .9", False, partial(area, kind="few"))
    yield Claim("area under the curve", "spreads 3 to 1, .9", False, partial(area, kind="spread"))
    yield Claim("area under the curve", "heavy tails, .9", False, partial(area, kind="tails"))
    yield Claim("area under the curve", "failures at the far end, .8", False, partial(area, kind="far"), 0.65)
    yield Claim("area under the curve", "prompts of unequal size, .9", False, unequal, refused=50)
    yield Claim("rank correlation", "spread depends on x", False, partial(correlation, kind="spread"))
    yield Claim("rank correlation", "ties", False, partial(correlation, kind="ties"))
