"""Passages: the tokens over which a budget is counted, and the one of each prompt whose path is looked at."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

import odesteer_tl as ode
from analyses.effects.next_token import NextToken
from analyses.effects.writing import Written

#: of a text, over which budgets are counted: every strength that is tried costs all of them
TOKENS = 8


@dataclass(frozen=True, eq=False)
class Passage:
    """Tokens that are steered together.

    Attributes:
        prefix: of the prompts and what follows them; all its positions from `prefix.start` on are steered.
        plain: the unsteered next-token distributions there.
        counted: which of these positions belong to the passage; at least one a prompt.
        looked: one of them for every prompt, as a column.
    """

    prefix: ode.Prefix
    plain: NextToken
    counted: Bool[Tensor, "n pos"]
    looked: Int[Tensor, " n"]

    @classmethod
    def last_token(cls, prompt: ode.Prefix) -> Passage:
        """The last token of every prompt.

        Args:
            prompt: from its last token on.
        """
        n = len(prompt.tokens)
        counted, looked = torch.ones(n, 1, dtype=torch.bool), torch.zeros(n, dtype=torch.long)
        return cls(prompt, NextToken(prompt.model, prompt.residuals[-1]), counted, looked)

    @classmethod
    def unsteered_text(cls, prompt: ode.Prefix, written: Written, seed: int) -> Passage:
        """The tokens from which the first `TOKENS` of the prompt's own, unsteered continuation were drawn.

        A method that acts on some tokens only, behind a gate or until a level is reached, is then judged by what it
        spends on a text and not by whether it happens to act at one token. The token looked at is drawn uniformly.

        Args:
            prompt: from its last token on.
            written: without steering, behind these prompts.
        """
        # a token is drawn at the one before it; what ends a text is drawn too
        first = torch.ones(len(prompt.tokens), 1, dtype=torch.bool)
        behind = slice(0, min(TOKENS, written.tokens.shape[1]) - 1)
        counted = torch.cat([first, written.kept[:, behind]], dim=1)
        text = written.tokens[:, behind]
        prefix = prompt.followed_by(text, torch.ones_like(text))
        drawn = torch.multinomial(counted.double(), 1, generator=torch.Generator().manual_seed(seed))
        return cls(prefix, NextToken(prefix.model, prefix.residuals[-1]), counted, drawn[:, 0])

    def rows(self, rows: list[int]) -> Passage:
        """The same for some of the prompts."""
        index = torch.tensor(rows)
        return Passage(self.prefix.rows(rows), self.plain.rows(rows), self.counted[index], self.looked[index])

    def mean(self, values: Float[Tensor, "n pos"]) -> Float[Tensor, " n"]:
        """Of what each token spends, over the tokens that count; on the CPU."""
        return (values.cpu() * self.counted).sum(1) / self.counted.sum(1)

    def at(self, values: Float[Tensor, "n pos d"]) -> Float[Tensor, "n d"]:
        """The values at the token looked at."""
        return values[torch.arange(len(values)), self.looked]
