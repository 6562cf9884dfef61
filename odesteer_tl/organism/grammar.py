"""The probabilistic grammar the organism is trained on: regular, unambiguous, with three known latents.

A text is an opening sentence, which carries no latent, and 4 to 7 further sentences (5 to 8 in all, uniformly). Each
sentence walks the automaton `rules.RULES`: in a state an arc is drawn, its class emits a word, and the arc's target is
the next state. Arc probabilities never depend on the latents; only the side of an antonym pair does (`lexicon`). So
the latents are independent given a text as they are before it, and no text depends on whether two of them agree.
"""

import zlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import numpy as np

from .lexicon import CLASSES, LATENTS, WordClass
from .rules import BOUNDARY, MAX_SENTENCES, MIN_SENTENCES, RULES, START

HELD_OUT_ONE_IN = 8
Openings = Literal["any", "train", "held_out"]


@dataclass(frozen=True)
class Latents:
    """The three independent, uniform latents of a text, each 0 or 1.

    `valence`: 1 glad, 0 sad. `weather`: 1 sunny, 0 rainy. `place`: 1 seaside, 0 mountains.
    """

    valence: int
    weather: int
    place: int

    @property
    def agreement(self) -> int:
        """1 where weather equals place, else 0."""
        return int(self.weather == self.place)


@dataclass(frozen=True)
class Text:
    """A sampled text: its words (full stops are words), and the latents it was sampled from."""

    words: tuple[str, ...]
    latents: Latents

    @property
    def text(self) -> str:
        """The words joined by single spaces: `"anna saw the lamp . …"`."""
        return " ".join(self.words)


_CUMULATIVE = {state: list(accumulate(arc.probability for arc in arcs)) for state, arcs in RULES.items()}


def is_held_out(opening: Sequence[str]) -> bool:
    """Whether an opening sentence (its words, full stop included) is kept from training and contrast texts.

    A checksum decides: one opening in eight, the same on every machine, with no pattern a model could learn.
    """
    return zlib.crc32(" ".join(opening).encode()) % HELD_OUT_ONE_IN == 0


def sample(
    n: int, seed: int, latents: Latents | Mapping[str, int] | None = None, openings: Openings = "any"
) -> list[Text]:
    """Draws `n` complete texts, the same for the same arguments.

    `latents` fixes all of them (`Latents`), some (`{"valence": 1}`) or none (None: uniform and independent).
    `openings` says which opening sentences may begin a text: "any" is the grammar itself, "train" leaves out the
    held-out ones, "held_out" uses only those.
    Raises ValueError for a negative `n`, or a latent that does not exist or is neither 0 nor 1.
    """
    if n < 0:
        raise ValueError(f"n={n} is negative; ask for zero or more texts")
    fixed = {name: getattr(latents, name) for name in LATENTS} if isinstance(latents, Latents) else dict(latents or {})
    for name, value in fixed.items():
        if name not in LATENTS or value not in (0, 1):
            raise ValueError(f"latents has {name}={value!r}; use names from {LATENTS} and values 0 or 1")
    rng = np.random.default_rng(seed)
    texts: list[Text] = []
    for _ in range(n):
        drawn = {
            name: int(value) for name, value in zip(LATENTS, rng.integers(0, 2, len(LATENTS)), strict=True)
        } | fixed
        chosen = Latents(**drawn)
        opening = sample_opening(rng, openings)
        texts.append(Text(opening + sample_body(rng, chosen), chosen))
    return texts


def sample_opening(rng: np.random.Generator, openings: Openings = "any") -> tuple[str, ...]:
    """Draws one opening sentence (words, full stop included), by rejection where `openings` asks for a part of them."""
    neutral = Latents(0, 0, 0)  # an opening has no word that could express them
    while True:
        opening = _sample_sentence(rng, START, neutral)
        if openings == "any" or is_held_out(opening) == (openings == "held_out"):
            return opening


def sample_body(rng: np.random.Generator, latents: Latents) -> tuple[str, ...]:
    """Draws the words behind an opening: whole sentences, to the end of the text."""
    words: tuple[str, ...] = ()
    for _ in range(int(rng.integers(MIN_SENTENCES, MAX_SENTENCES + 1)) - 1):
        words += _sample_sentence(rng, BOUNDARY, latents)
    return words


def _sample_sentence(rng: np.random.Generator, state: str, latents: Latents) -> tuple[str, ...]:
    words: list[str] = []
    while not words or state != BOUNDARY:
        arc_draw, choice_draw, noise_draw = rng.random(3).tolist()
        arcs = RULES[state]
        # rounding may leave the last cumulative probability a little below one
        arc = arcs[min(bisect_right(_CUMULATIVE[state], arc_draw), len(arcs) - 1)]
        words.append(_emit(CLASSES[arc.word_class], latents, choice_draw, noise_draw))
        state = arc.target
    return tuple(words)


def _emit(word_class: WordClass, latents: Latents, choice_draw: float, noise_draw: float) -> str:
    choice = word_class.choices[int(choice_draw * len(word_class.choices))]
    if word_class.latent is None:
        return choice.high
    latent: int = getattr(latents, word_class.latent)
    return choice.high if (noise_draw >= choice.noise) == (latent == 1) else choice.low
