"""What is compared, and what judges it: the arms of the likelihood study, and the barrier and densities that score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
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


@dataclass(frozen=True)
class Arm:
    """A way to steer.

    Attributes:
        method: in `METHODS`; arms of one method share its fitted field.
        solver: of `Flow`.
        one_shot: whether the whole angle is one step; otherwise steps of a fixed length follow each other, and the
            path at a smaller angle is a part of the path at a larger one.
    """

    label: str
    method: str
    solver: str
    one_shot: bool = False

    def flow(self, angle: float, steps: int) -> ode.Flow:
        """How it reaches `angle` radians in `steps` steps of the study's grid."""
        return ode.Flow(angle=angle, steps=1 if self.one_shot else max(1, steps), method=self.solver)

    def path(
        self, field: ode.VectorField, a: Float[Tensor, "n d"], angle: float, steps: int
    ) -> Float[Tensor, "steps_plus_1 n d"]:
        """Where it stands at every angle of the grid from 0 to `angle`."""
        if self.one_shot:
            ends = [self.flow(angle * k / steps, 1).solve(field, a).end for k in range(1, steps + 1)]
            return torch.stack([a, *ends])
        points = self.flow(angle, steps).solve(field, a, record=True).points
        assert points is not None
        return points


ARMS = (
    Arm("random direction", "random", "geodesic"),
    Arm("CAA", "caa", "geodesic"),
    Arm("ODESteer as published", "odesteer", "euler"),
    Arm("kernel flow", "odesteer_kernel", "geodesic"),
    Arm("one geodesic step", "odesteer_kernel", "geodesic", one_shot=True),
    Arm("optimal cap", "odesteer_kernel", "optimal", one_shot=True),
)
PLACEBO, BARRIER_ARM = "random direction", "odesteer_kernel"


def groups(part: ode.ContrastSet) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Prompt labels of both classes."""
    return part.positive_groups, part.negative_groups


def fitted_fields(acts: ode.LayerActivations, seed: int) -> dict[str, ode.VectorField]:
    """The field of every method in `ARMS`, each fitted once."""
    names = dict.fromkeys(arm.method for arm in ARMS)
    return {name: ode.METHODS[name].fit(acts.positive, acts.negative, seed) for name in names}


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
        cls, barrier: ode.Barrier, parts: Sequence[ode.ContrastSet], acts: Sequence[ode.LayerActivations], seed: int
    ) -> Referee:
        """Fit and calibrate; `parts` and `acts` are those of the barrier, the densities and the calibration."""
        seen = [label for side in groups(parts[0]) for label in side]
        density, held_out = acts[1], acts[2]
        n = min(len(density.positive), len(density.negative)) * (FOLDS - 1) // FOLDS
        d = density.positive.shape[1]
        wanted = {"ambient": (candidates(n, d), False), "directional": (directional_candidates(n, d), False),
                  "tied": (directional_candidates(n, d), True)}  # fmt: skip
        pairs = {
            name: DensityPair(families, tied, FOLDS, seed)
            .fit(density.positive, density.negative, groups(parts[1]), seen)
            .calibrate(held_out.positive, held_out.negative, groups(parts[2]))
            for name, (families, tied) in wanted.items()
        }
        return cls(barrier.calibrate(held_out.positive, held_out.negative), pairs)

    def score(self, points: Float[Tensor, "steps_plus_1 n d"], labels: Sequence[int]) -> dict[str, PathScore]:
        """The path under every pair; prompts seen in a fit are refused."""
        h = self.barrier.value(points.double())
        return {name: score_path(pair, points, labels, h) for name, pair in self.pairs.items()}

    def frame(self, scores: dict[str, PathScore]) -> pd.DataFrame:
        """One row a step and prompt: the ambient score, h calibrated, and the two directional ones."""
        assert self.barrier.calibration is not None
        rows = scores["ambient"].frame()
        slope, intercept = self.barrier.calibration.slope, self.barrier.calibration.intercept
        columns = {"h_calibrated": slope * rows["h"] + intercept}
        for column in ("gain_per_radian", "gain_per_displacement"):
            columns[column] = pd.Series(getattr(scores["ambient"], column).flatten().numpy())
        for name in ("directional", "tied"):
            for column in ("log_positive", "log_negative", "log_ratio"):
                columns[f"{name}_{column}"] = pd.Series(getattr(scores[name], column).flatten().numpy())
        return rows.assign(**columns)
