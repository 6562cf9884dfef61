"""Next-token distributions at many positions, read a few rows at a time so that the vocabulary is never held whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from odesteer_tl.blocks import unembed
from odesteer_tl.plain import Model

#: numbers in the logits of one reading; in those of which a statistic is taken at a time, which stay in a processor's
#: cache; and in unsteered ones that are kept, 400 MB at most, as a scan of strengths would read them some fifteen
#: times. A large vocabulary's unembedding takes twice as long 16 rows at a time as 128
READ, TAKEN, KEPT = 2**25, 2**21, 10**8

#: of steered and unsteered logits [m, vocab], one number a row
Statistic = Callable[[Tensor, Tensor], Tensor]


class NextToken:
    """The unsteered next-token distributions at some positions, as the stream after the last block.

    Args:
        final: resid_post of the last block.
    """

    def __init__(self, model: Model, final: Float[Tensor, "n pos d"]) -> None:
        self.model, self.final = model, final
        #: logits at the first positions of the whole, shared with what is of some rows
        self._first: list[Tensor] = []
        self._rows = torch.arange(len(final))

    def rows(self, rows: Sequence[int]) -> NextToken:
        """The same for some of the rows."""
        index = torch.tensor(rows)
        some = NextToken(self.model, self.final[index])
        some._first, some._rows = self._first, self._rows[index]
        return some

    def compare(
        self, final: Float[Tensor, "n pos d"] | None, statistics: Sequence[Statistic]
    ) -> list[Float[Tensor, "n pos"]]:
        """Statistics of the steered and the unsteered distribution at every position, float64 on the CPU.

        Args:
            final: steered; None means that nothing is.
        """
        parts: list[list[Tensor]] = [[] for _ in statistics]
        n, length = self.final.shape[:2]
        plain = rearrange(self.final, "n pos d -> (n pos) d")
        numbers = rearrange(self._rows[:, None] * length + torch.arange(length), "n pos -> (n pos)")
        steered = None if final is None else rearrange(final, "n pos d -> (n pos) d")
        size, taken = (max(1, most // int(self.model.cfg.d_vocab)) for most in (READ, TAKEN))
        for start in range(0, n * length, size):
            rows = slice(start, start + size)
            reference = self._unsteered(numbers[rows], plain[rows])
            logits = reference if steered is None else read(self.model, steered[rows])
            for some, others in zip(logits.split(taken), reference.split(taken), strict=True):
                for part, statistic in zip(parts, statistics, strict=True):
                    part.append(statistic(some, others).cpu())
        return [rearrange(torch.cat(part), "(n pos) -> n pos", n=n, pos=length) for part in parts]

    def _unsteered(self, numbers: Int[Tensor, " m"], plain: Float[Tensor, "m d"]) -> Float[Tensor, "m vocab"]:
        """Unsteered logits at positions of these numbers, of which the first are kept once all of them were read."""
        kept = len(self._first[0]) if self._first else 0
        if int(numbers.max()) < kept:
            return self._first[0][numbers]
        logits = read(self.model, plain)
        following = torch.equal(numbers, torch.arange(kept, kept + len(numbers)))
        if following and (kept + len(numbers)) * logits.shape[1] <= KEPT:
            self._first[:] = [torch.cat([*self._first, logits])]
        return logits


def read(model: Model, final: Float[Tensor, "m d"]) -> Float[Tensor, "m vocab"]:
    """Logits of single positions."""
    return unembed(model, final[:, None])[:, 0].float()
