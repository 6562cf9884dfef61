"""What cannot be fitted at a layer, and why: a study says so, and goes on with everything else."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TypeVar

import odesteer_tl as ode
from analyses.sweep import Refused
from odesteer_tl._difference import NoDifference

T = TypeVar("T")


class Refusal(ValueError):
    """A method's refusal to be fitted to what it was given, in its words."""


def fitted(method: str, make: Callable[[], T]) -> T:
    """What `make` fits by a method of this name.

    Raises:
        NoDifference: what must differ is the same.
        Refusal: the method itself, or this library, raised a `ValueError` and no subclass of it. What another library
            raises on its behalf was not foreseen, and is raised as it is.
    """
    try:
        return make()
    except ValueError as error:
        own = ode.METHODS[method].train or ode.METHODS[method].fit
        places = {module.partition(".")[0] for module in (ode.__name__, own.__module__)}
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if type(error) is not ValueError or frame.f_globals.get("__name__", "").partition(".")[0] not in places:
            raise
        raise Refusal(str(error)) from error


def unless_refused(make: Callable[[], T]) -> T | Refused:
    """What `make` gives, unless there is nothing to fit to, or a method refuses. Every other error is raised."""
    try:
        return make()
    except (NoDifference, Refusal) as error:
        return Refused(str(error))
