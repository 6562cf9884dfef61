"""Held-out calibration of a pair of densities: how well each describes its class, and what their ratio is worth."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.stats import ks_2samp
from torch import Tensor

from odesteer_tl._display import Result, table
from odesteer_tl.barriers.calibration import Calibration
from odesteer_tl.densities.base import Density
from odesteer_tl.stats.units import codes_of

if TYPE_CHECKING:
    import pandas as pd

#: draws from a density, among which held-out activations are ranked
DRAWS = 2000
#: choices of one activation a prompt that a test is averaged over, where prompts repeat
CHOICES = 20
#: fewer prompts of held-out positives cannot tell a rank below 2.5 %
LEAST_HELD_OUT = 40


@dataclass(frozen=True)
class Fit:
    """How well a density describes held-out activations of its class.

    Attributes:
        bits_per_dimension: mean of −log₂ p over the dimensions of its space (smaller is better).
        rank_statistic: Kolmogorov–Smirnov distance from uniform of the ranks of held-out log p among log p of draws
            from the density itself; 0 for a density that is right.
        rank_pvalue: its two-sample p-value; where prompts repeat, of samples of one activation a prompt.
        n: held-out activations.
    """

    bits_per_dimension: float
    rank_statistic: float
    rank_pvalue: float
    n: int

    @classmethod
    def of(
        cls, density: Density, held_out: Float[Tensor, "n d"], seed: int = 0, groups: Iterable[int] | None = None
    ) -> Fit:
        """Measure a density on held-out activations of its class.

        Args:
            groups: the prompt of each activation; left out, each is a prompt of its own.

        Raises:
            ValueError: not one label an activation.
        """
        found = density.log_prob(held_out).numpy()
        drawn = density.log_prob(density.sample(DRAWS, seed)).numpy()
        statistic = float(_distance(found, drawn).statistic)
        bits = -float(found.mean()) / math.log(2) / density.n_dimensions
        return cls(bits, statistic, rank_pvalue(found, drawn, groups, seed), len(held_out))

    def frame(self) -> pd.DataFrame:
        """One row, a column an attribute."""
        return table([vars(self)])


def _distance(found: NDArray[np.float64], drawn: NDArray[np.float64]) -> Any:
    """The two-sample test of Kolmogorov and Smirnov."""
    return ks_2samp(found, drawn)


def rank_pvalue(
    found: NDArray[np.float64], drawn: NDArray[np.float64], groups: Iterable[int] | None = None, seed: int = 0
) -> float:
    """p-value of "held-out log p and that of draws have one distribution", the prompts being independent.

    Activations of one prompt resemble each other, so each test sees one of every prompt (Hoffman, Sen and Weinberg
    2001, Biometrika 88, 1121), and twice the mean over several such choices is a p-value however they hang together
    (Rüschendorf 1982).

    Args:
        found: one a held-out activation.
        drawn: of independent draws from the density.
        groups: the prompt of each held-out activation; left out, each is a prompt of its own.

    Raises:
        ValueError: not one label an activation.
    """
    if groups is None:
        return float(_distance(found, drawn).pvalue)
    codes = codes_of([*groups], len(found))
    if len(np.unique(codes)) == len(found):
        return float(_distance(found, drawn).pvalue)
    rng = np.random.default_rng(seed)
    chosen: list[float] = []
    for _ in range(CHOICES):
        order = rng.permutation(len(found))
        first = order[np.unique(codes[order], return_index=True)[1]]
        chosen.append(float(_distance(found[first], drawn).pvalue))
    return min(1.0, 2 * float(np.mean(chosen)))


@dataclass(frozen=True, eq=False, repr=False)
class PairCalibration(Result):
    """What a calibration split says of a pair.

    Attributes:
        slope, intercept: the affine map from the raw ratio log p₊ − log p₋ to a log-ratio (ideally 1 and 0).
        positive, negative: how well each density describes its class.
        held_out: sorted log p₊ of the held-out positives, what typicality is a rank among.
    """

    slope: float
    intercept: float
    positive: Fit
    negative: Fit
    held_out: Float[Tensor, " n"]

    def _facts(self) -> dict[str, object]:
        fits = {"p+": self.positive, "p−": self.negative}
        return {
            "slope (ideally 1)": self.slope,
            "intercept (nats)": self.intercept,
            **{f"bits per dimension of {name}": fit.bits_per_dimension for name, fit in fits.items()},
            **{f"distance of ranks from uniform, {name}": fit.rank_statistic for name, fit in fits.items()},
            **{f"held-out rows, {name}": fit.n for name, fit in fits.items()},
        }

    def frame(self) -> pd.DataFrame:
        """One row a class, with its `Fit`, and the slope and the intercept they share."""
        fits = {"positive": self.positive, "negative": self.negative}
        shared = {"slope": self.slope, "intercept": self.intercept}
        return table([{"class": name, **vars(fit), **shared} for name, fit in fits.items()])

    def rank(self, log_positive: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Share of held-out positives whose log p₊ is no higher, (1 + count)/(n + 2): uniform for a new positive."""
        count = torch.searchsorted(self.held_out.to(log_positive.device), log_positive.contiguous(), right=True)
        return (1 + count).double() / (len(self.held_out) + 2)


def affine_log_ratio(positive: Float[Tensor, " n"], negative: Float[Tensor, " m"]) -> tuple[float, float]:
    """Slope and intercept that make a score a log-ratio of densities, as a barrier's (see `Calibration.of`)."""
    found = Calibration.of(positive, negative)
    return found.slope, found.intercept
