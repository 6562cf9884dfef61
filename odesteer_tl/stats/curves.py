"""Curves over units: simultaneous bands of the mean, and where the mean peaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, norm

from odesteer_tl.stats.intervals import Estimate


@dataclass(frozen=True, eq=False)
class Band:
    """A mean curve with limits that hold at all its points together.

    Attributes:
        center, low, high: [points].
        n: independent units behind it.
    """

    center: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: int


def mean_band(curves: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Band:
    """The mean of curves with simultaneous (max-t, studentised bootstrap) limits.

    The limits are mean ± q · standard error, q the quantile of the largest |t| over the points in resamples of whole
    curves: correlations along the curve are kept. A point at which all curves agree has no width.

    Args:
        curves: [units, points]; the unit is the prompt.

    Returns:
        The mean with its limits, point by point.

    Raises:
        ValueError: not a finite matrix with at least 2 units.
    """
    x = _curves(curves)
    n = len(x)
    center, error = x.mean(0), x.std(0, ddof=1) / np.sqrt(n)
    moving = error > 0
    centred = (x - center)[:, moving]
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples) / n
    means = draws @ centred
    # a resample of one unit alone has no spread; an infinite t is what it deserves
    spread = np.sqrt(np.maximum(draws @ centred**2 - means**2, 0) / (n - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        largest = np.nan_to_num(np.abs(means) / spread, nan=0.0, posinf=np.inf).max(axis=1, initial=0.0)
    width = np.quantile(largest, level, method="higher") * error if moving.any() else error
    return Band(center, center - width, center + width, n)


def share_band(successes: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Band:
    """Shares with simultaneous limits: exact (Clopper–Pearson) ones, each at the level that all together need.

    That level is of the quantile of the largest |t| over the points in a Gaussian multiplier bootstrap of whole rows
    (Chernozhukov et al. 2013), so that points which succeed together cost nothing; a point where all succeed, or none,
    shows no correlation and counts as independent. (`mean_band` studentises by each resample's own error, which is 0
    where it holds successes alone.)

    Args:
        successes: [units, points] of 0 and 1; the unit is the prompt.
        level: of the limits together.
        resamples, seed: of the bootstrap.

    Returns:
        The shares with limits inside [0, 1].

    Raises:
        ValueError: not a matrix of 0 and 1 with at least 2 units.
    """
    x = _curves(successes)
    if not np.isin(x, (0.0, 1.0)).all():
        raise ValueError("successes holds values other than 0 and 1; for means of numbers use mean_band")
    n, share = len(x), x.mean(0)
    rng, spread = np.random.default_rng(seed), x.std(0, ddof=1)
    scaled = (x - share) / np.where(spread > 0, spread, 1.0) / np.sqrt(n - 1)
    largest = np.abs(np.where(spread > 0, rng.normal(size=(resamples, n)) @ scaled,
                              rng.normal(size=(resamples, x.shape[1])))).max(axis=1)  # fmt: skip
    z = np.quantile(largest, level, method="higher")
    tail, k = norm.sf(z), x.sum(0)
    low, high = beta.ppf(tail, k, n - k + 1), beta.ppf(1 - tail, k + 1, n - k)
    return Band(share, np.where(k == 0, 0.0, low), np.where(k == n, 1.0, high), n)


def peak(curves: ArrayLike, grid: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Estimate:
    """Where the mean of curves peaks, with a percentile-bootstrap interval over whole curves.

    Between grid points by the parabola through the highest point and its neighbours; at an end of the grid, that end.

    Args:
        curves: [units, points]; the unit is the prompt.
        grid: increasing positions of the points, at least 3.

    Returns:
        The place on the grid's axis.

    Raises:
        ValueError: not a finite matrix with at least 2 units, or a grid that does not fit it.
    """
    x, places = _curves(curves), np.asarray(grid, dtype=float)
    if places.shape != x.shape[1:] or len(places) < 3 or not (np.diff(places) > 0).all():
        raise ValueError(f"grid={grid} must hold {x.shape[1]} increasing positions (at least 3), one a point")
    n = len(x)
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples) / n
    low, high = np.quantile(_summits(draws @ x, places), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(_summits(x.mean(0, keepdims=True), places)[0]), float(low), float(high), n)


def _summits(curves: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """The place of each row's highest value, refined by a parabola inside the grid."""
    at, rows = curves.argmax(1), np.arange(len(curves))
    k = np.clip(at, 1, len(grid) - 2)
    left, right = grid[k - 1] - grid[k], grid[k + 1] - grid[k]
    down, up = curves[rows, k - 1] - curves[rows, k], curves[rows, k + 1] - curves[rows, k]
    bend = down * right - up * left
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = (down * right**2 - up * left**2) / (2 * bend)
    return np.where((at == k) & (bend < 0), grid[k] + shift, grid[at])


def _curves(curves: ArrayLike) -> NDArray[np.float64]:
    """Curves as a matrix, checked."""
    x = np.asarray(curves, dtype=float)
    if x.ndim != 2 or len(x) < 2 or x.shape[1] == 0 or not np.isfinite(x).all():
        raise ValueError(f"curves has shape {x.shape}; pass finite [units, points] with at least 2 units")
    return x
