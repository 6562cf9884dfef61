"""Where a study's contrast comes from: a concept of the organism, the happy and sad openings below, or a file."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import odesteer_tl as ode
from analyses import stories
from odesteer_tl import organism

NAMES = (*stories.NAMES, "Emma", "Kate", "Bob", "Joe", "Sue", "Jane", "Mark", "Nina", "Paul", "Ella", "Fred", "Zoe",
         "Dan", "Eva", "Jim", "Pam")  # fmt: skip
HAPPY = (*stories.HAPPY, "{n} won the game and jumped with joy", "Mom gave {n} a big hug and {n} felt good",
         "{n} found the lost toy and was very happy", "{n} ate a yummy cake and had a lot of fun")  # fmt: skip
SAD = (*stories.SAD, "{n} lost the game and cried with tears", "Mom was angry at {n} and {n} felt bad",
       "{n} broke the new toy and was very sad", "{n} ate a bad cake and felt very sick")  # fmt: skip
OPENINGS = ("One day, {n} went to the park.", "{n} saw a dog.", "Once upon a time, {n} sat at home.", "{n} had a ball.")


def load_contrast(name: str, pairs: int, seed: int) -> ode.ContrastSet:
    """The contrast called `name`: "valence" or "agreement" of the organism, "stories", or a .csv or .jsonl file.

    A file has two columns, `positive` and `negative`, a pair a row.
    """
    path = Path(name)
    if path.suffix == ".csv":
        return ode.ContrastSet.from_csv(path, positive="positive", negative="negative")
    if path.suffix == ".jsonl":
        return ode.ContrastSet.from_jsonl(path, positive="positive", negative="negative")
    if name == "stories":
        both = [(h.format(n=n), s.format(n=n)) for (h, s), n in product(zip(HAPPY, SAD, strict=True), NAMES)]
        return ode.ContrastSet.from_texts(*zip(*both, strict=True), provenance={"source": "stories"})
    return organism.contrast(name, pairs, seed)


def load_prompts(name: str, n: int, seed: int, held_out: ode.ContrastSet) -> list[str]:
    """n prompts to steer: the organism's own openings, story openings, or the held-out negative texts of a file."""
    if name == "stories":
        return [opening.format(n=n) for n, opening in product(NAMES, OPENINGS)][:n]
    if Path(name).suffix in (".csv", ".jsonl"):
        return list(held_out.negative[:n])
    return organism.prompts(n, seed)
