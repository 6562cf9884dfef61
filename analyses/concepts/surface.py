"""Surface form, which exact measures judge: capitals, and questions."""

from __future__ import annotations

from itertools import product

import pandas as pd

from analyses.concepts.concept import Concept, crossed, wordings
from analyses.concepts.language import OPENINGS, STEERED
from analyses.options import PairsOf, SeedOf
from analyses.outcomes import Completions

WHO = ("My sister", "The baker", "Our new neighbour", "The old captain", "Somebody", "Her uncle", "The student",
       "The mayor", "A tourist", "His boss")  # fmt: skip


def capitals(pairs: PairsOf = 320, seed: SeedOf = 0) -> Concept:
    """Sentences in capitals (positive) against the same as they are usually written.

    Args:
        pairs: sentences that are contrasted, of 104 behind each of ten subjects.
        seed: of which are drawn.
    """
    said = wordings("sentences").english
    rows = crossed(pd.DataFrame({"positive": said.str.upper(), "negative": said}), list(WHO), pairs, seed)
    shouted = rows.prompt.str.upper() + rows.positive
    rows = pd.DataFrame({"positive": shouted, "negative": rows.prompt + rows.negative, "group": rows.group})
    words = Completions.alike("cased words", (" THE", " IS", " AND THE"), (" the", " is", " and the"))
    says = "Score: the share of letters that are capitals; success is more of them than the median unsteered text has."
    return Concept("capitals", rows, _prompts(), words, "upper_case", says, {"contrast": "written sentences"})


def questions(pairs: PairsOf = 320, seed: SeedOf = 0) -> Concept:
    """Questions (positive) against statements of the same words.

    Args:
        pairs: sentences that are contrasted, of 104 behind each of ten subjects.
        seed: of which are drawn.
    """
    rows = crossed(wordings("sentences").rename(columns={"english": "negative"}), list(WHO), pairs, seed)
    turned = rows.verb + " " + rows.prompt.str[0].str.lower() + rows.prompt.str[1:] + rows.rest
    rows = pd.DataFrame({"positive": turned, "negative": rows.prompt + rows.negative, "group": rows.group})
    words = Completions.alike("sentence openings", (" Why", " What is", " Do you"), (" Because", " That is", " I do"))
    says = "Score: question marks in the text; success is more of them than the median unsteered text has."
    return Concept("questions", rows, _prompts(end="."), words, "questions", says, {"contrast": "written sentences"})


def _prompts(end: str = "") -> tuple[str, ...]:
    return tuple(opening.format(x=x) + end for opening, x in product(OPENINGS, STEERED))
