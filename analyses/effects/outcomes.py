"""Who says whether a steer worked: anything that turns texts into a success and a score a prompt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

from analyses.effects.writing import SteererFor
from odesteer_tl import organism


class Outcome(ABC):
    """A judge of what steering did, prompt by prompt."""

    @abstractmethod
    def judge(
        self, model: TransformerBridge, prompts: Sequence[str], texts: Sequence[str], steerer_for: SteererFor | None
    ) -> pd.DataFrame:
        """A row a prompt: `success` (bool), `score` (higher is more of the concept), and any other numbers.

        Args:
            texts: prompt and continuation, written under the steerer.
            steerer_for: as in `write`, for outcomes that ask the steered model itself.
        """


class Grammar(Outcome):
    """The organism's exact judge of the text: success is a posterior above one half.

    Args:
        concept: "valence" or "agreement".
    """

    def __init__(self, concept: str) -> None:
        self.concept = concept

    def judge(
        self, model: TransformerBridge, prompts: Sequence[str], texts: Sequence[str], steerer_for: SteererFor | None
    ) -> pd.DataFrame:
        """`score` is the posterior; beside it whether the text parses, and its nats a word under the grammar.

        A text of which no word parses has no likelihood a word; it gets the least of the texts that have one.
        """
        judged = organism.judge(list(texts))
        fluency = judged["log_likelihood"]
        return pd.DataFrame(
            {
                "success": judged[self.concept] > 0.5,
                "score": judged[self.concept],
                "parses": judged["parses"],
                "fluency": fluency.fillna(fluency.min()),
            }
        )


def open_outcome(name: str, contrast: str) -> Outcome:
    """The outcome of a name.

    Raises:
        ValueError: an unknown name.
    """
    if name == "grammar":
        return Grammar(contrast)
    raise ValueError(f"outcome={name!r} is unknown; use 'grammar' (the organism) or 'endings'")
