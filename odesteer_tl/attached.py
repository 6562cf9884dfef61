"""Functions attached to the blocks of a transformers model, at the places that TransformerLens has names for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from einops import rearrange
from torch import nn

HookFn = Callable[..., Any]
#: names of a block's attention and of its output projection, whose input are the heads
ATTENTION, PROJECTION = ("self_attn", "attn", "attention", "self_attention"), ("o_proj", "c_proj", "dense", "out_proj")


@contextmanager
def attached(
    blocks: Sequence[nn.Module], hooks: Iterable[tuple[str, HookFn]], heads: tuple[int, int]
) -> Generator[None]:
    """Functions attached to blocks of a transformers model, by TransformerLens's names.

    Args:
        heads: how many a block has, and how wide each is.

    Raises:
        ValueError: a name that is no hook point of a plain model.
    """
    with ExitStack() as stack:
        for name, fn in hooks:
            place = place_of(name)
            if place is None or not 0 <= place[0] < len(blocks):
                raise ValueError(
                    f"{name!r} is no hook point of a plain model, which has 'blocks.N.' + one of {', '.join(PLACES)}; "
                    "load it with odesteer_tl.load_model(name) for all of TransformerLens's"
                )
            layer, site = place
            handle = PLACES[site](blocks[layer], fn, heads)
            stack.callback(handle.remove)
        yield


def _at_output(block: nn.Module, fn: HookFn, heads: tuple[int, int]) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        x = output[0] if isinstance(output, tuple) else output
        changed = fn(x, hook=None)
        if changed is None or changed is x:
            return None
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return block.register_forward_hook(hook)


def _at_input(block: nn.Module, fn: HookFn, heads: tuple[int, int]) -> Any:
    def hook(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        x = args[0] if args else kwargs["hidden_states"]
        changed = fn(x, hook=None)
        if changed is None or changed is x:
            return None
        return ((changed, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": changed})

    return block.register_forward_pre_hook(hook, with_kwargs=True)


def _at_heads(block: nn.Module, fn: HookFn, heads: tuple[int, int]) -> Any:
    projection = projection_of(block)
    if projection is None:
        raise ValueError(f"{type(block).__name__} has no projection of its heads that is known; use the bridge")

    def hook(module: nn.Module, args: Any) -> Any:
        own = rearrange(args[0], "... (head d) -> ... head d", head=heads[0])
        changed = fn(own, hook=None)
        return None if changed is None else (rearrange(changed, "... head d -> ... (head d)"), *args[1:])

    return projection.register_forward_pre_hook(hook)


PLACES = {"hook_out": _at_output, "hook_in": _at_input, "hook_resid_pre": _at_input, "attn.hook_z": _at_heads}


def place_of(name: str) -> tuple[int, str] | None:
    """(layer, site) of a hook name, where a plain model has it."""
    parts = name.split(".", 2)
    known = len(parts) == 3 and parts[0] == "blocks" and parts[1].isdigit() and parts[2] in PLACES
    return (int(parts[1]), parts[2]) if known else None


def projection_of(block: nn.Module) -> nn.Module | None:
    """The module whose input are the heads of a block; None where it is not known."""
    found = [getattr(getattr(block, a), p) for a in ATTENTION if hasattr(block, a)
             for p in PROJECTION if hasattr(getattr(block, a), p)]  # fmt: skip
    return found[0] if len(found) == 1 else None
