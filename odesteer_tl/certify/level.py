"""Invariance in discrete time: does a path stay where h ≥ a level, on the whole of every step?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._display import Result, of, rows, spread
from odesteer_tl.barriers import Barrier, MergedBarrier
from odesteer_tl.barriers.merged import merged
from odesteer_tl.certify.arc import BASIS_ROUNDING, arc_polynomial, bernstein_values, split
from odesteer_tl.certify.circle import Circles
from odesteer_tl.certify.rise import Rise
from odesteer_tl.certify.steps import Steps, in_scale, require_path, tensor_of
from odesteer_tl.path import Path

if TYPE_CHECKING:
    import pandas as pd

#: the part of an arc not proved to rise is bounded below, and sampled, in this many parts
PARTS = 32


@dataclass(frozen=True, repr=False)
class LevelCertificate(Result):
    """Whether h stays at or above a level along each whole path. `certified` and `refuted` are both proofs.

    Attributes:
        certified: h ≥ level on every segment.
        refuted: h < level somewhere on the path.
        margin: a lower bound of h − level over the path.
        level: of each path.
    """

    certified: Bool[Tensor, "*batch"]
    refuted: Bool[Tensor, "*batch"]
    margin: Float[Tensor, "*batch"]
    level: Float[Tensor, "*batch"]

    def _facts(self) -> dict[str, object]:
        total = self.certified.numel()
        return {
            "paths certified": of(int(self.certified.sum()), total),
            "paths refuted": of(int(self.refuted.sum()), total),
            "margin of h": spread(self.margin),
            "level of h": spread(self.level),
        }

    def frame(self) -> pd.DataFrame:
        """One row a path (the batch, flattened)."""
        return rows(["row"], vars(self))


@torch.no_grad()
def certify_level(
    barrier: Barrier, points: Path | Float[Tensor, "steps_plus_1 *batch d"], level: float | None = None
) -> LevelCertificate:
    """Certify that a path never leaves {h ≥ level}: the barrier property, in discrete time.

    Args:
        barrier: a polynomial of the direction.
        points: a path solved with `record=True`, or realised points `[steps + 1, *batch, d]` with a batch axis.
        level: one for all paths; left out, each path's own start h(a₀).

    Returns:
        One verdict a path, with its margin above the level.

    Raises:
        ValueError: the barrier is no polynomial on the sphere, or the points are unusable.
    """
    if isinstance(barrier, MergedBarrier):
        return _of_members(barrier, points, level)
    if not isinstance(barrier, Barrier) or barrier.polynomial_degree is None:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"barrier is a {type(barrier).__name__}: no sound level certificate exists for this class")
    steps = Steps.of(in_scale(require_path(points, barrier.d_model)))
    circles = steps.circles(barrier)
    rise = Rise.of(circles, steps.turned.flatten())
    fields = level_held(circles, level_changes(steps, circles, rise), level)
    batch = tensor_of(points).shape[1:-1]
    return LevelCertificate(*(x.reshape(batch) for x in fields))


def level_held(circles: Circles, changes: tuple[Tensor, Tensor, Tensor], level: float | None) -> tuple[Tensor, ...]:
    """The fields of `LevelCertificate`, each [n], from how h changes on every step."""
    rises, fall, dip = changes
    height = circles.start - (circles.start[0] if level is None else level)
    error = circles.error + (circles.error[0] if level is None else 0.0)
    low, high = height - error, height + error
    if level is None:
        # where every step before was proved to rise, h(a_k) ≥ h(a₀) needs no arithmetic
        risen = torch.cat([torch.ones_like(rises[:1]), rises[:-1].cummin(0).values])
        low = torch.where(risen, low.clamp_min(0), low)
    margin = (low + fall).amin(0)
    refuted = (high + dip < 0).any(0)
    levels = circles.start[0] if level is None else torch.full_like(margin, level)
    return (margin >= 0) & ~refuted, refuted, margin, levels


def _of_members(barrier: MergedBarrier, points: Path | Tensor, level: float | None) -> LevelCertificate:
    """Of a merged barrier: the smooth minimum of its members' lower bounds is a lower bound of it."""
    start = tensor_of(points)[0].double()
    if level is None:
        # no member lower than it was: then the merged barrier is not, without any arithmetic
        kept = torch.stack([certify_level(member, points).certified for member in barrier.members]).all(0)
        margin = torch.where(kept, 0.0, torch.full_like(barrier.value(start), -torch.inf))
        return LevelCertificate(kept, torch.zeros_like(kept), margin, barrier.value(start))
    parts = [certify_level(member, points, 0.0).margin for member in barrier.members]
    low = merged(torch.stack(parts, dim=-1), barrier.kappa)
    rounding = 64 * torch.finfo(torch.float64).eps * len(parts) * (1 + low.abs() + abs(level))
    margin = low - level - rounding
    return LevelCertificate(
        margin >= 0, torch.zeros_like(margin, dtype=torch.bool), margin, torch.full_like(low, level)
    )


def level_changes(
    steps: Steps, circles: Circles, rise: Rise
) -> tuple[Bool[Tensor, "K n"], Float[Tensor, "K n"], Float[Tensor, "K n"]]:
    """Of every step: whether h is proved to rise (or stay) on all of it, a lower bound of h − h(start), and an upper
    bound of its minimum."""
    shape = steps.radius.shape
    angle = steps.turned.flatten()
    degree = circles.degree
    repeated = (steps.move == 0).all(-1).flatten()
    lost = steps.lost.flatten()
    untold = steps.stationary.flatten() | lost
    rises = (rise.whole & ~untold) | repeated

    cosines, sines = circles.cosines.flatten(0, 1).clone(), circles.sines.flatten(0, 1)
    margin = 2**degree * (2 * circles.error.flatten() + BASIS_ROUNDING * (cosines.abs().sum(1) + sines.abs().sum(1)))
    cosines[:, 0] -= circles.start.flatten()
    change = arc_polynomial(cosines, sines, angle)
    _, rest = split(change, rise.proved)
    cuts = torch.linspace(0, 1, PARTS + 1, dtype=angle.dtype, device=angle.device)
    # (1 + t²)ᵖ h is what is bounded: a negative bound is divided by the least scale of its part (t = 0 may lie inside)
    t = _tangent(angle, rise.proved, cuts)
    least = torch.where(t[:, :-1] * t[:, 1:] > 0, torch.minimum(t[:, :-1] ** 2, t[:, 1:] ** 2), 0.0)
    lowest, ahead = torch.full_like(angle, torch.inf), rest
    for i in range(PARTS):
        part, ahead = split(ahead, torch.full_like(angle, 1 / (PARTS - i)))
        lowest = torch.minimum(lowest, (part.amin(1) - margin) / (1 + least[:, i]) ** degree)
    # before the cut h rose: behind it, a bound above the start changes nothing
    fall = lowest.clamp_max(0)
    # a move through the origin, or too short to have a direction, tells nothing of where between
    fall = torch.where(untold, -torch.inf, fall)
    tried = torch.cat([2.0 ** -torch.arange(1, 30, dtype=angle.dtype), cuts.cpu()]).to(angle)
    dip = (bernstein_values(rest, tried) / (1 + _tangent(angle, rise.proved, tried) ** 2) ** degree).amin(1) + margin
    # (of a move through the origin its end alone)
    dip = torch.where(lost, circles.half_turn.flatten(), dip).clamp_max(0)  # of the start itself
    dip = torch.where(rises | steps.stationary.flatten(), 0.0, dip)
    fall = torch.where(rises, 0.0, fall)
    return rises.reshape(shape), fall.reshape(shape), dip.reshape(shape)


def _tangent(
    angle: Float[Tensor, " n"], proved: Float[Tensor, " n"], cuts: Float[Tensor, " c"]
) -> Float[Tensor, "n c"]:
    """t = tan(ψ/2) at fractions of what lies behind the proved part of each arc."""
    return (angle / 4).tan()[:, None] * (2 * (proved[:, None] + (1 - proved[:, None]) * cuts) - 1)
