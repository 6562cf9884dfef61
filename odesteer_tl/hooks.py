"""Hook functions in TransformerLens's own idiom: `(name, fn)` pairs that steer in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl.conditions import Verdict
from odesteer_tl.fields.base import VectorField
from odesteer_tl.flow import Flow, Path
from odesteer_tl.passes import Pass, running_pass
from odesteer_tl.positions import PositionRule
from odesteer_tl.sequences import Memory, solve_in_context

HookFn = Callable[..., Any]
#: hooks for a (padded) prompt length
HooksFor = Callable[[int], list[tuple[str, HookFn]]]
Observer = Callable[[Path, Tensor], None]


def steering_hooks(
    hook_name: str,
    field: VectorField,
    flow: Flow,
    rule: PositionRule,
    prompt_length: int | None,
    observe: Observer | None = None,
    verdict: Verdict | None = None,
) -> list[tuple[str, HookFn]]:
    """The hooks that steer one hook point.

    Nothing is counted between calls, so the hooks may be used for any number of passes: where its tokens stand is read
    off what the model is told in each of them. Only a condition's verdict is kept, from the pass of a prompt to those
    that go on from its cache. Gradients pass through where they are enabled. For a field that looks at the tokens
    before, these are kept from pass to pass: continue one batch of texts at a time, its rows in their order (no beam
    search).

    Where a hook point has more axes than [batch, pos, width], such as heads, the field sees them flattened into one.

    Args:
        observe: called with every `Path` and the columns steered in any row, counted from the start of the padded
            prompt, so that nothing needs a second forward pass. A row not steered at a column is NaN there.
        verdict: of a condition, by which whole rows are left alone.
    """

    memory = Memory()

    def steer(x: Float[Tensor, "batch pos *width"], hook: Any = None) -> Float[Tensor, "batch pos *width"]:
        told = running_pass()
        mask = rule.mask(told, prompt_length)
        if mask.shape != x.shape[:2]:
            raise ValueError(
                f"{hook_name!r} carries {tuple(x.shape)}, but the pass has {told.batch} rows of {told.length} tokens; "
                "steer a hook point of shape [batch, pos, …] with no axis removed"
            )
        if verdict is not None:
            mask = verdict.applied(mask, told)
        if field.context:
            return _steered_in_context(flow, field, memory, told, x, mask, observe)
        columns = mask.any(0).nonzero().squeeze(1)
        if not len(columns):
            return x
        chosen, at = mask[:, columns].to(x.device), columns.to(x.device)
        whole = len(columns) == x.shape[1]
        before = x if whole else x[:, at]
        path = _solve(flow, field, before.flatten(2), chosen, observe is not None)
        if observe is not None:
            observe(path, at + told.cached)
        end = torch.where(_like(chosen, before), path.end.unflatten(-1, x.shape[2:]), before)
        return end if whole else x.index_copy(1, at, end)

    asked = [] if verdict is None else [(verdict.condition.hook_name, verdict.ask)]
    return [*asked, (hook_name, steer)]


def _steered_in_context(
    flow: Flow,
    field: VectorField,
    memory: Memory,
    told: Pass,
    x: Float[Tensor, "batch pos *width"],
    mask: Bool[Tensor, "batch pos"],
    observe: Observer | None,
) -> Float[Tensor, "batch pos *width"]:
    """What is written for the tokens of a pass by a field that looks at those before."""
    a, moves = x.flatten(2), mask.to(x.device)
    seen = memory.extended(told, a, moves)
    if not bool(moves.any()):
        memory.keep(seen, a)
        return x
    path = solve_in_context(flow, field, seen, told.length, observe is not None)
    end = torch.where(moves[..., None], path.end, a)
    memory.keep(seen, end)
    if observe is not None:
        columns = moves.any(0).nonzero().squeeze(1)
        points = None if path.points is None else path.points[:, :, columns]
        part = replace(path, end=path.end[:, columns], points=points, stationary=path.stationary[:, columns])
        observe(part, columns + told.cached)
    return end.unflatten(-1, x.shape[2:])


def _solve(
    flow: Flow, field: VectorField, a: Float[Tensor, "batch pos d"], chosen: Bool[Tensor, "batch pos"], record: bool
) -> Path:
    """The flow from every activation that is chosen; NaN where one is not."""
    if bool(chosen.all()):
        return flow.solve(field, a, record=record)
    # padding holds what no text holds, and may not even be finite: a chosen activation goes through in its place
    path = flow.solve(field, torch.where(chosen[..., None], a, a[chosen][0]), record=record)
    keep = chosen[..., None]
    points = None if path.points is None else torch.where(keep, path.points, torch.nan)
    return replace(path, end=torch.where(keep, path.end, torch.nan), points=points)


def _like(chosen: Bool[Tensor, "batch pos"], x: Tensor) -> Tensor:
    return chosen.reshape(*chosen.shape, *[1] * (x.ndim - 2))
