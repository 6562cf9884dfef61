"""Sentiment of reviews: written completions, or the labelled sentences of a corpus."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pandas as pd

from analyses.concepts.concept import Concept, crossed, wordings
from analyses.options import PairsOf, SeedOf
from analyses.outcomes import Completions
from analyses.sources import read_rows

REVIEWED = ("The film", "The hotel", "The concert", "Her new book", "The restaurant", "The museum", "The game",
            "His lecture", "The train ride", "The new phone", "The play", "The garden")  # fmt: skip
#: what is continued: neither the things nor the sentences are those of the pairs
STEERED = ("the new café", "the bus tour", "this keyboard", "the swimming pool", "the cooking class", "our landlord",
           "the delivery service", "the winter jacket", "the radio show", "my new job", "the city library",
           "the beach",
           "the language course", "this vacuum cleaner", "the ferry", "the art fair", "the dentist", "this headset",
           "the wedding", "the football match", "our waiter", "the campsite", "the second season", "this mattress",
           "the airline")  # fmt: skip
OPENINGS = ("My honest opinion about {x}:", "Let me tell you about {x}. I think", "Yesterday I tried {x}, and",
            "People keep asking me about {x}. Well,", "After a month with {x} I can say that",
            "When I think of {x}, I")  # fmt: skip
WORDS = Completions.alike(
    "sentiment words",
    (" it was great", " it was wonderful", " I loved it", " I am very happy"),
    (" it was bad", " it was terrible", " I hated it", " I am very angry"),
)
SAYS = (
    "Success: VADER finds the text more positive than negative. "
    "Unsteered continuations are mostly positive already, so that there is little room upwards."
)


def sentiment(pairs: PairsOf = 320, corpus: Path | None = None, seed: SeedOf = 0) -> Concept:
    """Praise against blame: completions of review openings, or the labelled sentences of a corpus.

    Args:
        pairs: how many completions are drawn of 104 wordings behind 12 openings.
        corpus: a `.csv` or `.jsonl` file with columns `text` and `label` ("positive", "negative"): then the pairs are
            its sentences, in its order, each a group.
        seed: of which completions are drawn.

    Raises:
        ValueError: no such file or columns, or more pairs than there are.
    """
    prompts = tuple(opening.format(x=x) for opening, x in product(OPENINGS, STEERED))
    if corpus is None:
        rows = crossed(wordings("reviews"), list(REVIEWED), pairs, seed)
        return Concept("sentiment", rows, prompts, WORDS, "vader", SAYS, {"contrast": "written completions"})
    labelled = pd.DataFrame(read_rows(corpus, "corpus", ("text", "label")))
    sides = [labelled.text[labelled.label == side].tolist() for side in ("positive", "negative")]
    n = min(pairs, *map(len, sides))
    rows = pd.DataFrame({"positive": sides[0][:n], "negative": sides[1][:n], "group": range(n)})
    return Concept("sentiment-corpus", rows, prompts, WORDS, "vader", SAYS, {"contrast": corpus.name})
