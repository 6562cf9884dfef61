"""Language: the same sentences in French and in English."""

from __future__ import annotations

from itertools import product

import pandas as pd

from analyses.concepts.concept import Concept, crossed, wordings
from analyses.options import PairsOf, SeedOf
from analyses.outcomes import Completions

#: who does it: a name is spelled alike in both
WHO = ("Thomas", "Paul", "Martin", "Robert", "Victor", "Simon", "Hugo", "Daniel", "Lucas", "Nathan")
STEERED = ("The weather today", "My grandmother", "Our teacher", "The old bridge", "The little boy",
           "In the evening we",
           "The president", "A friend of mine", "The shop on the corner", "On Monday the committee", "The river",
           "My favourite dish", "The doctor", "At the airport I", "The new neighbours")  # fmt: skip
OPENINGS = ("{x}", "I remember it well. {x}", "Here is what happened next. {x}", "She looked up and said: {x}",
            "This is the story of a town. {x}", "Good morning! {x}", "It was late. {x}", "Chapter one. {x}",
            "We had not expected that. {x}", "Dear all, {x}")  # fmt: skip
WORDS = Completions.alike(
    "function words", (" est", " a", " de la", " était dans le"), (" is", " has", " of the", " was in the")
)


def language(pairs: PairsOf = 320, seed: SeedOf = 0) -> Concept:
    """French (positive) against English: 104 sentences of ten people whose names both languages share.

    Args:
        pairs: sentences that are contrasted, of those 104 behind each of the ten names.
        seed: of which are drawn.
    """
    said = wordings("sentences")
    rows = crossed(pd.DataFrame({"negative": said.english, "positive": said.french}), list(WHO), pairs, seed)
    prompts = tuple(opening.format(x=x) for opening, x in product(OPENINGS, STEERED))
    says = "Success: a language detector (py3langid) finds French likelier than not behind an English opening."
    return Concept("language", rows, prompts, WORDS, "language:fr", says, {"contrast": "translated sentences"})
