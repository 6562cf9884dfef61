"""Intervals for what we report: exact ones for shares, paired bootstrap for differences. Thin names over scipy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, bootstrap, quantile_test


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % (or other) interval and the number of independent units behind it.

    Attributes:
        value: the number.
        low, high: the ends of its interval.
        n: independent units behind it.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n={self.n})"


def share(successes: ArrayLike, level: float = 0.95) -> Estimate:
    """A share with its exact (Clopper–Pearson) interval.

    Args:
        successes: one boolean a unit; the unit is the prompt, never the token or the step.

    Returns:
        The share.

    Raises:
        ValueError: no units.

    Example:
        >>> from odesteer_tl import stats
        >>> print(stats.share([True] * 9 + [False]))
        0.900 [0.555, 0.997] (n=10)
    """
    flags = np.asarray(successes, dtype=bool)
    if flags.size == 0:
        raise ValueError("successes is empty; a share needs at least one unit")
    k, n = int(flags.sum()), int(flags.size)
    interval = binomtest(k, n).proportion_ci(confidence_level=level, method="exact")
    return Estimate(k / n, float(interval.low), float(interval.high), n)


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    statistic: Callable[..., float] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """`statistic(first) − statistic(second)` (means by default) with a bootstrap interval over paired units.

    Args:
        first, second: one number a unit, the same units in both.
        statistic: of one sample; left out, the mean.
        level: of the interval.
        resamples, seed: of the bootstrap.

    Returns:
        The difference.

    Raises:
        ValueError: the two differ in length.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape:
        raise ValueError(f"first has {a.shape} and second {b.shape} units; a paired difference needs the same ones")
    of = statistic or (lambda x: float(np.mean(x)))
    value = of(a) - of(b)
    if np.array_equal(a, b):
        return Estimate(value, value, value, len(a))
    result = bootstrap(
        (a, b), lambda x, y: of(x) - of(y), paired=True, vectorized=False, n_resamples=resamples,
        confidence_level=level, method="percentile", rng=np.random.default_rng(seed),
    )  # fmt: skip
    return Estimate(value, float(result.confidence_interval.low), float(result.confidence_interval.high), len(a))


def median(values: ArrayLike, level: float = 0.95) -> Estimate:
    """A median with its exact (order-statistic) interval; it assumes nothing of the distribution.

    Args:
        values: one number a unit.
        level: of the interval.

    Returns:
        The median; the interval is infinite where the units are too few for the level.

    Raises:
        ValueError: no units, or NaN among them.
    """
    x = np.asarray(values, dtype=float).ravel()
    if x.size == 0 or np.isnan(x).any():
        raise ValueError(
            f"values has {x.size} units, {int(np.isnan(x).sum())} of them NaN; drop those and say how many"
        )
    interval = quantile_test(x, p=0.5).confidence_interval(confidence_level=level)
    # with too few units no two order statistics enclose the median at this level: the interval is everything
    low = -np.inf if np.isnan(interval.low) else float(interval.low)
    high = np.inf if np.isnan(interval.high) else float(interval.high)
    return Estimate(float(np.median(x)), low, high, int(x.size))
