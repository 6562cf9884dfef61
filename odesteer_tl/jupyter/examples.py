"""Texts to try things on: the embedded model's own, or opinions in plain English for every other model."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np

from odesteer_tl import organism
from odesteer_tl.contrast import ContrastSet

SUBJECTS = ("the film", "the meal", "the hotel", "the book", "the concert", "the trip", "the game", "the lecture",
            "the garden", "the play", "the party", "the museum", "the weather", "the service", "the music", "the beach",
            "the coffee", "the show", "the museum shop", "the train ride")  # fmt: skip
WORDS = (("wonderful", "terrible"), ("great", "awful"), ("lovely", "horrible"), ("excellent", "dreadful"),
         ("delightful", "disgusting"), ("fantastic", "miserable"), ("perfect", "ruined"), ("beautiful", "ugly"),
         ("charming", "boring"), ("brilliant", "disappointing"))  # fmt: skip
FRAMES = ("I thought {} was {}", "Everyone said that {} was {}", "In the end {} was {}", "To my surprise {} was {}")
OPENINGS = ("Yesterday we talked about {}. It was", "My friend told me about {}. She said it was",
            "There is one thing to say about {}:", "After a long day I remember {}. It was",
            "They asked me about {}. I said it was")  # fmt: skip


def example_texts(model: str | Path, n: int = 400, seed: int = 0) -> tuple[ContrastSet, list[str]]:
    """`n` pairs of positive and negative texts and 100 neutral prompts that `model` can make sense of.

    Args:
        model: as for `load_model`. "organism" gets texts of its grammar (valence); any other model gets opinions, which
            are made from templates: good for a first look, too uniform for a result.
        n: pairs; at most 800 of the opinions.
        seed: of the draw.

    Returns:
        The contrast, and prompts that share no text with it.

    Raises:
        ValueError: n is out of range.
    """
    if str(model) == "organism":
        return organism.contrast("valence", n, seed), organism.prompts(100, seed)
    pairs = list(product(SUBJECTS, WORDS, FRAMES))
    if not 1 <= n <= len(pairs):
        raise ValueError(f"n={n} must lie between 1 and {len(pairs)}, the number of pairs that the templates make")
    rng = np.random.default_rng(seed)
    drawn = [pairs[i] for i in rng.permutation(len(pairs))[:n]]
    positive, negative = ([f.format(s, words[side]) for s, words, f in drawn] for side in (0, 1))
    source = {"source": "odesteer_tl.jupyter opinions", "n": n, "seed": seed}
    prompts = [opening.format(subject) for opening, subject in product(OPENINGS, SUBJECTS)]
    return ContrastSet.from_texts(positive, negative, provenance=source), [
        prompts[i] for i in rng.permutation(len(prompts))
    ]
