"""Comparisons: correction of declared tests, and equivalence within a declared margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import ttest_1samp

from odesteer_tl.stats.intervals import Estimate


def holm(pvalues: ArrayLike) -> NDArray[np.float64]:
    """Holm's (1979) adjusted p-values of comparisons declared beforehand, in the order given.

    For screens scipy's `false_discovery_control` (Benjamini–Hochberg) is the tool.

    Args:
        pvalues: of one family.

    Returns:
        The adjusted p-values.

    Raises:
        ValueError: no p-values, or one outside [0, 1].

    Example:
        >>> from odesteer_tl import stats
        >>> stats.holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(pvalues, dtype=float)
    if p.ndim != 1 or p.size == 0 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"pvalues={pvalues} must be a non-empty list of numbers in [0, 1]")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of |mean difference| < margin.

    Attributes:
        difference: the mean paired difference with its 1 − 2α interval, which lies within ±margin iff equivalent.
        margin: as declared.
        pvalue: the larger of the two one-sided p-values.
        equivalent: whether it is below α.
    """

    difference: Estimate
    margin: float
    pvalue: float
    equivalent: bool


def equivalence(first: ArrayLike, second: ArrayLike, margin: float, alpha: float = 0.05) -> Equivalence:
    """Is the mean paired difference within a margin declared beforehand? (two one-sided t tests, Schuirmann 1987)

    Args:
        first, second: one number a unit, the same units in both.
        margin: the largest difference that does not matter, > 0.
        alpha: level of each one-sided test.

    Returns:
        The difference with its interval, and the verdict.

    Raises:
        ValueError: a margin that is not positive, or the two are not equally long with at least 2 units.
    """
    if not margin > 0:
        raise ValueError(f"margin={margin} must be positive: the largest difference that does not matter")
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or a.size < 2:
        raise ValueError(f"first has {a.shape} and second {b.shape} units; pass the same units, at least 2")
    d = a - b
    above: Any = ttest_1samp(d, -margin, alternative="greater")
    below: Any = ttest_1samp(d, margin, alternative="less")
    interval = ttest_1samp(d, 0.0).confidence_interval(1 - 2 * alpha)
    pvalue = max(float(above.pvalue), float(below.pvalue))
    estimate = Estimate(float(d.mean()), float(interval.low), float(interval.high), len(d))
    return Equivalence(estimate, margin, pvalue, pvalue < alpha)
