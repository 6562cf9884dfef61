"""Outcomes that ask the steered model itself: how likely it finds completions for and against, whole strings scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from analyses.outcomes.base import TextOutcome

#: names of the two sides in a file, and of the prompt
FOR = ("positive", "for", "answer_matching_behavior", "correct_answers")
AGAINST = ("negative", "against", "answer_not_matching_behavior", "incorrect_answers")
PROMPT = ("prompt", "question")


@dataclass(frozen=True, eq=False)
class Completions:
    """Completions for and against: of every prompt the same ones, or its own.

    Args:
        name: for people.
        positive, negative: a tuple of completions a prompt, or a single one for all prompts; each with the space or
            line end it begins with.
        prompts: to which they belong, where each has its own.
        groups: of each prompt, where several are judged by the same texts: they are one independent unit.
    """

    name: str
    positive: tuple[tuple[str, ...], ...]
    negative: tuple[tuple[str, ...], ...]
    prompts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @classmethod
    def alike(cls, name: str, positive: Sequence[str], negative: Sequence[str]) -> Completions:
        """The same completions behind every prompt."""
        return cls(name, (tuple(positive),), (tuple(negative),))

    @classmethod
    def read(cls, path: Path) -> Completions:
        """Of a JSON object `{"positive": […], "negative": […]}`, for all prompts, or of rows with a `prompt` each.

        Rows, as a JSON array or a line each, name their two sides `positive`/`negative` or `for`/`against` (a string
        or a list), or give `choices` with `answer`, the right one's number, as multiple-choice files do. Rows judged by
        the same texts share a `group`.

        Raises:
            ValueError: no such file, broken JSON, or a row without what it needs, a group that others have included.
        """
        rows = read_json(path, "outcome")
        if isinstance(rows, dict):
            sides = [_side(rows, names, f"{path.name}") for names in (FOR, AGAINST)]
            return cls(path.name, (sides[0],), (sides[1],))
        where = [f"{path.name}, row {i + 1}" for i in range(len(rows))]
        if not rows:
            raise ValueError(f"outcome={str(path)!r} holds no rows; give completions for and against")
        both = [_sides(row, at) for row, at in zip(rows, where, strict=True)]
        prompts = tuple(str(_one(row, PROMPT, at)) for row, at in zip(rows, where, strict=True))
        grouped = any(isinstance(row, Mapping) and "group" in row for row in rows)
        groups = tuple(str(_one(row, ("group",), at)) for row, at in zip(rows, where, strict=True) if grouped)
        return cls(path.name, tuple(p for p, _ in both), tuple(n for _, n in both), prompts, groups)

    @property
    def digest(self) -> str:
        """A hash of all completions and prompts."""
        return hashlib.sha256(json.dumps([self.positive, self.negative, self.prompts]).encode()).hexdigest()[:16]

    def options(self, prompts: Sequence[str]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
        """The completions for and against each of these prompts.

        Raises:
            ValueError: one of the prompts has none.
        """
        if not self.prompts:
            return [self.positive[0]] * len(prompts), [self.negative[0]] * len(prompts)
        rows = self._rows(prompts)
        return [self.positive[i] for i in rows], [self.negative[i] for i in rows]

    def groups_of(self, prompts: Sequence[str]) -> list[str]:
        """The group of each of these prompts; of an outcome without groups each prompt is its own.

        Raises:
            ValueError: one of the prompts has no row.
        """
        return [self.groups[i] for i in self._rows(prompts)] if self.groups else list(prompts)

    def _rows(self, prompts: Sequence[str]) -> list[int]:
        """The numbers of their rows.

        Raises:
            ValueError: one has none.
        """
        at = {prompt: i for i, prompt in enumerate(self.prompts)}
        missing = [prompt for prompt in prompts if prompt not in at]
        if missing:
            raise ValueError(f"prompts: {len(missing)} of {len(prompts)} have no row in outcome={self.name!r}, such as "
                             f"{missing[0][:60]!r}; leave prompts out to take the file's own")  # fmt: skip
        return [at[prompt] for prompt in prompts]

    def check(self) -> None:
        """Nothing is left to be checked."""

    @staticmethod
    def scores(
        positive: Sequence[Float[np.ndarray, " options"]], negative: Sequence[Float[np.ndarray, " options"]]
    ) -> pd.DataFrame:
        """What log-likelihoods of the completions say, a prompt a row.

        `success` is MC1 (the likeliest completion is one for), `score` the log-odds of the two sides' summed
        probabilities, nats, and `mc2` the share of the side for.
        """
        odds = np.array(
            [np.logaddexp.reduce(p) - np.logaddexp.reduce(q) for p, q in zip(positive, negative, strict=True)]
        )
        wins = [bool(p.max() > q.max()) for p, q in zip(positive, negative, strict=True)]
        from scipy.special import expit  # slow to import, and this is read before a command line is

        return pd.DataFrame({"success": wins, "score": odds, "mc2": expit(odds)})


Outcome = TextOutcome | Completions


def read_json(path: Path, argument: str) -> Any:
    """What a JSON file, or one of a JSON value a line, holds.

    Raises:
        ValueError: no such file, or no JSON, with the line.
    """
    if not path.is_file():
        raise ValueError(f"{argument}={str(path)!r} is no file; check the path")
    text = path.read_text(encoding="utf-8-sig").strip()
    try:
        if path.suffix != ".jsonl" or text.startswith("["):
            return json.loads(text)
        # not splitlines, which also breaks at U+2028, and JSON strings may hold it
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except json.JSONDecodeError as error:
        raise ValueError(f"{argument}={str(path)!r} is no JSON: {error}") from error


def _sides(row: Any, at: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The completions for and against of a row."""
    if isinstance(row, Mapping) and "choices" in row:
        choices, answer = row["choices"], row.get("answer", row.get("label"))
        if isinstance(answer, str) and answer in choices:
            answer = choices.index(answer)
        if not isinstance(choices, list) or not isinstance(answer, int) or not 0 <= answer < len(choices):
            raise ValueError(f"outcome: {at} has answer={answer!r}; give the number (from 0) of one of its choices")
        wrong = [text for i, text in enumerate(choices) if i != answer]
        return _texts(choices[answer], at), _texts(wrong, at)
    return _side(row, FOR, at), _side(row, AGAINST, at)


def _side(row: Any, names: Iterable[str], at: str) -> tuple[str, ...]:
    return _texts(_one(row, names, at), at)


def _one(row: Any, names: Iterable[str], at: str) -> Any:
    found = [row[name] for name in names if isinstance(row, Mapping) and name in row]
    if not found:
        keys = sorted(map(str, row)) if isinstance(row, Mapping) else type(row).__name__
        raise ValueError(f"outcome: {at} has none of {', '.join(names)} (it has {keys}); name one of them")
    return found[0]


def _texts(value: Any, at: str) -> tuple[str, ...]:
    """One text or several, none of them empty."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(x, str) and x for x in texts):
        raise ValueError(f"outcome: {at} has {value!r} where a text or a list of texts should stand")
    return tuple(texts)
