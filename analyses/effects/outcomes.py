"""Who says whether a steer worked: anything that turns texts into a success and a score a prompt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import expit
from transformer_lens.model_bridge import TransformerBridge

from analyses.benchmarks.scoring import option_scores
from analyses.effects.steer import SteererFor
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


class Endings(Outcome):
    """Which endings of its text the model finds likely: whole ones scored, at the positions that generation steers.

    Args:
        positive, negative: endings, each with the space it begins with.
    """

    def __init__(self, positive: Sequence[str], negative: Sequence[str]) -> None:
        self.endings = (*positive, *negative)
        self.n_positive = len(positive)

    def judge(
        self, model: TransformerBridge, prompts: Sequence[str], texts: Sequence[str], steerer_for: SteererFor | None
    ) -> pd.DataFrame:
        """`success` is MC1 (the likeliest ending is a positive one), `mc2` the positives' share of the probability.

        `score` is their log-odds, nats. The written texts are not looked at.
        """
        scored = option_scores(model, prompts, [self.endings] * len(prompts), steerer_for)
        likelihood = scored.pivot(index="prompt", columns="option", values="log_likelihood").to_numpy()
        positive, negative = likelihood[:, : self.n_positive], likelihood[:, self.n_positive :]
        odds = np.logaddexp.reduce(positive, axis=1) - np.logaddexp.reduce(negative, axis=1)
        return pd.DataFrame({"success": positive.max(axis=1) > negative.max(axis=1), "score": odds, "mc2": expit(odds)})


HAPPY_ENDINGS = (" She was very happy.", " He smiled and laughed.", " It was a good day.")
SAD_ENDINGS = (" She was very sad.", " He cried and cried.", " It was a bad day.")


def open_outcome(name: str, contrast: str) -> Outcome:
    """The outcome of a name.

    Raises:
        ValueError: an unknown name.
    """
    if name == "grammar":
        return Grammar(contrast)
    if name == "endings":
        return Endings(HAPPY_ENDINGS, SAD_ENDINGS)
    raise ValueError(f"outcome={name!r} is unknown; use 'grammar' (the organism) or 'endings'")
