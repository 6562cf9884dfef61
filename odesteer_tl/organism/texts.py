"""Contrast texts and prompts from the grammar.

They never share an opening sentence: contrast texts (and the training corpus) use openings that `grammar.is_held_out`
rejects, prompts only those it accepts.
"""

from typing import Literal, cast, get_args

import numpy as np

from .grammar import Latents, sample_body, sample_opening

Concept = Literal["valence", "agreement"]
MIN_CUT = 16  # words behind the opening that every contrast text keeps, so that it says something of its latents


def contrast_texts(concept: Concept | str, n: int = 500, seed: int = 0) -> tuple[list[str], list[str]]:
    """Draws `n` positive and `n` negative texts of `concept`, the same for the same arguments.

    "valence": positive texts have valence 1, negative 0. "agreement": in positive texts weather equals place, in
    negative ones it does not; each of weather and place is 0 or 1 equally often in both. Texts are cut behind a random
    word, anywhere from `MIN_CUT` words behind the opening on, mostly in the middle of a sentence.

    Paired by index: the two texts of a pair share their opening, their length and the latents that the concept leaves
    alone; the words behind the opening are drawn independently.
    Raises ValueError for an unknown `concept` or an `n` below 1.

    Args:
        concept: which latent the classes differ in.
        n: pairs.
        seed: of the draw.

    Returns:
        The positive and the negative texts.
    """
    if concept not in get_args(Concept):
        raise ValueError(f"concept={concept!r} is unknown; choose one of {', '.join(get_args(Concept))}")
    _check_count(n)
    rng = np.random.default_rng([seed, 1])
    positive: list[str] = []
    negative: list[str] = []
    for _ in range(n):
        opening = sample_opening(rng, "train")
        bodies = [sample_body(rng, latents) for latents in _latent_pair(concept, rng)]
        length = int(rng.integers(MIN_CUT, min(len(body) for body in bodies) + 1))
        for texts, body in zip((positive, negative), bodies, strict=True):
            texts.append(" ".join(opening + body[:length]))
    return positive, negative


def prompts(n: int, seed: int = 0) -> list[str]:
    """Draws `n` distinct opening sentences which no contrast or training text uses, the same for the same arguments.

    They carry no latent: judged alone, every concept stands at one half. There are hundreds of millions of them.
    Different seeds may share a few; to select on some prompts and report on others, split one draw.
    Raises ValueError for an `n` below 1.

    Args:
        n: how many.
        seed: of the draw.

    Returns:
        The openings.
    """
    _check_count(n)
    rng = np.random.default_rng([seed, 2])
    drawn: dict[str, None] = {}
    while len(drawn) < n:
        drawn[" ".join(sample_opening(rng, "held_out"))] = None
    return list(drawn)


def _latent_pair(concept: str, rng: np.random.Generator) -> tuple[Latents, Latents]:
    valence, weather, place, flipped = cast(list[int], rng.integers(0, 2, 4).tolist())
    if concept == "valence":
        return Latents(1, weather, place), Latents(0, weather, place)
    agreeing = Latents(valence, weather, weather)
    if flipped:
        return agreeing, Latents(valence, 1 - weather, weather)
    return agreeing, Latents(valence, weather, 1 - weather)


def _check_count(n: int) -> None:
    if n < 1:
        raise ValueError(f"n={n} is too small; ask for at least 1 text")
