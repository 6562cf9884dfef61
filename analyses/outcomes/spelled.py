"""Outcomes as they are spelled on a command line."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from analyses.outcomes import judges
from analyses.outcomes.base import Judge, TextOutcome, source_digest
from analyses.outcomes.completions import Completions, Outcome
from analyses.outcomes.known import grammar
from analyses.outcomes.texts import MEASURES, each

FORMS = (
    "grammar, FILE.json or FILE.jsonl (completions for and against, or multiple choice), vader, profanity, "
    f"language:CODE, regex:PATTERN, classifier:FOLDER[:LABEL], {', '.join(MEASURES)}, or FILE.py:FUNCTION or "
    "MODULE:FUNCTION (prompts, texts) → scores"
)


def open_outcome(spelled: Any, contrast: str = "", threshold: float | None = None) -> Outcome:
    """The outcome that is spelled so, a callable `(prompts, texts) → scores` as one, or an outcome as it is.

    Args:
        contrast: which of the organism's concepts its grammar judges.
        threshold: above which a text is a success; left out, the outcome's own.

    Raises:
        ValueError: an unknown spelling, a file or package that is missing, or a threshold for completions.
    """
    found = _open(spelled, contrast)
    if threshold is None:
        return found
    if isinstance(found, Completions) or found.name == "grammar":
        raise ValueError(f"threshold={threshold} is of a score; outcome={found.name!r} says itself what a success is")
    return replace(found, threshold=threshold)


def _open(spelled: Any, contrast: str) -> Outcome:
    if isinstance(spelled, TextOutcome | Completions):
        return spelled
    if callable(spelled):
        name = getattr(spelled, "__qualname__", type(spelled).__name__)
        return TextOutcome(name, spelled, digest=source_digest(spelled))
    text = str(spelled)
    name, _, rest = text.partition(":")
    if text == "grammar":
        return grammar(contrast)
    if Path(text).suffix in (".json", ".jsonl"):
        return Completions.read(Path(text))
    if text in MEASURES:
        return TextOutcome(text, each(MEASURES[text]))
    if text in READY:
        make, threshold = READY[text]
        return TextOutcome(text, make(), threshold)
    if name in OF_ONE and rest:
        return OF_ONE[name](rest)
    file, _, function = text.rpartition(":")
    if Path(file).suffix == ".py":
        return _of_file(text, Path(file), function)
    if rest and name.replace(".", "").replace("_", "").isalnum():
        return _imported(text, name, rest)
    raise ValueError(f"outcome={text!r} is unknown; use one of {FORMS}")


def _regex(pattern: str) -> TextOutcome:
    """Whether a pattern is found in the text."""
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"outcome='regex:{pattern}' is no regular expression: {error}") from error
    return TextOutcome(f"regex:{pattern}", lambda prompts, texts: [found.search(text) is not None for text in texts])


def _language(code: str) -> TextOutcome:
    return TextOutcome(f"language:{code}", judges.language(code), 0.5)


def _classifier(rest: str) -> TextOutcome:
    folder, label = (rest, "") if Path(rest).is_dir() else rest.rpartition(":")[::2] if ":" in rest else (rest, "")
    judge = judges.classifier(Path(folder), label)
    name = f"classifier:{Path(folder).name}" + (f":{label}" if label else "")
    return TextOutcome(name, judge, 0.5, judges.folder_digest(Path(folder)))


def _imported(text: str, module: str, attribute: str) -> TextOutcome:
    """A function of a module."""
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"outcome={text!r}: {error}; name its file, FOLDER/{module.replace('.', '/')}.py:{attribute}, or say where "
            f"it lies by PYTHONPATH=FOLDER, or use one of {FORMS}"
        ) from error
    function = _function(text, found, attribute)
    return TextOutcome(text, function, digest=source_digest(function))


def _of_file(text: str, file: Path, attribute: str) -> TextOutcome:
    """A function of a file, wherever that lies; its folder is part of no name, as with other files of a study."""
    if not file.is_file():
        raise ValueError(f"outcome={text!r}: {str(file)!r} is no file; check the path, seen from {str(Path.cwd())!r}")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        said = " ".join(str(error).split())
        raise ValueError(f"outcome={text!r}: {file.name} cannot be run: {type(error).__name__}: {said}") from error
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]  # of whatever in it the function may call
    return TextOutcome(f"{file.name}:{attribute}", _function(text, module, attribute), digest=digest)


def _function(text: str, module: ModuleType, attribute: str) -> Judge:
    function = getattr(module, attribute, None)
    if function is None:
        raise ValueError(f"outcome={text!r}: {module.__name__!r} has no {attribute!r}; name a function that it has")
    if not callable(function):
        raise ValueError(f"outcome={text!r} is a {type(function).__name__}; name a function (prompts, texts) → scores")
    return function


READY: dict[str, tuple[Callable[[], Judge], float]] = {
    "vader": (judges.vader, 0.0),
    "profanity": (judges.profanity, 0.5),
}
OF_ONE: dict[str, Callable[[str], TextOutcome]] = {
    "regex": _regex, "language": _language, "classifier": _classifier,
}  # fmt: skip
