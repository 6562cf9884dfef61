"""Intervals for what we report: exact ones for shares and paired shares, studentised ones for means and differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import DegenerateDataWarning, beta, bootstrap, norm, quantile_test, t

from odesteer_tl._display import table
from odesteer_tl.stats import bounded, paired, studentised
from odesteer_tl.stats.units import codes_of, flags, is_binary, joined, level_of, numbers

if TYPE_CHECKING:
    import pandas as pd

#: fewer independent units carry no interval of a mean
LEAST = 5
#: fewer carry none of an arbitrary statistic
LEAST_OF_A_STATISTIC = 10


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % (or other) interval and the number of independent units behind it.

    Attributes:
        value: the number.
        low, high: the ends of its interval; infinite where the units say nothing of it.
        n: independent units behind it.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n={self.n})"

    def frame(self) -> pd.DataFrame:
        """One row, a column an attribute."""
        return table([vars(self)])


def share(successes: ArrayLike, level: float = 0.95, groups: ArrayLike | None = None) -> Estimate:
    """A share with its exact (Clopper–Pearson) interval.

    With groups the share is the mean over groups of each one's share, and the exact interval is that of as many
    independent units as would vary as much (Korn and Graubard 1998, Survey Methodology 24, 193): never more than rows
    that had nothing to do with each other would count for, and the groups themselves where all rows agree.

    Args:
        successes: one boolean a unit; the unit is the prompt, never the token or the step.
        level: of the interval.
        groups: the prompt of each row, where prompts repeat.

    Returns:
        The share; `n` counts prompts.

    Raises:
        ValueError: no units, or a value that is neither true nor false (a NaN, a score).

    Example:
        >>> from odesteer_tl import stats
        >>> print(stats.share([True] * 9 + [False]))
        0.900 [0.555, 0.997] (n=10)
    """
    hits = flags("successes", successes).ravel()
    means = joined(hits.astype(float), groups)
    n, value = len(means), float(means.mean())
    size = float(n)
    if groups is not None and n < len(hits):
        size = _effective(means, np.bincount(codes_of(groups, len(hits))))
    tail, k = (1 - level_of(level)) / 2, value * size
    # the next whole success beyond k, also where neither is whole
    low = 0.0 if value == 0 else float(beta.ppf(tail, k, size - k + 1))
    high = 1.0 if value == 1 else float(beta.ppf(1 - tail, k + 1, size - k))
    return Estimate(value, low, high, n)


def _effective(means: NDArray[np.float64], sizes: NDArray[np.intp]) -> float:
    """How many independent units would vary as the mean of these groups does, less what few groups leave unknown."""
    n, value = len(means), float(means.mean())
    # of rows that are independent; a group counts once however large it is, so the small ones decide
    rows = n**2 / float((1 / sizes).sum())
    variance = float(means.var(ddof=1)) / n if n > 1 else 0.0
    if is_binary(means) or variance == 0:
        return float(n)
    size = value * (1 - value) / variance * (t.ppf(0.975, rows - 1) / t.ppf(0.975, n - 1)) ** 2
    return float(min(size, rows))


def mean(
    values: ArrayLike,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    groups: ArrayLike | None = None,
    bounds: tuple[float, float] | None = None,
) -> Estimate:
    """A mean with its interval: exact for 0 and 1 (`share`), else a studentised bootstrap, which assumes light tails.

    Args:
        values: one number a unit.
        level: of the interval.
        resamples, seed: of the bootstrap.
        groups: the prompt of each row, where prompts repeat; the mean is that of the prompts' means.
        bounds: what the numbers can be at most, where that is known beforehand; the interval then holds at every n,
            whatever the distribution (`bounded`), and is wider.

    Returns:
        The mean; without bounds its interval is infinite where there are fewer than 5 prompts, or where they vary too
        little to say (not at all, or but a few of them differ).

    Raises:
        ValueError: no unit, or a NaN or infinite number.
    """
    x = numbers("values", values)
    if is_binary(x):
        return share(x, level, groups)
    x = joined(x, groups)
    if bounds is None and len(x) < LEAST:
        return Estimate(float(x.mean()), -np.inf, np.inf, len(x))
    return _of_mean(x, level, resamples, seed, bounds)


def _of_mean(
    x: NDArray[np.float64], level: float, resamples: int, seed: int, bounds: tuple[float, float] | None
) -> Estimate:
    """The mean of independent units."""
    if bounds is not None:
        low, high = bounded.limits(bounded.scaled(x, bounds), level_of(level))
        width = bounds[1] - bounds[0]
        return Estimate(float(x.mean()), bounds[0] + low * width, bounds[0] + high * width, len(x))
    enough(x, LEAST)
    low, high = studentised.limits(x, level_of(level), resamples, seed)
    return Estimate(float(x.mean()), low, high, len(x))


def enough(units: NDArray[np.float64] | NDArray[np.intp], least: int) -> None:
    """Raise `ValueError` if there are fewer units than an interval needs."""
    if len(units) < least:
        raise ValueError(
            f"{len(units)} independent units (prompts) carry no interval; it takes at least {least}, or `bounds` of "
            "the numbers that were known beforehand"
        )


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    statistic: Callable[..., float] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    groups: ArrayLike | None = None,
    bounds: tuple[float, float] | None = None,
) -> Estimate:
    """`statistic(first) − statistic(second)` (means by default) with an interval over paired units.

    Of 0 and 1: exact, unconditional (`paired`); where the rows of a prompt disagree, that of bounded means. Of other
    numbers: as `mean` of the differences. Of a statistic: a bias-corrected and accelerated bootstrap (Efron 1987) at a
    level that makes up for the narrowness of a bootstrap of n units (Hesterberg 2015, Am. Stat. 69, 371).

    Args:
        first, second: one number a unit, the same units in both.
        statistic: of one sample; left out, the mean.
        level: of the interval.
        resamples, seed: of the bootstrap.
        groups: the prompt of each row, where prompts repeat; whole prompts are resampled.
        bounds: what the numbers of either can be at most, where that is known beforehand; see `mean`.

    Returns:
        The difference; `n` counts prompts.

    Raises:
        ValueError: the two differ in length, hold a NaN or infinite number, or have fewer than 5 prompts (10 with a
            statistic; 1 for 0 and 1, or with bounds).
    """
    a, b = paired_numbers(first, second)
    if statistic is not None:
        return _of_statistic(a, b, statistic, level_of(level), resamples, seed, codes_of(groups, len(a)))
    d = joined(a - b, groups)
    if (table := paired.table_of(a, b, d)) is not None:
        return Estimate(float(d.mean()), *paired.limits(*table, level_of(level)), len(d))
    return _of_mean(d, level, resamples, seed, span(a, b, bounds))


def paired_numbers(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two, checked to be of the same units."""
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape:
        raise ValueError(f"first has {a.shape} and second {b.shape} units; a paired difference needs the same units")
    return numbers("first", a), numbers("second", b)


def span(
    a: NDArray[np.float64], b: NDArray[np.float64], bounds: tuple[float, float] | None
) -> tuple[float, float] | None:
    """What a difference can be, if that is known; of 0 and 1 it is."""
    if bounds is None:
        return (-1.0, 1.0) if is_binary(a) and is_binary(b) else None
    for x in (a, b):
        bounded.scaled(x, bounds)
    return bounds[0] - bounds[1], bounds[1] - bounds[0]


def _of_statistic(
    a: NDArray[np.float64], b: NDArray[np.float64], statistic: Callable[..., float], level: float,
    resamples: int, seed: int, codes: NDArray[np.intp],
) -> Estimate:  # fmt: skip
    """The difference of any statistic, whole groups resampled."""
    rows = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    units = np.arange(len(rows))
    enough(units, LEAST_OF_A_STATISTIC)

    def difference(drawn: NDArray[np.intp]) -> float:
        chosen = np.concatenate([rows[int(i)] for i in drawn])
        return float(statistic(a[chosen]) - statistic(b[chosen]))

    value, n = difference(units), len(units)
    if np.array_equal(a, b):
        return Estimate(value, -np.inf, np.inf, n)
    wider = 1 - 2 * norm.cdf(np.sqrt(n / (n - 1)) * t.ppf((1 - level) / 2, n - 1))
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        found = bootstrap((units,), difference, vectorized=False, n_resamples=resamples, confidence_level=float(wider),
                          method="BCa", rng=np.random.default_rng(seed)).confidence_interval  # fmt: skip
    # all resamples alike: the units say nothing of how the statistic varies
    low, high = (end if np.isfinite(end) else bound for end, bound in zip(found, (-np.inf, np.inf), strict=True))
    return Estimate(value, float(low), float(high), n)


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
    interval = quantile_test(x, p=0.5).confidence_interval(confidence_level=level_of(level))
    # with too few units no two order statistics enclose the median at this level: the interval is everything
    low = -np.inf if np.isnan(interval.low) else float(interval.low)
    high = np.inf if np.isnan(interval.high) else float(interval.high)
    return Estimate(float(np.median(x)), low, high, int(x.size))
