"""Simulated units of a known truth: successes, numbers, pairs, scores and curves, of prompts that may repeat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Rng = np.random.Generator
#: rows of a prompt, where prompts repeat
ROWS = 5
#: of the equivalence tests, whose true difference is exactly this
MARGIN = 0.1


def prompts_of(n: int) -> NDArray[np.intp]:
    """The prompt of each row, where prompts repeat."""
    return np.repeat(np.arange(n), ROWS)


def unequal_prompts(n: int) -> NDArray[np.intp]:
    """The prompt of each row, where a tenth of the prompts has fifty rows and the others have one."""
    return np.repeat(np.arange(n), np.where(np.arange(n) < max(n // 10, 1), 50, 1))


def flips(rng: Rng, n: int, share: float, repeated: bool = False) -> NDArray[np.bool_]:
    """Successes; those of one prompt resemble each other."""
    if not repeated:
        return rng.random(n) < share
    return rng.random(n * ROWS) < np.repeat(rng.beta(share, 1 - share, size=n), ROWS)


def skewed(rng: Rng, n: int, repeated: bool = False) -> NDArray[np.float64]:
    """Skewed numbers of mean 0; those of one prompt share most of what they are."""
    own = rng.exponential(size=n) - 1
    return np.repeat(own, ROWS) + 0.3 * rng.normal(size=n * ROWS) if repeated else own


def pairs(rng: Rng, n: int, apart: float, difference: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Paired 0 and 1 that part at this rate, with this difference of their shares."""
    u = rng.random(n)
    only_first, only_second = u < (apart + difference) / 2, (u >= 1 - (apart - difference) / 2)
    both = rng.random(n) < 0.8
    first = np.where(only_first, 1.0, np.where(only_second, 0.0, both))
    return first, np.where(only_second, 1.0, np.where(only_first, 0.0, both))


def grouped_pairs(rng: Rng, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Paired 0 and 1 whose shares differ by the margin; most rows of a prompt are alike."""
    alike = rng.random(n * ROWS) < 0.8
    prompt, own = pairs(rng, n, 0.3, MARGIN), pairs(rng, n * ROWS, 0.3, MARGIN)
    first, second = (np.where(alike, np.repeat(x, ROWS), y) for x, y in zip(prompt, own, strict=True))
    return first, second


def scores(
    rng: Rng, n: int, area: float, repeated: bool = False, ties: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Normal scores of two classes of n/2 prompts whose true area is this; with ties, 0 and 1 alone."""
    truth = np.arange(n) % 2 == 0
    if ties:
        return (rng.random(n) < np.where(truth, area, 1 - area)).astype(float), truth
    shift = norm.ppf(area) * np.sqrt(2)
    if not repeated:
        return rng.normal(size=n) + shift * truth, truth
    own = np.repeat(rng.normal(size=n) * np.sqrt(0.8) + shift * truth, ROWS)
    return own + rng.normal(size=n * ROWS) * np.sqrt(0.2), np.repeat(truth, ROWS)


def curves(rng: Rng, n: int, points: int = 11, repeated: bool = False) -> NDArray[np.float64]:
    """Skewed random walks, levels and noise of their own, about 0."""
    walk = np.cumsum(rng.exponential(size=(n, points)) - 1, axis=1)
    own = 0.3 * walk + rng.normal(size=(n, 1))
    rows = np.repeat(own, ROWS, axis=0) if repeated else own
    return rows + 0.2 * rng.normal(size=rows.shape)


def area_values(rng: Rng, n: int) -> NDArray[np.float64]:
    """Areas under success over a few levels: numbers in [0, 1] of which most are 1; mean .95."""
    return rng.choice([0.0, 0.5, 1.0], p=[0.03, 0.04, 0.93], size=n)


def kink(points: int = 11, at: float = 5.4) -> NDArray[np.float64]:
    """A tent whose top lies between grid points, seen at the grid points."""
    return -np.abs(np.arange(points) - at)


def parabola(points: int = 11) -> NDArray[np.float64]:
    """A smooth curve with its top in the middle."""
    return -((np.arange(points) - (points - 1) / 2) ** 2) / 10
