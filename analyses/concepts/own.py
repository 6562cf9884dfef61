"""Sentiment of what a model writes itself: its continuations of praise against those of blame."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

import odesteer_tl as ode
from analyses.concepts.concept import Concept
from analyses.concepts.sentiment import REVIEWED, SAYS, WORDS, sentiment
from analyses.outcomes.judges import vader

#: how a review begins, for and against; what is contrasted is only what the model writes behind it
LEADS = (
    ("I loved it, and here is why. {x}", "I hated it, and here is why. {x}"),
    ("Five stars out of five! {x}", "One star out of five! {x}"),
    ("What a wonderful surprise. {x}", "What a terrible disappointment. {x}"),
    ("Highly recommended to everyone. {x}", "A warning to everyone. {x}"),
    ("We had the best time. {x}", "We had the worst time. {x}"),
    ("Thank you so much! {x}", "I want my money back! {x}"),
    ("My favourite of the year. {x}", "My biggest regret of the year. {x}"),
    ("This made my day. {x}", "This ruined my day. {x}"),
    ("Best money I ever spent. {x}", "Worst money I ever spent. {x}"),
    ("I am still smiling. {x}", "I am still furious. {x}"),
    ("Bravo! {x}", "Shame on you! {x}"),
    ("Pure happiness. {x}", "Pure misery. {x}"),
    ("A great success. {x}", "A complete failure. {x}"),
    ("I will be back. {x}", "I will never be back. {x}"),
    ("Everything was perfect. {x}", "Everything went wrong. {x}"),
    ("So good that I told all my friends. {x}", "So bad that I warned all my friends. {x}"),
    ("A joy from beginning to end. {x}", "A pain from beginning to end. {x}"),
    ("Better than I had dared to hope. {x}", "Worse than I had feared. {x}"),
    ("What a treat. {x}", "What a waste of time. {x}"),
    ("I cannot praise it enough. {x}", "I cannot complain enough. {x}"),
    ("Simply beautiful. {x}", "Simply ugly. {x}"),
    ("It was love at first sight. {x}", "It was hate at first sight. {x}"),
    ("All of us were delighted. {x}", "All of us were disgusted. {x}"),
    ("The best decision of my life. {x}", "The worst mistake of my life. {x}"),
    ("Excellent in every way. {x}", "Awful in every way. {x}"),
    ("I am grateful for it every day. {x}", "I am angry about it every day. {x}"),
    ("A dream come true. {x}", "A nightmare come true. {x}"),
    ("Charming, kind and funny. {x}", "Rude, cruel and dull. {x}"),
)


def sentiment_own(model: str = "smollm2", pairs: int = 64, new_tokens: int = 24, seed: int = 0) -> Concept:
    """A model's own praise (positive) against its own blame, sampled behind review openings that lead there.

    A pair is what was written of the same thing behind a good and a bad opening, which are both left out; it is kept
    where VADER agrees about both. The group is the opening.

    Args:
        model: a name that `load_model` knows, or a folder.
        pairs: how many are kept, at most.
        new_tokens: of each text.

    Raises:
        ValueError: fewer than 20 pairs that VADER agrees about.
    """
    plain = ode.PlainModel.from_pretrained(model)
    begun = [
        (f"opening {i}", good.format(x=x), bad.format(x=x), x)
        for (i, (good, bad)), x in product(enumerate(LEADS), REVIEWED)
    ]
    sides: list[list[str]] = []
    for side in (1, 2):
        texts = ode.generate(
            plain,
            [row[side] for row in begun],
            max_new_tokens=new_tokens,
            temperature=0.7,
            seed=seed,
            completions_only=True,
        )
        sides.append([f"{row[3]}{text}" for row, text in zip(begun, texts, strict=True)])
    scores = [np.asarray(vader()(side, side)) for side in sides]
    rows = pd.DataFrame({"positive": sides[0], "negative": sides[1], "group": [row[0] for row in begun]})
    repeated = rows.positive.duplicated() | rows.negative.duplicated()
    rows = rows.loc[(scores[0] > 0) & (scores[1] < 0) & ~repeated].head(pairs)
    if len(rows) < 20:
        raise ValueError(
            f"pairs={pairs}: VADER agrees with both openings of {len(rows)} pairs only; take a larger model"
        )
    source = {"contrast": "the model's own continuations", "model": model, "seed": seed}
    return Concept("sentiment-own", rows.reset_index(drop=True), sentiment().prompts, WORDS, "vader", SAYS, source)
