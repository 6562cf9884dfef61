"""The studentised bootstrap of a mean (Efron and Tibshirani 1993, §12.5), and of curves at all points together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def counts(n: int, resamples: int, seed: int) -> NDArray[np.intp]:
    """How often each of n units is drawn, in resamples of n: [resamples, n]."""
    drawn = np.random.default_rng(seed).integers(0, n, size=(resamples, n))
    # one tally over all rows: several times as fast as as many multinomial numbers
    return np.bincount((drawn + n * np.arange(resamples)[:, None]).ravel(), minlength=resamples * n).reshape(-1, n)


def statistics(x: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """(mean of a resample − mean) / standard error of the resample, for resamples of whole rows.

    Args:
        x: [units, points].

    Returns:
        [resamples, points]; infinite where a resample does not vary: it is one unit drawn again and again, or the few
        units that differ are missing from it. Where that is common the limits are infinite, as they should be.
    """
    n = len(x)
    draws = counts(n, resamples, seed) / n
    centred = x - x.mean(0)
    means = draws @ centred
    variance = draws @ centred**2 - means**2
    # rounding leaves a trace of variance in a resample of equal numbers
    scale = np.abs(centred).max(0)
    still = variance <= 1e-12 * scale**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(still, np.copysign(np.inf, means), means / np.sqrt(np.where(still, 1.0, variance) / (n - 1)))


def limits(x: NDArray[np.float64], level: float, resamples: int, seed: int) -> tuple[float, float]:
    """Limits of a mean: what `pvalue` does not refute on either side at (1 − level)/2.

    Infinite where the units vary too little to say: not at all, or but a few of them differ.
    """
    if np.ptp(x) == 0:
        return -np.inf, np.inf
    k = int(np.floor((resamples + 1) * (1 - level) / 2))
    if k < 1:
        raise ValueError(f"resamples={resamples} are too few for level={level}; take at least {2 / (1 - level):.0f}")
    t = np.sort(statistics(x[:, None], resamples, seed)[:, 0])
    size = np.sort(np.abs(t))[min(resamples - 2 * k + 1, resamples - 1)]
    error = float(x.std(ddof=1)) / np.sqrt(len(x))
    return float(x.mean() - max(t[resamples - k], size) * error), float(x.mean() - min(t[k - 1], -size) * error)


def pvalue(x: NDArray[np.float64], mean: float, resamples: int, seed: int) -> float:
    """One-sided p-value of "the mean is at most this".

    The larger of two: by the upper tail of t, which is right where the units are skewed, and by half of both tails,
    which is right where few units differ and only one tail of the bootstrap knows it.
    """
    if np.ptp(x) == 0:
        return 1.0
    t = (x.mean() - mean) / (x.std(ddof=1) / np.sqrt(len(x)))
    if t <= 0:
        return 1.0
    drawn = statistics(x[:, None], resamples, seed)[:, 0]
    above, beyond = (drawn >= t).sum(), (np.abs(drawn) >= t).sum()
    return float(max(1 + above, (1 + beyond) / 2) / (resamples + 1))
