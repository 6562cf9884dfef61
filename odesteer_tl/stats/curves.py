"""Curves over units: simultaneous bands of the mean, and where the mean peaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, norm

from odesteer_tl._display import table
from odesteer_tl.stats import studentised
from odesteer_tl.stats.intervals import LEAST, Estimate, enough
from odesteer_tl.stats.units import is_binary, joined, level_of

if TYPE_CHECKING:
    import pandas as pd


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

    def frame(self) -> pd.DataFrame:
        """One row a point of the curve."""
        return table(vars(self)).rename_axis("point").reset_index()


def mean_band(
    curves: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0, groups: ArrayLike | None = None
) -> Band:
    """The mean of curves with simultaneous (max-t, studentised bootstrap) limits.

    The limits are mean ± q · standard error, q the quantile of the largest |t| over the points in resamples of whole
    curves: correlations along the curve are kept. A point at which all curves agree (the start of a path, which is 0
    by definition) has no width; where all but a few curves agree the band is infinite.

    Args:
        curves: [units, points]; the unit is the prompt.
        level: of the limits together.
        resamples, seed: of the bootstrap.
        groups: the prompt of each curve, where prompts repeat; the mean is that of the prompts' means.

    Returns:
        The mean with its limits, point by point; `n` counts prompts.

    Raises:
        ValueError: not a finite matrix, fewer than 5 prompts, or curves of 0 and 1 alone (for which see `share_band`).
    """
    x = _curves(curves)
    if is_binary(x) and x.any():
        raise ValueError("curves holds 0 and 1 alone; a studentised band of shares covers too little: use share_band")
    x = joined(x, groups)
    enough(x, LEAST)
    n = len(x)
    center, error = x.mean(0), x.std(0, ddof=1) / np.sqrt(n)
    moving = np.ptp(x, axis=0) > 0
    width = np.zeros_like(error)
    if moving.any():
        largest = np.abs(studentised.statistics(x[:, moving], resamples, seed)).max(axis=1)
        width[moving] = np.quantile(largest, level_of(level), method="higher") * error[moving]
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
    z = np.quantile(largest, level_of(level), method="higher")
    tail, k = norm.sf(z), x.sum(0)
    low, high = beta.ppf(tail, k, n - k + 1), beta.ppf(1 - tail, k + 1, n - k)
    return Band(share, np.where(k == 0, 0.0, low), np.where(k == n, 1.0, high), n)


def peak(
    curves: ArrayLike, grid: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0,
    groups: ArrayLike | None = None,
) -> Estimate:  # fmt: skip
    """Where the mean of curves peaks, with a bootstrap interval over whole curves.

    The value lies between grid points by the parabola through the highest point and its neighbours; at an end of the
    grid it is that end. The interval takes no shape for granted but a single peak: a mean that is highest at a grid
    point may peak anywhere between that point's neighbours, so the interval reaches from the left neighbours of the
    resamples' highest points to the right ones. A finer grid makes it narrower.

    Args:
        curves: [units, points]; the unit is the prompt.
        grid: increasing positions of the points, at least 3.
        level: of the interval.
        resamples, seed: of the bootstrap.
        groups: the prompt of each curve, where prompts repeat; the mean is that of the prompts' means.

    Returns:
        The place on the grid's axis; `n` counts prompts.

    Raises:
        ValueError: not a finite matrix, fewer than 5 prompts, or a grid that does not fit it.
    """
    x, places = _curves(curves), np.asarray(grid, dtype=float)
    if places.shape != x.shape[1:] or len(places) < 3 or not (np.diff(places) > 0).all():
        raise ValueError(f"grid={grid} must hold {x.shape[1]} increasing positions (at least 3), one a point")
    x = joined(x, groups)
    enough(x, LEAST)
    n, tail = len(x), (1 - level_of(level)) / 2
    highest = (studentised.counts(n, resamples, seed) @ x).argmax(1)
    low = np.quantile(places[np.maximum(highest - 1, 0)], tail, method="lower")
    high = np.quantile(places[np.minimum(highest + 1, len(places) - 1)], 1 - tail, method="higher")
    value = float(_summits(x.mean(0, keepdims=True), places)[0])
    return Estimate(value, min(float(low), value), max(float(high), value), n)


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
