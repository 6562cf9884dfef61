"""The last stage of a cell: what the outcome says of a steer, with the fluency of the texts beside it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

from analyses.effects.options import Options
from analyses.effects.states import Unsteered
from analyses.effects.steer import Steer
from analyses.effects.writing import Written
from analyses.outcomes import Completions, TextOutcome
from analyses.outcomes.completions import Outcome
from analyses.outcomes.texts import empty, repetition
from analyses.sweep import WillRepeat


class Judging:
    """An outcome, asked of one model and its prompts.

    Args:
        states: of the prompts, when they are needed: their keys and values, behind which completions are scored, and
            what is written without steering, against which a score without a threshold is held.
    """

    def __init__(
        self, model: TransformerBridge, prompts: tuple[str, ...], outcome: Outcome, states: Callable[[], Unsteered]
    ) -> None:
        self.model, self.prompts, self.outcome, self._states = model, prompts, outcome, states

    def frame(self, written: Written | None, steer: Steer | None) -> pd.DataFrame:
        """`success`, `score` and the outcome's other numbers, a row a prompt.

        Args:
            written: under the steer; None where the outcome asks the model and texts are of no use.
        """
        if isinstance(self.outcome, Completions):
            return self._asked(self.outcome, steer)
        assert written is not None
        found = self._judged(self.outcome, written)
        if "success" in found:
            return found.assign(success=found["success"].astype(bool))
        return found.assign(success=found["score"] > self.threshold)

    def _judged(self, outcome: TextOutcome, written: Written) -> pd.DataFrame:
        """What the judge says of texts; what it cannot judge here it could not judge in the next cell."""
        try:
            return outcome.scores(self.prompts, written.continuations)
        except Exception as error:
            raise WillRepeat(f"outcome={outcome.name!r} failed on written texts: {error}") from error

    def _asked(self, outcome: Completions, steer: Steer | None) -> pd.DataFrame:
        found = self.options.log_likelihoods(steer)
        n = [len(row) for row in outcome.options(self.prompts)[0]]
        return outcome.scores(
            [x[:k] for x, k in zip(found, n, strict=True)], [x[k:] for x, k in zip(found, n, strict=True)]
        )

    @cached_property
    def options(self) -> Options:
        """The completions behind every prompt."""
        assert isinstance(self.outcome, Completions)
        both = zip(*self.outcome.options(self.prompts), strict=True)
        options = [(*positive, *negative) for positive, negative in both]
        return Options(self.model, self.prompts, options, self._states().prompt)

    @cached_property
    def threshold(self) -> float:
        """Above which a text is a success."""
        assert isinstance(self.outcome, TextOutcome)
        if self.outcome.threshold is not None:
            return self.outcome.threshold
        return float(np.median(self._judged(self.outcome, self._states().text)["score"]))


def fluency(written: Written) -> dict[str, Any]:
    """Of what was written, prompt by prompt: mean log-likelihood under the unsteered model (nats a token, the token
    that ends the text standing for an empty one), perplexity, share of repeated 4-grams, and whether it is empty."""
    return {
        "log_likelihood": written.mean_log_likelihood,
        "perplexity": np.exp(-written.mean_log_likelihood),
        "repetition": [repetition(text) for text in written.continuations],
        "empty": [bool(empty(text)) for text in written.continuations],
    }
