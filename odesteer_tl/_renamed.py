"""What has another name now, arguments and ways to steer: the old one still works, and says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from odesteer_tl._words import warn

T = TypeVar("T", bound=Callable[..., Any])

#: what studies called their ways to steer before these had the names of `METHODS`, → their name now
WAYS: dict[str, str] = {
    "random direction": "random, geodesic",
    "CAA": "caa",
    "ODESteer as published": "odesteer",
    "one geodesic step": "odesteer_kernel, one step",
    "Euler-10": "odesteer_kernel, ten Euler steps",
    "flow": "odesteer_kernel",
    "kernel flow": "odesteer_kernel",
    "certified": "odesteer_certified",
    "optimal cap": "optimal_cap",
}


def current_way(name: str) -> str:
    """Today's name of a way to steer; what may stand behind it, such as `, layers 12+16`, is kept."""
    for former, now in WAYS.items():
        if name == former or name.startswith(f"{former}, "):
            return now + name.removeprefix(former)
    return name


def said_now(former: str, now: str) -> str:
    """What is said where a former name of an option, or of a way to steer, is given."""
    return f"{former!r} is the former name of {now!r}; write that"


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
