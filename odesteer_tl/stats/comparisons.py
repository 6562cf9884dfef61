"""Comparisons: correction of declared tests, and equivalence within a declared margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from odesteer_tl.stats import bounded, paired, studentised
from odesteer_tl.stats.intervals import LEAST, Estimate, enough, paired_difference, paired_numbers, span
from odesteer_tl.stats.units import is_binary, joined

if TYPE_CHECKING:
    import pandas as pd


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


def difference_pvalue(
    first: ArrayLike,
    second: ArrayLike,
    resamples: int = 9999,
    seed: int = 0,
    groups: ArrayLike | None = None,
    bounds: tuple[float, float] | None = None,
) -> float:
    """Two-sided p-value of "the mean paired difference is 0", by the tests behind `paired_difference`.

    Flipping signs would ask whether the differences are symmetric: of skewed ones it rejects a mean of 0 too often.

    Args:
        first, second: one number a unit, the same units in both.
        resamples, seed: of the bootstrap; the least p-value that it can give is 2/(resamples + 1).
        groups: the prompt of each row, where prompts repeat.
        bounds: what the numbers of either can be at most, where that is known beforehand.

    Returns:
        Twice the smaller of the two one-sided p-values; 1 where no unit differs.

    Raises:
        ValueError: as `paired_difference`.

    Example:
        >>> from odesteer_tl import stats
        >>> stats.difference_pvalue([True] * 9 + [False], [False] * 10) < 0.01
        True
    """
    a, b = paired_numbers(first, second)
    if bounds is None and not (is_binary(a) and is_binary(b)):
        enough(joined(a - b, groups), LEAST)
    return min(1.0, 2 * min(_not_below(x, y, 0.0, resamples, seed, groups, bounds) for x, y in ((a, b), (b, a))))


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of |mean difference| < margin.

    Attributes:
        difference: the mean paired difference with its 1 − 2α interval, which lies within ±margin iff equivalent.
        margin: as declared.
        pvalue: the larger of the two one-sided p-values.
        equivalent: whether it is at most α.
    """

    difference: Estimate
    margin: float
    pvalue: float
    equivalent: bool

    def frame(self) -> pd.DataFrame:
        """One row: the difference with its interval, the margin and the verdict."""
        verdict = {"margin": self.margin, "pvalue": self.pvalue, "equivalent": self.equivalent}
        return self.difference.frame().rename(columns={"value": "difference"}).assign(**verdict)


def equivalence(
    first: ArrayLike,
    second: ArrayLike,
    margin: float,
    alpha: float = 0.05,
    resamples: int = 2000,
    seed: int = 0,
    groups: ArrayLike | None = None,
    bounds: tuple[float, float] | None = None,
) -> Equivalence:
    """Is the mean paired difference within a margin declared beforehand? (two one-sided tests, Schuirmann 1987)

    The tests are those behind `paired_difference`: of 0 and 1 exact and unconditional, so that with a true difference
    at the margin no more than α of all studies declare equivalence, however rarely the two part (that 58 equal prompts
    are no evidence for a margin of .05 comes with it: 1 in 20 would then part unseen); of numbers with `bounds`, and of
    0 and 1 where the rows of a prompt disagree, by a bound that holds at every n; of other numbers a studentised
    bootstrap, which never declares numbers equivalent that do not differ at all.

    Args:
        first, second: one number a unit, the same units in both.
        margin: the largest difference that does not matter, > 0.
        alpha: level of each one-sided test.
        resamples, seed: of the bootstrap.
        groups: the prompt of each row, where prompts repeat.
        bounds: what the numbers of either can be at most, where that is known beforehand.

    Returns:
        The difference with its interval, and the verdict.

    Raises:
        ValueError: a margin that is not positive, an α outside (0, ½), or the two are not equally long, hold a NaN or
            infinite number, or have fewer than 5 prompts (1 for 0 and 1, or with bounds).
    """
    if not 0 < margin < np.inf:
        raise ValueError(f"margin={margin} must be positive: the largest difference that does not matter")
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha={alpha} must lie between 0 and 1/2: the level of each of the two tests")
    a, b = paired_numbers(first, second)
    estimate = paired_difference(a, b, None, 1 - 2 * alpha, resamples, seed, groups, bounds)
    sides = [(a, b), (b, a)]
    p = max(_not_below(x, y, margin, resamples, seed, groups, bounds) for x, y in sides)
    return Equivalence(estimate, margin, p, p <= alpha)


def _not_below(
    a: NDArray[np.float64], b: NDArray[np.float64], margin: float, resamples: int, seed: int,
    groups: ArrayLike | None, bounds: tuple[float, float] | None,
) -> float:  # fmt: skip
    """p-value of "the mean of a − b is at most −margin"."""
    d, known = joined(a - b, groups), span(a, b, bounds)
    if (table := paired.table_of(a, b, d)) is not None:
        return 0.0 if margin > 1 else paired.pvalue(*table, -margin)
    if known is not None:
        return bounded.pvalue(bounded.scaled(d, known), (-margin - known[0]) / (known[1] - known[0]))
    return studentised.pvalue(d, -margin, resamples, seed)
