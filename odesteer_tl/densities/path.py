"""Densities along a path: where steering leads, how far it is worth going, and when it leaves the data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odesteer_tl import stats
from odesteer_tl._check import require_finite, require_width
from odesteer_tl._display import Result, of, rows
from odesteer_tl.densities.pair import DensityPair
from odesteer_tl.densities.splits import Splits

if TYPE_CHECKING:  # a saved field may hold a density where there is no pandas
    import pandas as pd

#: the rank of log p₊ among held-out positives below which a point is off their data
EXIT_RANK = 0.025


@dataclass(frozen=True, eq=False, repr=False)
class PathScore(Result):
    """A path under p₊ and p₋; step 0 is the unsteered activation.

    Attributes:
        log_positive, log_negative: log p₊ and log p₋ in nats.
        log_ratio: the recalibrated log p₊/p₋, in nats.
        rank: share of held-out positives whose log p₊ is no higher (0: off the data; 1: more typical than any).
        slope: ⟨v, ∇log p₊⟩ in nats a step, v the path's velocity a step.
        angle: radians between a point and its start.
        displacement: distance between a point and its start, in activation units.
        relative_mahalanobis: squared distance to the positives less that to all activations (Ren et al. 2021).
        h: the barrier along the path, if it was given.
        splits: the prompts of all four splits.
        groups: the prompt of each path; several paths of one prompt are one unit.
    """

    log_positive: Float[Tensor, "steps_plus_1 n"]
    log_negative: Float[Tensor, "steps_plus_1 n"]
    log_ratio: Float[Tensor, "steps_plus_1 n"]
    rank: Float[Tensor, "steps_plus_1 n"]
    slope: Float[Tensor, "steps_plus_1 n"]
    angle: Float[Tensor, "steps_plus_1 n"]
    displacement: Float[Tensor, "steps_plus_1 n"]
    relative_mahalanobis: Float[Tensor, "steps_plus_1 n"]
    h: Float[Tensor, "steps_plus_1 n"] | None
    splits: Splits
    groups: tuple[int, ...]

    @property
    def typicality(self) -> Float[Tensor, "steps_plus_1 n"]:
        """Two-sided rank of log p₊ among held-out positives, 2·min(rank, 1 − rank)."""
        return 2 * torch.minimum(self.rank, 1 - self.rank)

    @property
    def outside(self) -> Bool[Tensor, "steps_plus_1 n"]:
        """Where log p₊ is below that of 97.5 % of held-out positives."""
        return self.rank < EXIT_RANK

    @property
    def exit_step(self) -> Float[Tensor, " n"]:
        """The first step outside after one inside; NaN for a path that never leaves, or was never inside."""
        return _first(torch.cat([torch.zeros_like(self.outside[:1]), self.outside[1:] & ~self.outside[:-1]]))

    @property
    def peak_step(self) -> Int[Tensor, " n"]:
        """The step at which log p₊ is highest."""
        return self.log_positive.argmax(0)

    @property
    def turning_step(self) -> Float[Tensor, " n"]:
        """T* in steps: where ⟨v, ∇log p₊⟩ first turns from rising to falling, interpolated.

        0 where log p₊ falls from the start, NaN where it never stops rising.
        """
        before, after = self.slope[:-1], self.slope[1:]
        step = _first((before > 0) & (after <= 0))
        at = step.nan_to_num().long().unsqueeze(0)
        high, low = before.gather(0, at)[0], after.gather(0, at)[0]
        return torch.where(self.slope[0] <= 0, 0.0, step + high / (high - low))

    def population_peak(self, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> stats.Estimate:
        """T* of the population in steps: where the mean of log p₊ over prompts peaks, with a bootstrap interval.

        The interval resamples whole prompts, and reaches to the neighbouring steps, between which the peak may lie.

        Raises:
            ValueError: fewer than 5 prompts, or fewer than 2 steps.
        """
        curves = self.log_positive.mT.cpu().numpy()
        return stats.peak(curves, range(curves.shape[1]), level, resamples, seed, np.array(self.groups))

    @property
    def change_positive(self) -> Float[Tensor, "steps_plus_1 n"]:
        """What log p₊ gained since the start, nats."""
        return self.log_positive - self.log_positive[:1]

    @property
    def change_negative(self) -> Float[Tensor, "steps_plus_1 n"]:
        """What log p₋ gained since the start, nats."""
        return self.log_negative - self.log_negative[:1]

    @property
    def toward_positive(self) -> Bool[Tensor, "steps_plus_1 n"]:
        """Which of the two moved the ratio: True where p₊ rose by at least as much as p₋ fell."""
        return self.change_positive >= -self.change_negative

    @property
    def gain_per_radian(self) -> Float[Tensor, "steps_plus_1 n"]:
        """Gain of the log-ratio per radian between point and start, nats (NaN at the start)."""
        return (self.log_ratio - self.log_ratio[:1]) / self.angle

    @property
    def gain_per_displacement(self) -> Float[Tensor, "steps_plus_1 n"]:
        """Gain of the log-ratio per unit of displacement, nats (NaN at the start)."""
        return (self.log_ratio - self.log_ratio[:1]) / self.displacement

    @property
    def over_steering(self) -> Bool[Tensor, "steps n"]:
        """The steps on which log p₊ falls while h rises.

        Raises:
            ValueError: the path was scored without h.
        """
        return (self.log_positive.diff(dim=0) < 0) & (self._h.diff(dim=0) > 0)

    @property
    def over_steered(self) -> Bool[Tensor, " n"]:
        """The paths that end with less log p₊ and more h than they had where log p₊ peaked.

        Raises:
            ValueError: the path was scored without h.
        """
        at = self.peak_step.unsqueeze(0)
        fallen = self.log_positive[-1] < self.log_positive.gather(0, at)[0]
        return fallen & (self._h[-1] > self._h.gather(0, at)[0])

    @property
    def _h(self) -> Tensor:
        if self.h is None:
            raise ValueError("h is None: over-steering compares log p₊ with a barrier; pass h to score_path")
        return self.h

    def _facts(self) -> dict[str, object]:
        steps, n = self.log_positive.shape
        change = {"+": self.change_positive, "−": self.change_negative}
        return {
            "paths × steps": f"{n} × {steps - 1}",
            "mean angle at the end (rad)": float(self.angle[-1].mean()),
            **{f"mean change of log p{sign} (nats)": float(x[-1].mean()) for sign, x in change.items()},
            "step at which mean log p+ peaks": int(self.log_positive.mean(1).argmax()),
            "left the data of the positives": of(int((~self.exit_step.isnan()).sum()), n),
            "over-steered": "h was not given" if self.h is None else of(int(self.over_steered.sum()), n),
        }

    def frame(self) -> pd.DataFrame:
        """One row a step and prompt."""
        names = ("log_positive", "log_negative", "log_ratio", "rank", "typicality", "outside", "toward_positive",
                 "slope", "angle", "displacement", "relative_mahalanobis", "h")  # fmt: skip
        return rows(["step", "prompt"], {name: getattr(self, name) for name in names})


@torch.no_grad()
def score_path(
    pair: DensityPair,
    points: Float[Tensor, "steps_plus_1 n d"],
    groups: Iterable[int],
    h: Float[Tensor, "steps_plus_1 n"] | None = None,
) -> PathScore:
    """Score recorded points (`Path.points`) under a calibrated pair.

    Args:
        groups: the prompt of each path; recorded as the test split, and what intervals resample.
        h: a barrier's value at the points, for the over-steering flags.

    Returns:
        The log-ratio and both log-densities along every path, T*, exit and over-steering.

    Raises:
        ValueError: the pair is not calibrated, a prompt was seen by the barrier, the densities or the calibration, or
            points or h are not finite or do not fit.
    """
    labels = [int(g) for g in groups]
    if points.ndim != 3 or len(points) < 2 or len(labels) != points.shape[1]:
        raise ValueError(
            f"points has shape {tuple(points.shape)} and groups {len(labels)} labels; pass recorded points "
            "[steps + 1, n, d_model] with steps ≥ 1 and one prompt label a path"
        )
    require_width("points", points, pair.positive.d_model)
    require_finite("points", points)
    if h is not None:
        require_finite("h", h)
        if h.shape != points.shape[:2]:
            raise ValueError(f"h has shape {tuple(h.shape)}; it needs one value a point, {tuple(points.shape[:2])}")
    splits, calibration = pair.splits.extended("test", labels), pair.calibrated
    rows: dict[str, list[Tensor]] = {}
    for t in range(len(points)):  # a step at a time: a float64 copy of all points would be the peak of memory
        for name, x in _at_step(pair, points, t).items():
            rows.setdefault(name, []).append(x)
    curves = {name: torch.stack(x) for name, x in rows.items()}
    ratio = calibration.slope * (curves["log_positive"] - curves["log_negative"]) + calibration.intercept
    rank = calibration.rank(curves["log_positive"])
    heights = None if h is None else h.double()
    return PathScore(**curves, log_ratio=ratio, rank=rank, h=heights, splits=splits, groups=tuple(labels))


def _at_step(pair: DensityPair, points: Tensor, t: int) -> dict[str, Float[Tensor, " n"]]:
    """What is computed of each point on its own."""
    a, start = points[t].double(), points[0].double()
    before, after = max(t - 1, 0), min(t + 1, len(points) - 1)
    velocity = (points[after].double() - points[before].double()) / (after - before)
    u, v = (x / x.norm(dim=-1, keepdim=True) for x in (a, start))
    return {
        "log_positive": pair.log_positive(a),
        "log_negative": pair.log_negative(a),
        "slope": (velocity * pair.positive.gradient(a)).sum(-1),
        "angle": 2 * torch.atan2((u - v).norm(dim=-1), (u + v).norm(dim=-1)),
        "displacement": (a - start).norm(dim=-1),
        "relative_mahalanobis": pair.relative_mahalanobis(a),
    }


def _first(flags: Bool[Tensor, "steps n"]) -> Float[Tensor, " n"]:
    """The first row that is True in each column, NaN where none is."""
    return torch.where(flags.any(0), flags.int().argmax(0).double(), torch.nan)
