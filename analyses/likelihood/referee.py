"""What judges a path in the likelihood study: a calibrated barrier, and densities of both classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

import odesteer_tl as ode
from odesteer_tl.densities import (
    Density,
    DensityPair,
    FactorAnalysis,
    MixturePPCA,
    PathScore,
    ShrunkGaussian,
    TangentGaussian,
    score_path,
)

RANKS = (16, 32, 64)
MIXTURES = ((4, 16), (4, 48))
FOLDS = 3


def candidates(n: int, d: int) -> list[Density]:
    """Few ambient families: those that `n` training rows of width `d` carry."""
    found: list[Density] = [ShrunkGaussian(), *(FactorAnalysis(r) for r in RANKS if r <= min(n, d) // 2)]
    return found + [MixturePPCA(k, r) for k, r in MIXTURES if r < d // 2 and 4 * k * (r + 1) <= n]


def directional_candidates(n: int, d: int) -> list[Density]:
    """The same Gaussian families for the direction alone."""
    ranks = [r for r in RANKS if r <= min(n, d - 1) // 2]
    return [TangentGaussian(ShrunkGaussian()), *(TangentGaussian(FactorAnalysis(r)) for r in ranks)]


@dataclass(frozen=True, eq=False)
class Referee:
    """What judges a path: fitted on prompts that no path starts from.

    Attributes:
        barrier: the kernel barrier, calibrated; one h for all arms.
        pairs: "ambient" (p₊ and p₋ of the activation, fitted apart: for the curves of log p), "directional" (of the
            direction, fitted apart) and "tied" (of the direction, sharing all but the location: for its ratio).
    """

    barrier: ode.Barrier
    pairs: dict[str, DensityPair]

    @classmethod
    def fit(
        cls, barrier: ode.Barrier, fitted_on: ode.LayerActivations, density: ode.LayerActivations, seed: int
    ) -> Referee:
        """Fit the densities.

        Args:
            barrier: fitted on activations of whose prompts none is in `density`.

        Raises:
            NoDifference: the classes do not differ, or a dimension never varies.
        """
        assert fitted_on.groups is not None
        assert density.groups is not None
        seen = [label for side in fitted_on.groups for label in side]
        n = min(len(density.positive), len(density.negative)) * (FOLDS - 1) // FOLDS
        d = density.positive.shape[1]
        wanted = {"ambient": (candidates(n, d), False), "directional": (directional_candidates(n, d), False),
                  "tied": (directional_candidates(n, d), True)}  # fmt: skip
        pairs = {
            name: DensityPair(families, tied, FOLDS, seed).fit(density.positive, density.negative, density.groups, seen)
            for name, (families, tied) in wanted.items()
        }
        return cls(barrier, pairs)

    def calibrated(self, held_out: ode.LayerActivations) -> Referee:
        """The same with h and densities calibrated on texts that took no part in a fit."""
        assert held_out.groups is not None
        pairs = {name: pair.calibrate(held_out.positive, held_out.negative, held_out.groups)
                 for name, pair in self.pairs.items()}  # fmt: skip
        return Referee(self.barrier.calibrate_activations(held_out), pairs)

    def score(self, points: Float[Tensor, "steps_plus_1 n d"], labels: Sequence[int]) -> dict[str, PathScore]:
        """The path under every pair; prompts seen in a fit are refused."""
        h = self.barrier.value(points.double())
        return {name: score_path(pair, points, labels, h) for name, pair in self.pairs.items()}

    def frame(self, scores: dict[str, PathScore]) -> pd.DataFrame:
        """One row a step and prompt, with its `group`: the ambient score, h calibrated, the two directional ones."""
        assert self.barrier.calibration is not None
        score = scores["ambient"]
        assert score.h is not None
        rows = score.frame()
        columns = {"h_calibrated": pd.Series(self.barrier.calibration(score.h).flatten().numpy()),
                   "group": np.asarray(score.groups)[rows["prompt"].to_numpy()]}  # fmt: skip
        for column in ("gain_per_radian", "gain_per_displacement"):
            columns[column] = pd.Series(getattr(scores["ambient"], column).flatten().numpy())
        for name in ("directional", "tied"):
            for column in ("log_positive", "log_negative", "log_ratio"):
                columns[f"{name}_{column}"] = pd.Series(getattr(scores[name], column).flatten().numpy())
        return rows.assign(**columns)
