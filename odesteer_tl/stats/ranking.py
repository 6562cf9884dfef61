"""How well a score ranks successes before failures."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap, rankdata

from odesteer_tl.stats.intervals import Estimate


def areas(scores: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Areas under the ROC curve along the last axis, ties counted half (Mann and Whitney 1947).

    Args:
        scores: any numbers, `[*batch n]`.
        truth: booleans of the same shape.

    Returns:
        `[*batch]`; NaN where all or none are true.
    """
    ranks, hits = rankdata(scores, axis=-1), np.sum(truth, axis=-1)
    misses = ranks.shape[-1] - hits
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(((ranks * truth).sum(-1) - hits * (hits + 1) / 2) / (hits * misses))


def auc(
    scores: ArrayLike, truth: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Estimate:  # fmt: skip
    """Area under the ROC curve with a percentile-bootstrap interval over units.

    Args:
        scores: one number a unit; more of it speaks for true.
        truth: one boolean a unit.
        level: of the interval.
        resamples, seed: of the bootstrap.

    Returns:
        The area.

    Raises:
        ValueError: scores and truth differ in length, or all units are of one class.

    Example:
        >>> from odesteer_tl import stats
        >>> print(stats.auc([0.1, 0.7, 0.6, 0.9] * 25, [False, False, True, True] * 25))
        0.750 [0.640, 0.840] (n=100)
    """
    x, y = np.asarray(scores, dtype=float), np.asarray(truth, dtype=bool)
    if x.shape != y.shape or x.ndim != 1 or y.all() or not y.any():
        raise ValueError(f"scores has shape {x.shape}, truth {y.shape} with {y.sum()} true; give one of each a unit, "
                         "and units of both classes")  # fmt: skip
    found = bootstrap((x, y), lambda s, t, axis: areas(s, t), paired=True, vectorized=True, n_resamples=resamples,
                      confidence_level=level, method="percentile", rng=np.random.default_rng(seed))  # fmt: skip
    interval = found.confidence_interval
    return Estimate(float(areas(x, y)), float(interval.low), float(interval.high), len(x))
