"""Completions of every prompt, scored from the prompt's keys and values: one pass a completion, below a steer none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.benchmarks.scoring import tokenised
from analyses.effects.next_token import READ, read

if TYPE_CHECKING:
    from analyses.effects.steer import Steer


class Options:
    """Completions, a sequence a prompt.

    The prompt ends, and is steered, where `benchmarks.scoring.option_scores` has it.

    Raises:
        ValueError: a completion of which the tokenizer makes nothing.
    """

    def __init__(self, model: TransformerBridge, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> None:
        self.model, self.counts = model, [len(row) for row in options]
        rows = [tokenised(model, i, p, o) for i, (p, o) in enumerate(zip(prompts, options, strict=True))]
        heads = [own[0][3][: own[0][2]] for own in rows]
        tokens, mask = _padded([head.flip(0) for head in heads])
        #: every prompt up to its last token
        self.prompt = ode.collect_prefix(model, tokens.flip(1), mask.flip(1), start=-1)
        #: by number of the completion: the prompts that have it, and its tokens
        self.tails: list[tuple[list[int], list[Int[Tensor, " pos"]]]] = []
        for j in range(max(self.counts)):
            having = [i for i, count in enumerate(self.counts) if j < count]
            self.tails.append((having, [rows[i][j][3][rows[i][j][2] :] for i in having]))
        self._at: tuple[int, list[ode.Prefix]] | None = None

    @torch.no_grad()
    def log_likelihoods(self, steer: Steer | None) -> list[Float[np.ndarray, " options"]]:
        """Σ log p of every completion's tokens, nats, a row a prompt."""
        top = int(self.model.cfg.n_layers) - 1
        layer = top if steer is None else steer.layer
        found: list[list[float]] = [[] for _ in self.counts]
        for (having, tails), prefix in zip(self.tails, self._prefixes(layer), strict=True):
            if steer is None:
                final = prefix.residuals[top]
            else:
                some = steer if len(having) == len(self.counts) else steer.of(having)
                final = prefix.final(layer, some.residuals(prefix))
            for i, total in zip(having, self._sums(final, tails).tolist(), strict=True):
                found[i].append(total)
        return [np.array(row) for row in found]

    def _prefixes(self, layer: int) -> list[ode.Prefix]:
        """The prompts with each completion behind them, with the residuals of one layer; the last layer's are kept."""
        if self._at is None or self._at[0] != layer:
            self._at = (layer, [self._prefix(layer, *tail) for tail in self.tails])
        return self._at[1]

    def _prefix(self, layer: int, having: list[int], tails: list[Tensor]) -> ode.Prefix:
        prompt = self.prompt if len(having) == len(self.counts) else self.prompt.rows(having)
        behind, mask = _padded([tail[:-1] for tail in tails])  # from the last token nothing is asked
        prefix = prompt.followed_by(behind, mask) if behind.shape[1] else prompt
        # of the other layers nothing is kept but the shape: they would be most of the memory, and nobody asks for them
        kept = (x if i == layer else x.new_full((), torch.nan).expand(x.shape) for i, x in enumerate(prefix.residuals))
        return replace(prefix, residuals=tuple(kept))

    def _sums(self, final: Float[Tensor, "n pos d"], tails: list[Tensor]) -> Float[Tensor, " n"]:
        """Σ log p of the tails, read a few positions at a time."""
        tokens, mask = _padded(tails)
        flat, wanted = final.flatten(0, 1), tokens.flatten()
        rows = max(1, READ // int(self.model.cfg.d_vocab))
        parts: list[Tensor] = []
        for start in range(0, len(flat), rows):
            log_p = read(self.model, flat[start : start + rows]).log_softmax(-1).cpu()
            parts.append(log_p.gather(-1, wanted[start : start + rows, None]).squeeze(-1))
        return (torch.cat(parts).reshape(tokens.shape).double() * mask).sum(1)


def _padded(rows: Sequence[Int[Tensor, " pos"]]) -> tuple[Int[Tensor, "n pos"], Int[Tensor, "n pos"]]:
    """Rows padded on the right, and 1 where a token is real."""
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.nn.utils.rnn.pad_sequence([row.long() for row in rows], batch_first=True)
    return tokens, (torch.arange(tokens.shape[1]) < lengths[:, None]).long()
