"""Completions of every prompt, scored from the prompt's keys and values: nothing that they share is run twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.benchmarks.scoring import tokenised
from analyses.effects.next_token import READ, read

if TYPE_CHECKING:
    from analyses.effects.steer import Steer

#: sequences that are run at once
ROWS = 64
#: (position, token, number of the completion): whose log-probability behind a position is a term of a completion's
Asked = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Run:
    """Tokens behind prompts, and what is asked of the distributions there.

    Attributes:
        having: the prompts, by number: one as often as it has sequences here.
        tokens, mask: padded on the right; those behind which something is asked, a prompt's last one left out.
        asked: positions are of `tokens`, flattened.
    """

    having: list[int]
    tokens: Int[Tensor, "n pos"]
    mask: Int[Tensor, "n pos"]
    asked: list[Asked]


class Options:
    """Completions, a sequence a prompt.

    The prompt ends, and is steered, where `benchmarks.scoring.option_scores` has it. Its last token is run once, and
    so are tokens with which several of its completions begin.

    Args:
        prompt: of the same prompts, from their last token on; used where completions leave the prompts' ends as they
            are.

    Raises:
        ValueError: a completion of which the tokenizer makes nothing.
    """

    def __init__(
        self,
        model: TransformerBridge,
        prompts: Sequence[str],
        options: Sequence[Sequence[str]],
        prompt: ode.Prefix | None = None,
    ) -> None:
        self.model, self.counts = model, [len(row) for row in options]
        rows = [tokenised(model, i, p, o) for i, (p, o) in enumerate(zip(prompts, options, strict=True))]
        tokens, mask = (x.flip(1) for x in _padded([own[0][3][: own[0][2]].flip(0) for own in rows]))
        known = prompt is not None and all(
            torch.equal(theirs.cpu(), own) for theirs, own in ((prompt.tokens, tokens), (prompt.attention_mask, mask))
        )
        #: every prompt up to its last token
        self.prompt = prompt if prompt is not None and known else ode.collect_prefix(model, tokens, mask, start=-1)
        tails = [[tokens[start:].tolist() for _, _, start, tokens in own] for own in rows]
        #: of the last tokens, and what follows them
        self.last, self.runs = _runs(tails)
        self._at: tuple[int, list[ode.Prefix | None]] | None = None

    @property
    def tokens(self) -> int:
        """That are run for one steer."""
        return len(self.counts) + sum(int(run.mask.sum()) for run in self.runs)

    @torch.no_grad()
    def log_likelihoods(self, steer: Steer | None) -> list[Float[np.ndarray, " options"]]:
        """Σ log p of every completion's tokens, nats, a row a prompt."""
        layer = int(self.model.cfg.n_layers) - 1 if steer is None else steer.layer
        sums, prompt = torch.zeros(sum(self.counts), dtype=torch.float64), self.prompt
        decoder, ends = prompt.decoder(), prompt.tokens[:, -1:]
        edited = prompt.residuals[layer] if steer is None else steer.residuals(prompt)
        self._add(sums, self.last, decoder.stream(ends, torch.ones_like(ends), layer, edited))
        for run, prefix in self._prefixes(layer):
            edited = prefix.residuals[layer] if steer is None else steer.of(run.having).residuals(prefix)
            final = decoder.rows(run.having).stream(run.tokens, run.mask, layer, edited[:, 1:])
            self._add(sums, run.asked, final)
        return [row.numpy() for row in sums.split(self.counts)]

    def _prefixes(self, layer: int) -> Iterator[tuple[Run, ode.Prefix]]:
        """Prompts with what follows them, with the residuals of one layer; the last layer's are kept.

        Their keys and values are not: of prompts with many completions those are gigabytes.
        """
        if self._at is None or self._at[0] != layer:
            self._at = (layer, [None] * len(self.runs))
        for j, run in enumerate(self.runs):
            prompts, known = self.prompt.rows(run.having), self._at[1][j]
            found = known or prompts.followed_by(run.tokens, run.mask, layer)
            self._at[1][j] = replace(found, cache=None)
            yield run, replace(found, cache=prompts.cache)

    def _add(self, sums: Float[Tensor, " options"], asked: Sequence[Asked], final: Float[Tensor, "n pos d"]) -> None:
        """Add the log-probabilities that are asked for, read a few positions at a time."""
        at, token, option = torch.tensor(asked).T
        positions, row = at.unique(return_inverse=True)
        rows = max(1, READ // int(self.model.cfg.d_vocab))
        states = rearrange(final, "n pos d -> (n pos) d")
        for start in range(0, len(positions), rows):
            logits = read(self.model, states[positions[start : start + rows]])
            inside = (row >= start) & (row < start + rows)
            chosen = logits[row[inside] - start, token[inside]] - logits.logsumexp(-1)[row[inside] - start]
            sums.index_add_(0, option[inside], chosen.double().cpu())


def _runs(tails: Sequence[Sequence[Sequence[int]]]) -> tuple[list[Asked], list[Run]]:
    """What is asked behind the last tokens, and the sequences to be run behind them: like lengths together.

    Answers to a question are of one word to forty, and what is padded is run for nothing.

    Args:
        tails: the tokens of every completion of every prompt.
    """
    last, each = list[Asked](), [_longest([tuple(tail[:-1]) for tail in own]) for own in tails]
    behind: dict[tuple[int, ...], list[Asked]] = {}  # by prompt and sequence
    numbered = enumerate((i, tail) for i, own in enumerate(tails) for tail in own)
    for number, (i, tail) in numbered:
        last.append((i, tail[0], number))
        run = next((other for other in each[i] if other[: len(tail) - 1] == tuple(tail[:-1])), ())
        for k, token in enumerate(tail[1:]):
            behind.setdefault((i, *run), []).append((k, token, number))
    of = sorted(((i, run) for i, own in enumerate(each) for run in own), key=lambda x: -len(x[1]))
    return last, [_run(of[start : start + ROWS], behind) for start in range(0, len(of), ROWS)]


def _run(of: Sequence[tuple[int, tuple[int, ...]]], behind: Mapping[tuple[int, ...], list[Asked]]) -> Run:
    """Some prompts' sequences, padded to the longest."""
    tokens, mask = _padded([torch.tensor(sequence) for _, sequence in of])
    starts = [(row * tokens.shape[1], (i, *sequence)) for row, (i, sequence) in enumerate(of)]
    asked = [(start + k, token, number) for start, key in starts for k, token, number in behind[key]]
    return Run([i for i, _ in of], tokens, mask, asked)


def _longest(sequences: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Those that are not the beginning of another one, the longest first."""
    chosen = list[tuple[int, ...]]()
    for some in sorted(set(sequences), key=lambda some: (-len(some), some)):
        if some and not any(other[: len(some)] == some for other in chosen):
            chosen.append(some)
    return chosen


def _padded(rows: Sequence[Int[Tensor, " pos"]]) -> tuple[Int[Tensor, "n pos"], Int[Tensor, "n pos"]]:
    """Rows padded on the right, and 1 where a token is real."""
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.nn.utils.rnn.pad_sequence([row.long() for row in rows], batch_first=True)
    return tokens, (torch.arange(tokens.shape[1]) < lengths[:, None]).long()
