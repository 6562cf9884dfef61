"""How well a score ranks: successes before failures, or as another number does."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import norm, rankdata, t

from odesteer_tl.stats.intervals import Estimate
from odesteer_tl.stats.units import codes_of, flags, joined, level_of, numbers

#: independent units that an area needs of each class, and a correlation altogether
LEAST_OF_A_CLASS, LEAST_OF_A_CORRELATION = 5, 10


def areas(scores: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Areas under the ROC curve along the last axis, ties counted half (Mann and Whitney 1947).

    Args:
        scores: any numbers, `[*batch n]`.
        truth: booleans of the same shape.

    Returns:
        `[*batch]`; NaN where all or none are true, or a score is NaN.

    Raises:
        ValueError: truth holds anything but true and false.
    """
    ranks, true = rankdata(scores, axis=-1), flags("truth", truth)
    hits = np.sum(true, axis=-1)
    misses = ranks.shape[-1] - hits
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(((ranks * true).sum(-1) - hits * (hits + 1) / 2) / (hits * misses))


def auc(
    scores: ArrayLike,
    truth: ArrayLike,
    level: float = 0.95,
    resamples: int | None = None,
    seed: int | None = None,
    groups: ArrayLike | None = None,
) -> Estimate:
    """Area under the ROC curve with a score interval, which has a width also where the classes are separated.

    Newcombe (2006, Statistics in Medicine 25, 559, method 5): the areas from which the one found is no further than t
    times their own standard error (Hanley and McNeil 1982). Where the units vary more than Hanley and McNeil's model,
    by DeLong et al. (1988) or between prompts (Obuchowski 1997), that error is enlarged as much; where prompts repeat
    and the classes are separated, a prompt counts once. Rows count alike, so prompts with many rows decide: there are
    as many prompts as ones of equal size would be worth, (Σ rows)²/Σ rows² (Kish 1965), and where that is less than
    half of their number all rows of a prompt count as alike.

    Of few units it takes failures to be spread over the scores: with 10 of each class, and a fifth of the one below all
    of the other, the interval holds in 85 % (in 94 % with 25 of each).

    Args:
        scores: one number a unit; more of it speaks for true.
        truth: one boolean a unit.
        level: of the interval.
        resamples, seed: without meaning since the interval has a closed form; deprecated.
        groups: the prompt of each row, where prompts repeat.

    Returns:
        The area; `n` counts prompts.

    Raises:
        ValueError: scores and truth differ in length, a score is not finite, truth is not boolean, or fewer than 5
            prompts of a class, or prompts worth fewer.

    Example:
        >>> from odesteer_tl import stats
        >>> print(stats.auc([0.1, 0.7, 0.6, 0.9] * 25, [False, False, True, True] * 25))
        0.750 [0.638, 0.833] (n=100)
    """
    if resamples is not None or seed is not None:
        warnings.warn("resamples and seed of stats.auc do nothing any more; leave them out", DeprecationWarning, 2)
    x, y = np.asarray(scores, dtype=float), flags("truth", truth)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"scores has shape {x.shape}, truth {y.shape}; give one of each a unit")
    codes = codes_of(groups, len(numbers("scores", x)))
    units = [_worth(codes[y == side]) for side in (True, False)]
    if min(units) < LEAST_OF_A_CLASS:
        raise ValueError(
            f"truth is true of {units[0]:.3g} and false of {units[1]:.3g} prompts (by their rows: many of one prompt "
            f"are worth less than as many prompts); an interval of an area needs units of both classes, at least "
            f"{LEAST_OF_A_CLASS} of each"
        )
    area = float(areas(x, y))
    excess = _excess(x, y, codes, area)
    q = t.ppf((1 + level_of(level)) / 2, min(units) - 1) if groups is not None else norm.ppf((1 + level) / 2)
    m, n = int(y.sum()), int((~y).sum())
    low, high = (_score_limit(area, end, float(q) * np.sqrt(excess), m, n) for end in (0.0, 1.0))
    return Estimate(area, low, high, len(np.unique(codes)))


def rank_correlation(x: ArrayLike, y: ArrayLike, level: float = 0.95, groups: ArrayLike | None = None) -> Estimate:
    """Spearman's correlation with an interval on Fisher's scale (Bonett and Wright 2000, Psychometrika 65, 23).

    Their variance is that of normal numbers; where the units vary more (tails that depend on each other, a spread of y
    that depends on x), that of the influences of the units (Croux and Dehon 2010, Stat. Methods Appl. 19, 497).

    Args:
        x, y: one number a unit, the same units in both.
        level: of the interval.
        groups: the prompt of each row, where prompts repeat; correlated are the prompts' means.

    Returns:
        The correlation; NaN, within [−1, 1], where x or y does not vary.

    Raises:
        ValueError: the two differ in length, hold a NaN or infinite number, or have fewer than 10 prompts.
    """
    a, b = numbers("x", x), numbers("y", y)
    if a.shape != b.shape:
        raise ValueError(f"x has {a.shape} and y {b.shape} units; a correlation needs the same units")
    a, b = joined(a, groups), joined(b, groups)
    n = len(a)
    if n < LEAST_OF_A_CORRELATION:
        raise ValueError(f"x has {n} independent units; an interval of a correlation needs {LEAST_OF_A_CORRELATION}")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return Estimate(np.nan, -1.0, 1.0, n)
    rho = float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
    # ranks that agree wholly have no z: as near to it as one exchanged pair of neighbours
    inner = np.clip(rho, -1 + 6 / (n**3 - n), 1 - 6 / (n**3 - n))
    error = max(np.sqrt((1 + rho**2 / 2) / (n - 3)), _spearman_error(a, b) / (1 - inner**2))
    half, z = t.ppf((1 + level_of(level)) / 2, n - 3) * error, np.arctanh(inner)
    low, high = np.tanh([z - half, z + half])
    return Estimate(rho, min(float(low), rho), max(float(high), rho), n)


def _spearman_error(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Standard error of Spearman's correlation by what each unit adds to it, ties counted half."""
    n = len(x)
    a, b = ((rankdata(z) - (n + 1) / 2) / n for z in (x, y))

    def influence(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of the units on mean(u·v): their own product, and that they rank below those above them."""
        return u * v + _above(u, v) + _above(v, u) - 3 * (u @ v) / n

    aa, bb, ab = a @ a / n, b @ b / n, a @ b / n
    rho = ab / np.sqrt(aa * bb)
    own = influence(a, b) / np.sqrt(aa * bb) - rho / 2 * (influence(a, a) / aa + influence(b, b) / bb)
    return float(np.sqrt((own**2).sum() / (n * (n - 1))))


def _above(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each unit the sum of v over the units above it in u, those level with it counted half, divided by n."""
    codes = np.unique(u, return_inverse=True)[1]
    sums = np.bincount(codes, v)
    return (sums[::-1].cumsum()[::-1] - sums / 2)[codes] / len(u)


def _worth(codes: NDArray[np.intp]) -> float:
    """How many prompts of equal size the rows of these are worth."""
    sizes = np.bincount(codes)
    return float(sizes.sum() ** 2 / max((sizes**2).sum(), 1))


def _variance(area: float, m: int, n: int) -> float:
    """Hanley and McNeil's, both classes taken to be as large as their mean (Newcombe 2006)."""
    size = (m + n) / 2 - 1
    return area * (1 - area) * (1 + size * (1 - area) / (2 - area) + size * area / (1 + area)) / (m * n)


def _excess(x: NDArray[np.float64], y: NDArray[np.bool_], codes: NDArray[np.intp], area: float) -> float:
    """How much more the area varies than by Hanley and McNeil, at least 1."""
    m, n = int(y.sum()), int((~y).sum())
    # as if all rows of a prompt were alike; so too where few prompts with many rows decide, which tell too little of it
    alike = max(float(side.sum()) / _worth(codes[side]) for side in (y, ~y))
    if area in (0.0, 1.0):
        return alike
    least = alike if _worth(codes) < (int(codes.max()) + 1) / 2 else 1.0
    ranks = rankdata(x)
    own = np.empty(len(x))  # DeLong's components: the share of the other class that each unit stands before
    for side, other in ((y, n), (~y, m)):
        own[side] = (ranks[side] - rankdata(x[side])) / other
    own[~y] = 1 - own[~y]
    parts = np.zeros((2, int(codes.max()) + 1))
    for i, (side, size) in enumerate(((y, m), (~y, n))):
        groups = len(np.unique(codes[side]))
        np.add.at(parts[i], codes[side], (own[side] - area) * np.sqrt(groups / (groups - 1)) / size)
    # a prompt with units of both classes brings their covariance
    return max(least, float((parts.sum(0) ** 2).sum()) / _variance(area, m, n))


def _score_limit(area: float, end: float, q: float, m: int, n: int) -> float:
    """The area towards `end` whose own standard error, q times, just reaches the one found."""
    if area == end:
        return end
    # at 0 and 1 nothing varies, and the equation has a second root that says nothing
    inner = np.clip(area, 1e-12, 1 - 1e-12)
    found = brentq(lambda a: abs(a - area) - q * np.sqrt(_variance(a, m, n)), inner, end, xtol=1e-12)
    assert isinstance(found, float)
    return found
