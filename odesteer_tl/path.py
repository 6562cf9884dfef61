"""The path: what a solve returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._display import Result, of, rows
from odesteer_tl._scale import directions, row_norms

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Path(Result):
    """What a solve returns.

    Attributes:
        end: the end points, in the dtype of the activations: what is written back.
        points: all points of the path if it was recorded, in the dtype that was integrated in.
        n_evaluations: evaluations of the field per activation (fewer than the steps where these are extrapolated).
        stationary: where the path ended at a numerical fixed point of the field.
        held_back: of the certified flow, where `end` is short of the path's last point, since that point, rounded to
            the dtype of the activations, was not proved no lower than the start. `end` itself is proved to be, in
            every row. None for every other method: its `end` is unproved as written (`certify_written` asks).
        reached: where a path to a level arrived at it; None for a path of a given length.
    """

    end: Float[Tensor, "*batch d"]
    points: Float[Tensor, "steps_plus_1 *batch d"] | None
    n_evaluations: int
    stationary: Bool[Tensor, "*batch"]
    held_back: Bool[Tensor, "*batch"] | None = None
    reached: Bool[Tensor, "*batch"] | None = None

    def _facts(self) -> dict[str, object]:
        total = self.stationary.numel()
        held = self.held_back
        written = "unproved" if held is None else f"proved no lower; {of(int(held.sum()), total)} held back for it"
        return {
            "end": self.end,
            "points": "not recorded" if self.points is None else self.points,
            "evaluations of the field": self.n_evaluations,
            "ended at a fixed point": of(int(self.stationary.sum()), total),
            "h at the end as written": written,
            **({} if self.reached is None else {"reached the level": of(int(self.reached.sum()), total)}),
        }

    def frame(self) -> pd.DataFrame:
        """One row a point and activation of a recorded path, else one an activation, at its end.

        Columns: `step` (of a recorded path), `row` (the batch, flattened), `norm` in activation units, `angle` from the
        start in radians (of a recorded path), and of the whole path `stationary`, `held_back` and `reached`.
        """
        flags = {"stationary": self.stationary, "held_back": self.held_back, "reached": self.reached}
        if self.points is None:
            return rows(["row"], {"norm": row_norms(self.end.double()), **flags})
        u = directions(self.points.double())
        angle = 2 * torch.atan2((u - u[:1]).norm(dim=-1), (u + u[:1]).norm(dim=-1))
        along = {name: None if x is None else x.expand(angle.shape) for name, x in flags.items()}
        return rows(["step", "row"], {"norm": row_norms(self.points.double()), "angle": angle, **along})
