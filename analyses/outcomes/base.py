"""What an outcome is: something that gives every prompt a score and a success, by its text or by its completions."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import pandas as pd

#: `(prompts, texts) → one number or boolean a text, or a frame with a column score or success`
Judge = Callable[[Sequence[str], Sequence[str]], Any]

#: on what every judge is tried before a model is loaded
TRIAL = ("The weather today is", " fine, and we are going to the park.")


@dataclass(frozen=True, eq=False)
class TextOutcome:
    """A judge of what was written.

    Args:
        name: for people, and for the study's hash.
        judge: of prompts and of what was written behind each (the prompt left out).
        threshold: a text whose score is above it is a success; None: one that scores above the median of the
            unsteered texts, of which half are then successes.
        digest: of whatever else determines what the judge says.
    """

    name: str
    judge: Judge
    threshold: float | None = None
    digest: str = ""

    def scores(self, prompts: Sequence[str], texts: Sequence[str]) -> pd.DataFrame:
        """`score` a text, higher for more of the concept; `success` where the judge says so; its other numbers.

        Raises:
            ValueError: the judge gave something else than a finite number or a boolean a text.
        """
        found = self.judge(list(prompts), list(texts))
        frame = found.reset_index(drop=True) if isinstance(found, pd.DataFrame) else _column(self.name, found)
        if len(frame) != len(texts):
            raise ValueError(f"outcome={self.name!r} gave {len(frame)} scores for {len(texts)} texts; give one a text")
        if not {"score", "success"} & set(frame):
            raise ValueError(f"outcome={self.name!r} gave the columns {list(map(str, frame))}; one must be 'score' or "
                             "'success'")  # fmt: skip
        if "score" not in frame:
            frame = frame.assign(score=frame["success"].astype(float))
        for column in frame:
            numbers: Any = pd.to_numeric(frame[column], errors="coerce")
            finite = np.isfinite(np.asarray(numbers, dtype=float))
            if not finite.all():
                at = int(np.flatnonzero(~finite)[0])
                raise ValueError(f"outcome={self.name!r} gave {frame[column].iloc[at]} in {column!r} for the text "
                                 f"{texts[at][:40]!r}; give a finite number or a boolean")  # fmt: skip
        scores = frame["score"].astype(float)
        if "success" in frame:
            return frame.assign(score=scores, success=frame["success"].astype(bool))
        return frame.assign(score=scores)

    def check(self) -> None:
        """Judge one text.

        Raises:
            ValueError: the judge raises, or gives something that is no score.
        """
        try:
            self.scores(TRIAL[:1], TRIAL[1:])
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(f"outcome={self.name!r} fails on {TRIAL[1]!r}: {type(error).__name__}: {error}") from error


def _column(name: str, found: Any) -> pd.DataFrame:
    """A frame of an array."""
    values = np.asarray(found)
    if values.ndim != 1:
        raise ValueError(f"outcome={name!r} gave an array of shape {values.shape}; give one number a text")
    return pd.DataFrame({"success" if values.dtype == bool else "score": values})


def source_digest(function: Any) -> str:
    """A hash of a function's source and of the plain values and functions that it refers to.

    Functions of its own module are followed to what they refer to in turn.
    """
    return hashlib.sha256("\n".join(_parts(function, set())).encode()).hexdigest()[:16]


def _parts(function: Any, seen: set[Any]) -> list[str]:
    """Its source, and by name what it refers to; `seen` are functions that were followed before."""
    if not inspect.isfunction(function):
        return [_source(function)]
    seen.add(function)
    found = {**inspect.getclosurevars(function).nonlocals, **_globals(function)}
    followed = [x for _, x in sorted(found.items()) if inspect.isfunction(x) and x.__module__ == function.__module__]
    own = [_source(function), *(f"{name}={_value(x)}" for name, x in sorted(found.items()))]
    return own + [part for x in followed if x not in seen for part in _parts(x, seen)[1:]]


def _globals(function: FunctionType) -> dict[str, Any]:
    """The globals that a function refers to, also within the comprehensions and functions in it."""
    codes = [function.__code__]
    for code in codes:  # which grows
        codes += [x for x in code.co_consts if isinstance(x, CodeType)]
    known = function.__globals__
    return {name: known[name] for code in codes for name in code.co_names if name in known}


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        return repr(type(function)) if code is None else _value(code)


def _value(x: Any) -> str:
    """What a value adds to a hash: the same in every process; of plain values their repr."""
    if inspect.isfunction(x):
        return _source(x)
    if isinstance(x, CodeType):
        return f"{x.co_code!r}{_value(x.co_consts)}{x.co_names!r}"
    if isinstance(x, set | frozenset):
        return repr(sorted(map(_value, x)))  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(x, dict):
        return f"{{{', '.join(f'{_value(key)}: {_value(value)}' for key, value in x.items())}}}"
    if isinstance(x, list | tuple):
        inside = ", ".join(map(_value, x))
        return f"[{inside}]" if isinstance(x, list) else f"({inside}{',' * (len(x) == 1)})"
    return repr(x) if isinstance(x, str | bytes | int | float | None) else repr(type(x))
