"""Prompts in batches, each up to its last token once, however many layers and methods go on from there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

import odesteer_tl as ode
from odesteer_tl._tokens import left_padded, tokens_of
from odesteer_tl.plain import Model

#: prompts a pass, and batches whose keys and values are kept: memory does not grow with what comes behind them
BATCH, KEPT = 64, 4


class Prompted:
    """Prompts and, a batch at a time, their keys, values and residuals up to their last token.

    Args:
        size: prompts a batch.

    Raises:
        ValueError: no prompts, or one that the model cannot read.
    """

    def __init__(self, model: Model, prompts: Sequence[str], size: int = BATCH) -> None:
        self.model, self.prompts, self.size = model, list(prompts), size
        self._tokens: list[Int[Tensor, " _"]] = tokens_of(model, "prompts", self.prompts)
        self._kept: dict[int, ode.Prefix] = {}

    @property
    def n_tokens(self) -> int:
        """Of all prompts."""
        return sum(len(row) for row in self._tokens)

    def __len__(self) -> int:
        return len(self.prompts)

    def __iter__(self) -> Iterator[tuple[int, ode.Prefix]]:
        """The first prompt's number and the batch, from its last token on."""
        for start in range(0, len(self.prompts), self.size):
            if start in self._kept:
                yield start, self._kept[start]
                continue
            tokens, mask = left_padded(self.model, self._tokens[start : start + self.size])
            prefix = ode.collect_prefix(self.model, tokens, mask, start=-1)
            if len(self._kept) < KEPT:
                self._kept[start] = prefix
            yield start, prefix

    def ends(self, layer: int) -> torch.Tensor:
        """resid_post of a layer at every prompt's last token, [prompts, d_model]."""
        return torch.cat([prefix.residuals[layer][:, -1] for _, prefix in self])
