"""Position rules: which tokens of a forward pass are steered, the same with and without a KV cache.

Under generation a hook sees the whole prompt once and then one token at a time (with a cache), or ever longer
sequences (without). A rule is therefore stated in absolute positions, counted from the start of the padded prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from odesteer_tl._check import require_one_of

PositionFn = Callable[[Int[Tensor, " pos"], int | None], Bool[Tensor, " pos"]]


@dataclass(frozen=True)
class PositionRule:
    """Which absolute positions to steer.

    Attributes:
        name: as given to `Steerer(positions=…)`.
        select: `(absolute positions, prompt length) → mask`.
        needs_prompt: whether the prompt length must be known.
        needs_offset: whether the number of cached tokens must be known. "generated" does without: a pass at least as
            long as the prompt starts at its beginning, and in a shorter one every token is a generated one.
    """

    name: str
    select: PositionFn
    needs_prompt: bool
    needs_offset: bool

    def mask(self, length: int, offset: int, prompt_length: int | None) -> Bool[Tensor, " pos"]:
        """The mask over a forward pass of `length` tokens after `offset` cached ones."""
        return self.select(torch.arange(offset, offset + length), prompt_length)


def _known(prompt_length: int | None) -> int:
    assert prompt_length is not None  # `Steerer.hooks` has refused by now
    return prompt_length


RULES: dict[str, PositionRule] = {
    # every token: prompt and generated
    "all": PositionRule("all", lambda at, _: torch.ones_like(at, dtype=torch.bool), False, False),
    # the last prompt token and every generated one (the paper's rule)
    "generated": PositionRule("generated", lambda at, p: at >= _known(p) - 1, True, False),
    # the prompt alone
    "prompt": PositionRule("prompt", lambda at, p: at < _known(p), True, True),
    # the last prompt token alone
    "last": PositionRule("last", lambda at, p: at == _known(p) - 1, True, True),
}


def position_rule(positions: str | PositionFn) -> PositionRule:
    """The rule of a name, or of a callable `(absolute positions, prompt length or None) → mask`."""
    if not isinstance(positions, str):
        return PositionRule(getattr(positions, "__name__", "callable"), positions, False, True)
    require_one_of("positions", positions, RULES)
    return RULES[positions]
