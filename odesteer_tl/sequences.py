"""Sequences: what a hook remembers of the tokens before, for the fields that look at them.

Under a key-value cache a pass holds the new tokens alone. What reached the hook for the earlier ones, and what was
written in their place, is kept from the pass that held them, by column; a pass that begins without a cache begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl.fields.base import Seen, VectorField
from odesteer_tl.flow import Flow, Path
from odesteer_tl.passes import Pass


@dataclass
class Memory:
    """The tokens seen so far at one hook point; empty before the first pass."""

    seen: Seen | None = None

    def extended(self, told: Pass, x: Float[Tensor, "batch pos d"], moves: Bool[Tensor, "batch pos"]) -> Seen:
        """The texts up to the last token of this pass.

        Raises:
            ValueError: the cache holds tokens that this hook did not see.
        """
        real = told.real[:, : told.cached + told.length].to(x.device)
        # padding may hold anything, and is looked at by nobody
        x = torch.where(real[:, told.cached :, None], x, 0.0)
        if not told.cached:
            return Seen(x, x, real, moves)
        known = self.seen
        if known is None or known.states.shape[1] < told.cached or len(known.states) != len(x):
            held = "no tokens" if known is None else f"{known.states.shape[1]} tokens of {len(known.states)} texts"
            raise ValueError(
                f"the cache holds {told.cached} tokens of {len(x)} texts, but this hook saw {held}, and the steering "
                "depends on the tokens before; run the whole prompt under the same hooks, or without a cache"
            )
        before = [y[:, : told.cached] for y in (known.states, known.written, known.moves)]
        states, written = (torch.cat([y.to(x.dtype), x], dim=1) for y in before[:2])
        return Seen(states, written, real, torch.cat([before[2], moves], dim=1))

    def keep(self, seen: Seen, end: Float[Tensor, "batch pos d"]) -> None:
        """Remember a pass, with what was written for its tokens."""
        earlier = seen.written[:, : seen.written.shape[1] - end.shape[1]]
        written = torch.cat([earlier, torch.where(seen.real[:, earlier.shape[1] :, None], end, 0.0)], dim=1)
        self.seen = replace(seen, states=seen.states.detach(), written=written.detach())


def solve_in_context(flow: Flow, field: VectorField, seen: Seen, new: int, record: bool) -> Path:
    """The flow from the last `new` tokens of each text; where nothing is steered, NaN."""
    solve = {"previous": _one_by_one, "sequence": _together}[field.context]
    path = solve(flow, field, seen, new, record)
    keep = seen.moves[:, -new:]
    points = None if path.points is None else torch.where(keep[..., None], path.points, torch.nan)
    return replace(path, end=torch.where(keep[..., None], path.end, torch.nan), points=points)


def _together(flow: Flow, field: VectorField, seen: Seen, new: int, record: bool) -> Path:
    """All tokens of the texts at once, those before the new ones along their own paths."""
    path = flow.solve(field.within(seen), _filled(seen.states, seen.real), record)
    flags = {name: getattr(path, name) for name in ("stationary", "held_back", "reached")}
    return replace(
        path,
        end=path.end[:, -new:],
        points=None if path.points is None else path.points[:, :, -new:],
        **{name: x[:, -new:] for name, x in flags.items() if x is not None},
    )


def _one_by_one(flow: Flow, field: VectorField, seen: Seen, new: int, record: bool) -> Path:
    """One token after another, each told what was written for the one before (a text's first token: its own state)."""
    written, paths = seen.written, list[Path]()
    states = _filled(seen.states, seen.real)
    first = states.shape[1] - new
    for column in range(first, states.shape[1]):
        # (a column of its own: strengths are [batch, 1] or [batch, pos])
        here = states[:, column : column + 1]
        previous = here
        if column:
            before = slice(column - 1, column)
            previous = torch.where(seen.real[:, before, None], written[:, before], here)
        path = _of_column(flow, column - first).solve(field.after(previous.to(here.dtype)), here, record)
        paths.append(path)
        end = torch.where(seen.moves[:, column : column + 1, None], path.end, here)
        written = torch.cat([written[:, :column], end, written[:, column + 1 :]], dim=1)
    return _joined(paths)


def _of_column(flow: Flow, column: int) -> Flow:
    """The flow at one of the columns, where each has a strength of its own."""
    strength = flow.strength
    if not isinstance(strength, Tensor) or strength.ndim < 2 or strength.shape[-1] == 1:
        return flow
    return replace(flow, **{flow.unit: strength[..., column : column + 1]})


def _filled(states: Float[Tensor, "batch seq d"], real: Bool[Tensor, "batch seq"]) -> Float[Tensor, "batch seq d"]:
    """The states with a real one in the place of padding: a flow starts from no zero."""
    return torch.where(real[..., None], states, states[real][0])


def _joined(paths: list[Path]) -> Path:
    """Paths of columns as one path of all of them."""
    points = [path.points for path in paths]
    return replace(
        paths[0],
        end=torch.cat([path.end for path in paths], dim=1),
        points=None if points[0] is None else torch.cat([p for p in points if p is not None], dim=2),
        stationary=torch.cat([path.stationary for path in paths], dim=1),
        n_evaluations=max(path.n_evaluations for path in paths),
        **{
            name: torch.cat([getattr(path, name) for path in paths], dim=1)
            for name in ("held_back", "reached")
            if getattr(paths[0], name) is not None
        },
    )
