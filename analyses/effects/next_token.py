"""Next-token distributions at many positions, read a few rows at a time so that the vocabulary is never held whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.blocks import unembed
from odesteer_tl.plain import Model

#: numbers in the logits of one reading, and in unsteered ones that are kept rather than read again
READ, KEPT = 2**22, 2**26

#: of steered and unsteered logits [m, vocab], one number a row
Statistic = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class NextToken:
    """The unsteered next-token distributions at some positions, as the stream after the last block.

    Args:
        final: resid_post of the last block.
    """

    model: Model
    final: Float[Tensor, "n pos d"]
    _kept: list[Tensor] = field(default_factory=list[Tensor], repr=False)

    @property
    def rows(self) -> int:
        """Positions read at once."""
        return max(1, READ // int(self.model.cfg.d_vocab))

    def compare(
        self, final: Float[Tensor, "n pos d"] | None, statistics: Sequence[Statistic]
    ) -> list[Float[Tensor, "n pos"]]:
        """Statistics of the steered and the unsteered distribution at every position, float64 on the CPU.

        Args:
            final: steered; None means that nothing is.
        """
        parts: list[list[Tensor]] = [[] for _ in statistics]
        plain = self.final.flatten(0, 1)
        for i, start in enumerate(range(0, len(plain), self.rows)):
            reference = self._plain(i, start)
            rows = slice(start, start + self.rows)
            logits = reference if final is None else read(self.model, final.flatten(0, 1)[rows])
            for part, statistic in zip(parts, statistics, strict=True):
                part.append(statistic(logits, reference).cpu())
        return [torch.cat(part).reshape(self.final.shape[:2]) for part in parts]

    def _plain(self, i: int, start: int) -> Float[Tensor, "m vocab"]:
        """The i-th reading of the unsteered logits, kept where all of them are few."""
        if i < len(self._kept):
            return self._kept[i]
        logits = read(self.model, self.final.flatten(0, 1)[start : start + self.rows])
        if self.final.shape[0] * self.final.shape[1] * int(self.model.cfg.d_vocab) <= KEPT:
            self._kept.append(logits)
        return logits


def read(model: Model, final: Float[Tensor, "m d"]) -> Float[Tensor, "m vocab"]:
    """Logits of single positions."""
    return unembed(model, final[:, None])[:, 0].float()
