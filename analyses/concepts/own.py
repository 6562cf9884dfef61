"""Sentiment of what a model writes itself: its continuations of praise against those of blame."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pandas as pd
from tyro.conf import arg

import odesteer_tl as ode
from analyses.concepts.concept import Concept, wordings
from analyses.concepts.sentiment import REVIEWED, SAYS, WORDS, sentiment
from analyses.options import COUNT, Formerly, PairsOf, SeedOf
from analyses.outcomes.judges import vader


def sentiment_own(
    model: str = "smollm2",
    pairs: PairsOf = 64,
    new_tokens: Annotated[int, arg(name="max-new-tokens"), Formerly(("new-tokens",)), COUNT] = 24,
    seed: SeedOf = 0,
) -> Concept:
    """A model's own praise (positive) against its own blame, sampled behind review openings that lead there.

    A pair is what was written of the same thing behind a good and a bad opening, which are both left out; it is kept
    where VADER agrees about both. The group is the opening.

    Args:
        model: a name that `load_model` knows, or a folder.
        pairs: how many are kept, at most.
        new_tokens: of each text, at most.
        seed: of the texts that are sampled.

    Raises:
        ValueError: fewer than 20 pairs that VADER agrees about.
    """
    plain = ode.PlainModel.from_pretrained(model)
    # how a review begins, for and against; what is contrasted is only what the model writes behind it
    begun = wordings("leads").rename_axis("opening").reset_index().merge(pd.DataFrame({"x": REVIEWED}), how="cross")
    sides: dict[str, list[str]] = {}
    for side in ("positive", "negative"):
        starts = [lead.format(x=x) for lead, x in zip(begun[side], begun.x, strict=True)]
        texts = ode.generate(plain, starts, max_new_tokens=new_tokens, temperature=0.7, seed=seed,
                             completions_only=True)  # fmt: skip
        sides[side] = [f"{x}{text}" for x, text in zip(begun.x, texts, strict=True)]
    scores = [np.asarray(vader()(side, side)) for side in sides.values()]
    rows = pd.DataFrame({**sides, "group": [f"opening {i}" for i in begun.opening]})
    repeated = rows.positive.duplicated() | rows.negative.duplicated()
    rows = rows.loc[(scores[0] > 0) & (scores[1] < 0) & ~repeated].head(pairs)
    if len(rows) < 20:
        raise ValueError(
            f"pairs={pairs}: VADER agrees with both openings of {len(rows)} pairs only; take a larger model"
        )
    source = {"contrast": "the model's own continuations", "model": model, "seed": seed}
    return Concept("sentiment-own", rows.reset_index(drop=True), sentiment().prompts, WORDS, "vader", SAYS, source)
