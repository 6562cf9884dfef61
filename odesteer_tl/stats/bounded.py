"""Means of numbers that cannot leave known bounds: tests that hold at every n, whatever the distribution.

A gambler stakes a share κ of his wealth on each unit being above the hypothesised mean; if the hypothesis holds, his
expected wealth never exceeds what he began with, so 1/wealth is a p-value (Waudby-Smith and Ramdas 2024, JRSS B 86, 1,
§4; here the mixture over κ, which needs no order of the units).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: the shares staked; half of the wealth is on the largest, which is the best where hardly a unit differs
STAKES = np.r_[1 - 1e-9, (np.arange(60) + 0.5) / 60]
WEIGHTS = np.r_[0.5, np.full(60, 0.5 / 60)]


def scaled(x: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.float64]:
    """Numbers as shares of the way between their bounds.

    Raises:
        ValueError: the bounds are no interval, or a number lies outside.
    """
    low, high = bounds
    if not (np.isfinite([low, high]).all() and low < high and ((x >= low) & (x <= high)).all()):
        raise ValueError(f"bounds={bounds} must enclose the numbers, which lie in [{x.min():g}, {x.max():g}]")
    return (x - low) / (high - low)


def pvalue(y: NDArray[np.float64], mean: float) -> float:
    """p-value of "the mean is at most this", y in [0, 1]."""
    if mean <= 0:
        return 1.0 if y.max() <= 0 else 0.0
    wealth = np.log1p(np.outer(STAKES, y / mean - 1)).sum(1)
    top = wealth.max()
    return float(min(1.0, np.exp(-top) / (WEIGHTS @ np.exp(wealth - top))))


def limits(y: NDArray[np.float64], level: float) -> tuple[float, float]:
    """The means that neither one-sided test refutes at (1 − level)/2, y in [0, 1]."""
    alpha = (1 - level) / 2
    return _lower(y, alpha), 1 - _lower(1 - y, alpha)


def _lower(y: NDArray[np.float64], alpha: float) -> float:
    """The least mean that is not refuted; the p-value rises with it."""
    low, high = 0.0, float(y.mean())
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if pvalue(y, middle) > alpha else (middle, high)
    return low
