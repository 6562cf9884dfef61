"""From the prompts tried to all prompts: bounds on a violation rate and on the smallest slope.

The unit is the prompt, never the token or the step; all statements need prompts drawn independently from one source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from odesteer_tl._display import table
from odesteer_tl.stats.units import flags

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RateBound:
    """`rate ≤ upper` with probability at least 1 − α, simultaneously over `looks` places.

    Attributes:
        violations, n: prompts that violated, of how many.
        upper: the one-sided Clopper–Pearson bound at α/looks.
    """

    violations: int
    n: int
    upper: float
    alpha: float
    looks: int

    def __str__(self) -> str:
        return f"{self.violations}/{self.n} violate; rate ≤ {self.upper:.4f} (α = {self.alpha:g} over {self.looks})"

    def frame(self) -> pd.DataFrame:
        """One row, a column an attribute."""
        return table([vars(self)])


def rate_bound(violated: ArrayLike, alpha: float = 0.05, looks: int = 1) -> RateBound:
    """Upper bound on the share of prompts that violate; with none in N it is `1 − (α/looks)^(1/N)`.

    Args:
        violated: one boolean a prompt.
        looks: at how many places (layers) the same question is asked; α is divided by it (Bonferroni).

    Returns:
        The counts and the bound, which holds with probability at least 1 − α over the draw of the prompts.

    Raises:
        ValueError: no prompts, one that is neither true nor false (a NaN), α outside (0, 1) or looks < 1.
    """
    found = flags("violated", violated) if np.size(violated) else np.zeros(0, dtype=bool)
    if found.size == 0 or not 0 < alpha < 1 or looks < 1:
        raise ValueError(f"violated has {found.size} prompts, alpha={alpha}, looks={looks}; need ≥ 1, in (0, 1), ≥ 1")
    k, n = int(found.sum()), int(found.size)
    upper = binomtest(k, n, alternative="less").proportion_ci(1 - alpha / looks, method="exact").high
    return RateBound(k, n, float(upper), alpha, looks)


def conformal_lower(values: ArrayLike, alpha: float = 0.05) -> float:
    """A number that a new prompt's value reaches or exceeds with probability at least 1 − α (split conformal).

    Args:
        values: one a calibration prompt, such as its smallest certified slack. Prompts exchangeable with the new one.

    Returns:
        The ⌊α(n + 1)⌋-th smallest; −∞ where n is too small for the level.

    Raises:
        ValueError: NaN among the values, none at all, or α outside (0, 1).
    """
    x = np.sort(np.asarray(values, dtype=float).ravel())
    if x.size == 0 or np.isnan(x).any() or not 0 < alpha < 1:
        raise ValueError(
            f"values has {x.size} numbers, {int(np.isnan(x).sum())} of them NaN, alpha={alpha}; need finite"
        )
    rank = math.floor(alpha * (x.size + 1))
    return float(x[rank - 1]) if rank >= 1 else -math.inf
