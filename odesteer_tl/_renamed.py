"""Arguments that have another name now: the old one still works, and says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from odesteer_tl._check import warn

T = TypeVar("T", bound=Callable[..., Any])


def renamed(**former: str) -> Callable[[T], T]:
    """Let a function, or a class's constructor, take arguments under the names they had before.

    Args:
        former: old name → new name. Of a class the old name is also read as an attribute.

    Returns:
        A decorator. What it decorates warns with a `DeprecationWarning` where an old name is used.

    Raises:
        ValueError: by the function, where an argument is given under both names.
    """

    def decorate(made: T) -> T:
        if not isinstance(made, type):
            return _taking(made, former)
        made.__init__ = _taking(made.__init__, former)
        for old, new in former.items():
            setattr(made, old, property(_reading(made.__name__, old, new)))
        return made  # pyright: ignore[reportReturnType]

    return decorate


def _taking(function: T, former: dict[str, str]) -> T:
    @wraps(function)
    def taking(*args: Any, **given: Any) -> Any:
        for old in former.keys() & given.keys():
            new = former[old]
            if new in given:
                raise ValueError(
                    f"{old}={given[old]!r} beside {new}={given[new]!r}: {_said(old, new)}; give {new} alone"
                )
            warn(f"{old}= {_said(old, new)}", DeprecationWarning)
            given[new] = given.pop(old)
        return function(*args, **given)

    return taking  # pyright: ignore[reportReturnType]


def _reading(name: str, old: str, new: str) -> Callable[[Any], Any]:
    def read(self: Any) -> Any:
        warn(f"{name}.{old} {_said(old, new)}", DeprecationWarning)
        return getattr(self, new)

    read.__doc__ = f"The former name of `{new}`."
    return read


def _said(old: str, new: str) -> str:
    return f"is the former name of {new}"
