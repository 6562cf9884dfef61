"""Exact measures of a text: no dictionary, no model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

#: words, with what they hold together by
WORD = re.compile(r"\w+(?:['’-]\w+)*")
#: words of which a repetition is told
GRAM = 4


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return WORD.findall(text.lower())


def upper_case(text: str) -> float:
    """Share of the letters that are upper case; 0 without letters."""
    letters = [c for c in text if c.isalpha()]
    return sum(c.isupper() for c in letters) / len(letters) if letters else 0.0


def digits(text: str) -> float:
    """Share of the characters that are digits; 0 for an empty text."""
    return sum(c.isdigit() for c in text) / len(text) if text else 0.0


def questions(text: str) -> float:
    """Number of question marks."""
    return float(text.count("?") + text.count("？") + text.count("؟"))


def length(text: str) -> float:
    """Number of words."""
    return float(len(words(text)))


def distinct(text: str, n: int) -> float:
    """Distinct n-grams of words over all of them; 1 for fewer than n words, in which nothing is said twice."""
    found = words(text)
    grams = [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0


def repetition(text: str) -> float:
    """Share of 4-grams of words that stood in the text before (seq-rep-4 of Welleck et al. 2020)."""
    return 1 - distinct(text, GRAM)


def empty(text: str) -> float:
    """1 for a text without a letter, digit or sign."""
    return float(not text.strip())


MEASURES: dict[str, Callable[[str], float]] = {
    "upper_case": upper_case, "digits": digits, "questions": questions, "length": length, "repetition": repetition,
    **{f"distinct_{n}": (lambda text, n=n: distinct(text, n)) for n in (1, 2, 3)},
}  # fmt: skip


def each(measure: Callable[[str], float]) -> Callable[[Sequence[str], Sequence[str]], Float[np.ndarray, " n"]]:
    """A judge that measures every text by itself."""
    return lambda prompts, texts: np.array([measure(text) for text in texts])
