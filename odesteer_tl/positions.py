"""Position rules: which tokens are steered, each told by where it stands in its own text.

A rule sees every row's own positions, whatever the padding, the cache and the way the prompt is cut into passes; where
the rows begin is what the model itself is told (`odesteer_tl.passes`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from odesteer_tl._check import require_one_of
from odesteer_tl.passes import Pass, Tokens

#: `(positions [batch, pos], prompt lengths [batch, 1] or None) → mask`, and if it takes a third argument: which tokens
#: are special
PositionFn = Callable[..., Bool[Tensor, "batch pos"]]


@dataclass(frozen=True)
class PositionRule:
    """Which tokens to steer.

    Attributes:
        name: as given to `Steerer(positions=…)`.
        select: `tokens → mask`; padding is left out whatever it says.
        needs_prompt: whether the prompt length must be known.
    """

    name: str
    select: Callable[[Tokens], Bool[Tensor, "batch pos"]]
    needs_prompt: bool

    def mask(self, told: Pass, prompt_length: int | None) -> Bool[Tensor, "batch pos"]:
        """The mask over the tokens of a forward pass, on the CPU.

        Raises:
            ValueError: a callable returned something else than a mask of that shape.
        """
        tokens = told.tokens(prompt_length)
        mask = self.select(tokens)
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != tokens.position.shape:  # pyright: ignore[reportUnnecessaryIsInstance]
            what = f"{mask.dtype} of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(
                f"positions={self.name} returned {what}; return a boolean mask of the positions' own shape, "
                f"{tuple(tokens.position.shape)}"
            )
        return mask & (tokens.position >= 0)


def _prompt(tokens: Tokens) -> Int[Tensor, "batch 1"]:
    assert tokens.prompt is not None  # `Steerer.hooks` has refused by now
    return tokens.prompt


RULES: dict[str, PositionRule] = {
    # every token, prompt and generated, but for the BOS: it is an attention sink, whose state is that of no text
    "all": PositionRule("all", lambda t: ~(t.special & (t.position == 0)), False),
    # and the BOS too
    "all_and_bos": PositionRule("all_and_bos", lambda t: t.position >= 0, False),
    # the last prompt token and every generated one (the paper's rule)
    "generated": PositionRule("generated", lambda t: t.position >= _prompt(t) - 1, True),
    # the prompt alone
    "prompt": PositionRule("prompt", lambda t: t.position < _prompt(t), True),
    # the last prompt token alone
    "last": PositionRule("last", lambda t: t.position == _prompt(t) - 1, True),
}


def position_rule(positions: str | PositionFn, argument: str = "positions") -> PositionRule:
    """The rule of a name, or of a callable.

    Args:
        positions: a name in `RULES`, or `(positions, prompt lengths) → mask`, of tensors [batch, pos] and [batch, 1]
            (None where no prompt length was given): each row's own positions from 0 on, −1 for padding, which is never
            steered. A callable with a third argument is also given which tokens are special, [batch, pos].
        argument: what the caller calls it, for the message.
    """
    if isinstance(positions, str):
        require_one_of(argument, positions, RULES)
        return RULES[positions]
    name, wants_special = getattr(positions, "__name__", "callable"), _arguments(positions) > 2

    def select(tokens: Tokens) -> Bool[Tensor, "batch pos"]:
        return positions(tokens.position, tokens.prompt, *([tokens.special] if wants_special else []))

    return PositionRule(name, select, False)


def _arguments(function: PositionFn) -> int:
    """How many arguments without a default a callable takes by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = inspect.signature(function).parameters.values()
    return sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in found)
