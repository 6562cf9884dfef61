"""Hook functions in TransformerLens's own idiom: `(name, fn)` pairs that steer in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields.base import VectorField
from odesteer_tl.flow import Flow, Path
from odesteer_tl.positions import PositionRule

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
) -> list[tuple[str, HookFn]]:
    """The hooks that steer one hook point.

    Where the rule must know how many tokens a KV cache already holds, a second hook reads it off the attention
    pattern of the same block, whose key axis is as much longer than its query axis: nothing is counted between
    calls, so the hooks may be used for any number of passes.

    Where a hook point has more axes than [batch, pos, width], such as heads, the field sees them flattened into one.

    Args:
        observe: called with every `Path` and the positions steered, so that nothing needs a second forward pass.
            Positions are absolute in a pass over the prompt; where the rule does not ask for the length of the KV
            cache, a later token is reported as the first one behind the prompt.
    """
    offset: list[int] = []

    def read_offset(pattern: Float[Tensor, "batch head query key"], hook: Any) -> None:
        offset[:] = [pattern.shape[-1] - pattern.shape[-2]]

    def steer(x: Float[Tensor, "batch pos *width"], hook: Any) -> Float[Tensor, "batch pos *width"]:
        if rule.needs_offset:
            if not offset:
                raise ValueError(
                    f"positions={rule.name!r} must know the length of the KV cache, but {pattern_hook(hook_name)!r} "
                    "did not fire on this model; use positions='generated' or 'all'"
                )
            start = offset.pop()
        else:
            start = 0 if prompt_length is None or x.shape[1] >= prompt_length else prompt_length
        mask = rule.mask(x.shape[1], start, prompt_length)
        if not bool(mask.any()):
            return x
        chosen = mask.nonzero().squeeze(1).to(x.device)
        path = flow.solve(field, x[:, chosen].flatten(2), record=observe is not None)
        if observe is not None:
            observe(path, chosen + start)
        end = path.end.unflatten(-1, x.shape[2:])
        if len(chosen) == x.shape[1]:
            return end
        steered = x.clone()
        steered[:, chosen] = end
        return steered

    pairs: list[tuple[str, HookFn]] = [(hook_name, steer)]
    return [(pattern_hook(hook_name), read_offset), *pairs] if rule.needs_offset else pairs


def pattern_hook(hook_name: str) -> str:
    """The attention pattern of the block a hook belongs to (of the first block for a hook outside the blocks)."""
    parts = hook_name.split(".")
    block = parts[1] if parts[0] == "blocks" else "0"
    return f"blocks.{block}.attn.hook_pattern"
