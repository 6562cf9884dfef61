"""Checks of names and texts, and warnings: what a command line needs before anything slow is imported."""

import inspect
import warnings
from collections.abc import Iterable, Mapping


def require_one_of(name: str, value: object, options: Iterable[str]) -> None:
    """Raise `ValueError` unless `value` is one of `options`."""
    known = sorted(options)
    if value not in known:
        raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(map(repr, known))}")


def require_texts(name: str, texts: Iterable[str]) -> list[str]:
    """The texts as a list.

    Raises:
        ValueError: one string, whose characters would be taken for texts; something without an order or with columns;
            or an item that is no string.
    """
    if isinstance(texts, str | bytes):
        raise ValueError(
            f"{name}={texts!r} is one text where a sequence of texts is meant, and its characters are not; "
            f"pass a list: {name}=[{texts!r}]"
        )
    ordered = isinstance(texts, Iterable) and not isinstance(texts, Mapping | set | frozenset)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not ordered or hasattr(texts, "columns"):
        raise ValueError(f"{name} is a {type(texts).__name__}, not a sequence of texts; pass a list of strings")
    found = list(texts)
    for i, text in enumerate(found):
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(
                f"{name}[{i}]={text!r} is not a text but a {type(text).__name__}; drop it or make it a string"
            )
    return found


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """A warning at the line of whoever called the package, whatever stands between."""
    level, frame = 1, inspect.currentframe()
    inside = ("odesteer_tl", "torch", "contextlib", "jaxtyping", "beartype")
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in inside:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
