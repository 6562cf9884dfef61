"""What steers and what judges it, fitted once; or, where a contrast is too small to be split, once a rotation.

Of five blocks of groups, rotation k fits methods and barrier on two, densities on two others, and calibrates on the
block that is left, so that every text is left out once, of texts that no fit of its rotation saw. What is said of a
path is the mean over rotations, each with its own fields. Scores of all left-out texts together calibrate h and the
ratio of densities. A rank is among all left-out positives, each compared under the density of its own rotation: a
cross-conformal p-value (Vovk 2015, Ann. Math. Artif. Intell. 74, 9), which may reject true ones up to twice as often as
it says (Barber et al. 2021, Ann. Statist. 49, 486).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

import odesteer_tl as ode
from analyses.certification.texts import area
from analyses.likelihood.arms import ARMS, BARRIER_ARM, Arm, fitted_fields
from analyses.likelihood.referee import Referee
from odesteer_tl import stats
from odesteer_tl.barriers import Calibration
from odesteer_tl.densities import PathScore
from odesteer_tl.densities.calibration import Fit, PairCalibration, affine_log_ratio
from odesteer_tl.densities.splits import Splits

#: activations to fit methods on, to fit densities on, and to calibrate on
Rotation = tuple[ode.LayerActivations, ode.LayerActivations, ode.LayerActivations]
Fields = Mapping[str, ode.VectorField]
#: of a `PathScore`, what each rotation says in its own numbers
AVERAGED = ("log_positive", "log_negative", "log_ratio", "slope", "angle", "displacement", "relative_mahalanobis", "h")


@dataclass(frozen=True, eq=False)
class Jury:
    """Fields and referees.

    Attributes:
        members: of each rotation its fields, its referee and what that is calibrated on.
    """

    members: tuple[tuple[Fields, Referee, ode.LayerActivations], ...]

    @classmethod
    def fit(cls, rotations: Sequence[Rotation], seed: int) -> Jury:
        """Fit and calibrate.

        Raises:
            NoDifference: there is nothing to fit to.
        """
        members: list[tuple[Fields, Referee, ode.LayerActivations]] = []
        for barrier, density, held_out in rotations:
            fields = fitted_fields(barrier, seed)
            kernel = fields[BARRIER_ARM]
            assert isinstance(kernel, ode.BarrierField)
            members.append((fields, Referee.fit(kernel.barrier, barrier, density, seed), held_out))
        if len(members) == 1:
            fields, referee, held_out = members[0]
            return cls(((fields, referee.calibrated(held_out), held_out),))
        jury = cls(tuple(members))
        jury._calibrate(seed)
        return jury

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Those of `ARMS` whose method could be fitted in every rotation."""
        return tuple(arm for arm in ARMS if all(arm.method in fields for fields, _, _ in self.members))

    @property
    def calibration(self) -> Calibration:
        """Of h, the same for all."""
        found = self.members[0][1].barrier.calibration
        assert found is not None
        return found

    @property
    def reads(self) -> stats.Estimate:
        """How well h reads the texts it is calibrated on."""
        return area(*self._left_out_scores())

    def score(
        self, points: Callable[[Fields], Float[Tensor, "steps_plus_1 n d"]], labels: Sequence[int]
    ) -> dict[str, PathScore]:
        """Paths under every pair; prompts seen in a fit are refused.

        Args:
            points: the paths along a rotation's fields.
        """
        found = [referee.score(points(fields), labels) for fields, referee, _ in self.members]
        sizes = [len(held_out.positive) for _, _, held_out in self.members]
        return {name: pooled([scores[name] for scores in found], sizes) for name in found[0]}

    def frame(self, scores: dict[str, PathScore]) -> pd.DataFrame:
        """As `Referee.frame`."""
        return self.members[0][1].frame(scores)

    def _left_out_scores(self) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
        """h of every positive and negative text that it is calibrated on."""
        sides = [(held_out.positive, held_out.negative) for _, _, held_out in self.members]
        barriers = [referee.barrier for _, referee, _ in self.members]
        positive, negative = ([b.value(side[i].double()) for b, side in zip(barriers, sides, strict=True)]
                              for i in (0, 1))  # fmt: skip
        return torch.cat(positive), torch.cat(negative)

    def _calibrate(self, seed: int) -> None:
        """One map for all rotations, from the scores of all left-out texts."""
        groups = [held_out.groups for _, _, held_out in self.members]
        counts = [len({*chain(*(g[i] for g in groups if g is not None))}) for i in (0, 1)]
        calibration = Calibration.of(*self._left_out_scores(), (counts[0], counts[1]))
        for _, referee, _ in self.members:
            referee.barrier.calibration = calibration
        for name in self.members[0][1].pairs:
            parts = [(referee.pairs[name], held_out) for _, referee, held_out in self.members]
            ratios = [
                torch.cat([pair.raw_ratio(side(acts)) for pair, acts in parts]) for side in (_positive, _negative)
            ]
            slope, intercept = affine_log_ratio(*ratios)
            for pair, acts in parts:
                labels = acts.groups
                assert labels is not None
                fits = [Fit.of(density, of(acts), seed, side) for density, of, side in
                        zip((pair.positive, pair.negative), (_positive, _negative), labels, strict=True)]  # fmt: skip
                own = pair.log_positive(_positive(acts)).sort().values
                splits = pair.splits.extended("calibration", chain(*labels))
                pair.restore(pair.parts, splits, PairCalibration(slope, intercept, fits[0], fits[1], own), pair.table)


def _positive(acts: ode.LayerActivations) -> Tensor:
    return acts.positive.double()


def _negative(acts: ode.LayerActivations) -> Tensor:
    return acts.negative.double()


def pooled(scores: Sequence[PathScore], sizes: Sequence[int]) -> PathScore:
    """What several rotations say of the same prompts: means, and the rank among the held-out positives of all.

    Args:
        sizes: held-out positives of each rotation, of which each is left out of its own.
    """
    if len(scores) == 1:
        return scores[0]
    means: dict[str, Tensor] = {}
    for name in AVERAGED:
        values = [getattr(score, name) for score in scores]
        means[name] = torch.stack(values).mean(0)
    below = [(score.rank * (n + 2) - 1).round() for score, n in zip(scores, sizes, strict=True)]
    rank = (1 + torch.stack(below).sum(0)) / (sum(sizes) + 2)
    return replace(scores[0], **means, rank=rank, splits=Splits(test=scores[0].splits.test))
