"""The path: what a solve returns."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._display import Displayed, of


@dataclass(frozen=True, repr=False)
class Path(Displayed):
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
