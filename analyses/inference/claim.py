"""A thing that is reported with a level, and how it is asked of simulated units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyses.inference.units import Rng
from odesteer_tl import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Claim:
    """One thing that is reported.

    Attributes:
        name, data: what, and of which numbers.
        exact: whether it may never hold less often than it says; else it does so for many units.
        holds: of n simulated prompts (and a seed), whether what is reported of them is true.
        stated: how often it holds at least, where that is less than it says and the documents say so; by the number of
            prompts up to which it is less, or at every number.
        refused: up to how many prompts a `ValueError` is the refusal to report it, and no fault.
    """

    name: str
    data: str
    exact: bool
    holds: Callable[[Rng, int, int], bool]
    stated: float | Mapping[int, float] = LEVEL
    refused: int = 0

    def least(self, n: int) -> float:
        """How often it is to hold at n prompts."""
        if isinstance(self.stated, Mapping):
            return next((share for most, share in sorted(self.stated.items()) if n <= most), LEVEL)
        return self.stated


def inside(estimate: stats.Estimate, truth: float) -> bool:
    """Whether the interval holds the truth, to rounding."""
    return estimate.low - 1e-9 <= truth <= estimate.high + 1e-9


def over(band: stats.Band, truth: NDArray[np.float64]) -> bool:
    """Whether the band holds the truth at all points."""
    return bool(((band.low <= truth + 1e-9) & (truth - 1e-9 <= band.high)).all())
