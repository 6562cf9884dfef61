"""What is written back: is h at the rounded end no lower than at the start, as the model sees both?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._display import Result, of, rows, spread
from odesteer_tl._scale import directions, row_norms
from odesteer_tl.barriers import Barrier, FourierBarrier
from odesteer_tl.certify.chord import change_along_chords
from odesteer_tl.certify.circle import SAFETY, UNIT_ROUNDOFF
from odesteer_tl.certify.steps import Steps, in_scale, require_path

if TYPE_CHECKING:
    import pandas as pd

#: shares of the way at which a written end is tried, in this order
SHARES = (1.0, 0.9, 0.75, 0.5, 0.25, 0.1)


@dataclass(frozen=True, repr=False)
class WrittenCertificate(Result):
    """What is proved of h at the written end against h at the start. `proved` and `refuted` are both proofs.

    Attributes:
        proved: h(end) ≥ h(start).
        refuted: h(end) < h(start).
        rise: a lower bound of h(end) − h(start).

    It speaks of the two points alone, in exact arithmetic on the numbers as they stand in their dtype; of what lies
    between them `certify_path` speaks.
    """

    proved: Bool[Tensor, "*batch"]
    refuted: Bool[Tensor, "*batch"]
    rise: Float[Tensor, "*batch"]

    @property
    def unproved(self) -> Bool[Tensor, "*batch"]:
        """Unproved as written: neither proved nor refuted, within rounding of float64."""
        return ~(self.proved | self.refuted)

    def _facts(self) -> dict[str, object]:
        total = self.proved.numel()
        return {
            "proved no lower, as written": of(int(self.proved.sum()), total),
            "lower, as written": of(int(self.refuted.sum()), total),
            "unproved as written": of(int(self.unproved.sum()), total),
            "rise of h is at least": spread(self.rise),
        }

    def frame(self) -> pd.DataFrame:
        """One row a pair of points (the batch, flattened)."""
        return rows(["row"], {**vars(self), "unproved": self.unproved})


@torch.no_grad()
def certify_written(
    barrier: Barrier,
    start: Float[Tensor, "*batch d"],
    end: Float[Tensor, "*batch d"],
    dtype: torch.dtype | None = None,
) -> WrittenCertificate:
    """Certify the end to end form: h at the activation written back is no lower than at the one that was there.

    A flow is integrated, and certified, in float32 or float64; a model in bfloat16 is given its end rounded to eight
    bits, which may lower h by more than a short flow raised it.

    Args:
        barrier: any polynomial of the direction or a Fourier barrier, as for `certify_path`.
        start: the activations before, in the dtype of the model.
        end: the activations written, such as `path.end`, likewise.
        dtype: what both are rounded to first, such as `torch.bfloat16`; left out, they are taken as they are.

    Returns:
        A verdict for every row.

    Raises:
        ValueError: the barrier has no sound certificate, the shapes differ, or a point is zero or not finite.

    Example:
        >>> import torch
        >>> import odesteer_tl as ode
        >>> h = ode.QuadraticBarrier(A=torch.diag(torch.tensor([1.0, -1.0])), b=torch.zeros(2), c=0.0)
        >>> a = torch.tensor([[3.0, 4.0]], dtype=torch.bfloat16)
        >>> path = ode.Flow(angle=0.1).solve(ode.BarrierField(h), a)
        >>> bool(ode.certify_written(h, a, path.end).proved)
        True
    """
    if start.shape != end.shape:
        raise ValueError(
            f"start has shape {tuple(start.shape)} and end {tuple(end.shape)}; pass rows of the same paths"
        )
    if dtype is not None:
        start, end = start.to(dtype), end.to(dtype)
    if isinstance(barrier, FourierBarrier):
        bounds = partial(change_along_chords, barrier)
    elif isinstance(barrier, Barrier) and barrier.polynomial_degree is not None:  # pyright: ignore[reportUnnecessaryIsInstance]
        bounds = partial(_change, barrier)
    else:
        raise ValueError(f"barrier is a {type(barrier).__name__}: no sound certificate exists for this class")
    low, high = bounds(require_path(torch.stack([start.double(), end.double()]).unsqueeze(1), barrier.d_model))
    low, high = low.reshape(start.shape[:-1]), high.reshape(start.shape[:-1])
    return WrittenCertificate(low >= 0, high < 0, low)


@torch.no_grad()
def hold_back(
    barrier: Barrier, start: Float[Tensor, "*batch d"], end: Float[Tensor, "*batch d"]
) -> tuple[Float[Tensor, "*batch d"], Bool[Tensor, "*batch"]]:
    """The furthest point found from `start` to `end` at which h, as written, is proved no lower than at the start.

    The start itself, which is written as it was, is one such point, so there is always an answer.

    Args:
        start: in the dtype of the model, which what is written has too.
        end: where the flow ended, float64.

    Returns:
        What to write, and where that is not `end` rounded.
    """
    return hold_back_where(lambda here, there: certify_written(barrier, here, there).proved, start, end)


@torch.no_grad()
def hold_back_where(
    holds: Callable[[Tensor, Tensor], Tensor], start: Float[Tensor, "*batch d"], end: Float[Tensor, "*batch d"]
) -> tuple[Float[Tensor, "*batch d"], Bool[Tensor, "*batch"]]:
    """`hold_back` for anything that may be proved of a step: `holds(starts [n, d], written ends [n, d]) → [n]`."""
    a, goal = start.reshape(-1, start.shape[-1]), end.reshape(-1, end.shape[-1])
    written = goal.to(a.dtype)
    held = torch.zeros(len(a), dtype=torch.bool, device=a.device)
    open_rows = torch.arange(len(a), device=a.device)
    for share in SHARES:
        if not len(open_rows):
            break
        here, exact = a[open_rows], goal[open_rows]
        there = (exact if share == 1 else _part_of_arc(here.double(), exact, share)).to(a.dtype)
        # (rounding to float16 may overflow)
        usable = (row_norms(there.double()) > 0) & there.isfinite().all(-1)
        there = torch.where(usable.unsqueeze(-1), there, here)
        proved = holds(here, there) & usable
        written[open_rows] = torch.where(proved.unsqueeze(-1), there, here)
        held[open_rows] = torch.tensor(share < 1, device=a.device) | ~proved
        open_rows = open_rows[~proved]
    return written.reshape(start.shape), held.reshape(start.shape[:-1])


def _part_of_arc(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], share: float) -> Float[Tensor, "n d"]:
    """The point at a share of the great circle's arc from a to b, at the norm of a."""
    u, w = directions(a), directions(b)
    along = (u * w).sum(-1, keepdim=True)
    across = w - along * u
    width = across.norm(dim=-1, keepdim=True)
    phi = share * torch.atan2(width, along)
    side = across / width.clamp_min(torch.finfo(torch.float64).tiny)
    return (phi.cos() * u + phi.sin() * side) * row_norms(a).unsqueeze(-1)


def _change(barrier: Barrier, paths: Float[Tensor, "2 n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Bounds of h(end) − h(start) from below and above, of a polynomial on the sphere."""
    steps = Steps.of(in_scale(paths))
    circles = steps.circles(barrier)
    cosines, sines, angle = circles.cosines[0], circles.sines[0], steps.turned[0]
    turn = torch.arange(circles.degree + 1, dtype=angle.dtype, device=angle.device) * angle[:, None]
    # cos kφ − 1 without its cancellation, so that the change of a short move has the error of a short move
    parts = torch.cat([-2 * (turn / 2).sin() ** 2 * cosines, turn.sin() * sines], dim=1)
    change = parts.sum(1)
    error = torch.minimum(angle * circles.slope_error[0], 2 * circles.error[0])
    error = 2 * error + SAFETY * UNIT_ROUNDOFF * parts.abs().sum(1) + steps.turn_error[0] * circles.curvature[0]
    low, high = change - error, change + error
    # of a move through the origin, and of one too short to have a direction, the plane cannot be told
    lost, stationary = steps.lost[0], steps.stationary[0]
    odd, even = cosines[:, 1::2].sum(1), circles.error[0]
    low = torch.where(lost, -2 * (odd + even), torch.where(stationary, -steps.turn_error[0] * _steepest(barrier), low))
    high = torch.where(lost, circles.half_turn[0], torch.where(stationary, torch.inf, high))
    same = (steps.move[0] == 0).all(-1)
    return torch.where(same, 0.0, low), torch.where(same, 0.0, high)


def _steepest(barrier: Barrier) -> float:
    """A bound of |dh/dφ| on every great circle."""
    return barrier.quadratic.curvature_bound if barrier.is_quadratic else barrier.slope_bound
