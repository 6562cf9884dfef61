"""The outcome that comes with the embedded model: its grammar."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

import odesteer_tl as ode
from analyses.outcomes.base import TextOutcome

CONCEPTS = ("valence", "agreement")


def grammar(concept: str) -> TextOutcome:
    """The organism's exact judge of prompt and text together: success is a posterior of the concept above one half.

    Beside it whether the text parses, and its nats a word under the grammar: a text of which no word parses has no
    likelihood a word, and gets the least of those that have one.

    Raises:
        ValueError: a concept that the grammar does not know.
    """
    if concept not in CONCEPTS:
        raise ValueError(f"outcome='grammar' judges the organism's {' and '.join(CONCEPTS)}, not contrast={concept!r}; "
                         "name another outcome, such as a words.json of completions for and against")  # fmt: skip

    def judge(prompts: Sequence[str], texts: Sequence[str]) -> pd.DataFrame:
        judged = ode.organism.judge([p + t for p, t in zip(prompts, texts, strict=True)])
        fluency = judged["log_likelihood"]
        return pd.DataFrame({
            "success": judged[concept] > 0.5, "score": judged[concept], "parses": judged["parses"],
            "fluency": fluency.fillna(fluency.min()).fillna(0.0),
        })  # fmt: skip

    return TextOutcome("grammar", judge, digest=concept)
