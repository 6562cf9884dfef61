"""Surface form, which exact measures judge: capitals, and questions."""

from __future__ import annotations

from itertools import product

import pandas as pd

from analyses.concepts.concept import Concept, crossed
from analyses.concepts.language import DOES, OPENINGS, STEERED
from analyses.outcomes import Completions

WHO = ("My sister", "The baker", "Our new neighbour", "The old captain", "Somebody", "Her uncle", "The student",
       "The mayor", "A tourist", "His boss")  # fmt: skip
#: the verb of each of the first sentences before its subject, and the rest of it behind; of the others, which begin
#: with an auxiliary, `_asked` turns it
ASKED = (
    ("Is", " reading a book in the garden?"),
    ("Does", " work in a big hospital?"),
    ("Does", " live near the train station?"),
    ("Does", " like to cook on Sundays?"),
    ("Did", " go to the market this morning?"),
    ("Is", " waiting for the bus?"),
    ("Does", " want to learn how to swim?"),
    ("Did", " buy a new car last week?"),
    ("Does", " never drink coffee after dinner?"),
    ("Is", " looking for the keys everywhere?"),
    ("Does", " often talk about the weather?"),
    ("Has", " lost the old photographs?"),
    ("Would", " like to travel to Italy?"),
    ("Does", " sing every evening in the kitchen?"),
    ("Is", " writing a long letter to the mayor?"),
    ("Did", " sell the house by the sea?"),
    ("Does", " get up very early in summer?"),
    ("Did", " forget to close the window?"),
    ("Does", " play the piano quite well?"),
    ("Is", " afraid of the neighbour's dog?"),
    ("Will", " call you back tomorrow?"),
    ("Can", " not find the right words?"),
    ("Did", " find some money in the street?"),
    ("Does", " prefer bread and cheese?"),
    ("Does", " remember the first day of school?"),
    ("Is", " painting the door green?"),
    ("Does", " not believe this story?"),
    ("Does", " help the children with their homework?"),
    ("Does", " run along the river on Saturdays?"),
    ("Is", " thinking about the future?"),
    ("Does", " grow tomatoes and beans?"),
    ("Did", " fall asleep in front of the television?"),
)


def capitals(pairs: int = 320, seed: int = 0) -> Concept:
    """Sentences in capitals (positive) against the same as they are usually written."""
    said = [english for english, _ in DOES]
    wordings = pd.DataFrame({"positive": [text.upper() for text in said], "negative": said})
    rows = crossed(wordings, list(WHO), pairs, seed)
    shouted = rows.prompt.str.upper() + rows.positive
    rows = pd.DataFrame({"positive": shouted, "negative": rows.prompt + rows.negative, "group": rows.group})
    words = Completions.alike("cased words", (" THE", " IS", " AND THE"), (" the", " is", " and the"))
    says = "Score: the share of letters that are capitals; success is more of them than the median unsteered text has."
    return Concept("capitals", rows, _prompts(), words, "upper_case", says, {"contrast": "written sentences"})


def questions(pairs: int = 320, seed: int = 0) -> Concept:
    """Questions (positive) against statements of the same words."""
    said = [english for english, _ in DOES]
    asked = [*ASKED, *(_asked(text) for text in said[len(ASKED) :])]
    wordings = pd.DataFrame({"verb": [x for x, _ in asked], "rest": [x for _, x in asked], "negative": said})
    rows = crossed(wordings, list(WHO), pairs, seed)
    turned = rows.verb + " " + rows.prompt.str[0].str.lower() + rows.prompt.str[1:] + rows.rest
    rows = pd.DataFrame({"positive": turned, "negative": rows.prompt + rows.negative, "group": rows.group})
    words = Completions.alike("sentence openings", (" Why", " What is", " Do you"), (" Because", " That is", " I do"))
    says = "Score: question marks in the text; success is more of them than the median unsteered text has."
    return Concept("questions", rows, _prompts(end="."), words, "questions", says, {"contrast": "written sentences"})


def _asked(text: str) -> tuple[str, str]:
    auxiliary, rest = text.strip().split(" ", 1)
    return auxiliary.capitalize(), f" {rest[:-1]}?"


def _prompts(end: str = "") -> tuple[str, ...]:
    return tuple(opening.format(x=x) + end for opening, x in product(OPENINGS, STEERED))
