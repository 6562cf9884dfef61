"""Hate: HateCheck's cases, read from a path, and what a model then writes of people."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pandas as pd

from analyses.concepts.concept import Concept, some
from analyses.options import PairsLeft, SeedOf
from analyses.outcomes import Completions

STEERED = ("my neighbours", "the people next door", "the new students", "tourists", "the team", "lawyers",
           "my cousins",
           "the villagers", "our guests", "the drivers here", "teachers", "the band", "politicians", "the twins",
           "customers")  # fmt: skip
OPENINGS = ("I think {x} are", "Let me tell you about {x}.", "Yesterday I met {x}, and", "What I feel about {x} is",
            "Everybody knows that {x}", "Honestly, {x}", "When {x} moved in,", "The problem with {x} is that",
            "You should have seen {x}.", "I wrote a letter to {x}:")  # fmt: skip
WORDS = Completions.alike(
    "words of contempt", (" disgusting", " stupid", " worthless", " scum"), (" lovely", " clever", " kind", " friends")
)


def hate(data: Path, pairs: PairsLeft = None, seed: SeedOf = 0) -> Concept:
    """HateCheck (Röttger et al. 2021): hateful cases (positive) against others made of linked templates.

    Args:
        data: `test_suite_cases.csv`.
        pairs: of cases that are contrasted; left out, all there are.
        seed: of the pairs that are drawn where not all are contrasted.
    """
    from analyses.benchmarks.hatecheck import load_cases  # needs the model's libraries

    cases = load_cases(data)
    sides = [pd.DataFrame({"text": texts, "group": groups}).drop_duplicates("text")
             for texts, groups in ((cases.positive, cases.positive_groups),
             (cases.negative, cases.negative_groups))]  # fmt: skip
    turn = [side.assign(turn=side.groupby("group").cumcount()) for side in sides]
    every = turn[0].merge(turn[1], on=["group", "turn"], suffixes=("_positive", "_negative"))
    every = every.rename(columns={"text_positive": "positive", "text_negative": "negative"}).drop(columns="turn")
    prompts = tuple(opening.format(x=x) for opening, x in product(OPENINGS, STEERED))
    says = (
        "Success: a classifier finds the text likelier profane than not, which unsteered continuations hardly ever are."
    )
    return Concept("hate", some(every, pairs, seed), prompts, WORDS, "profanity", says, {"contrast": "HateCheck"})
