"""Layers at which activations do not differ where a fit needs it: a study says so, and goes on with the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from odesteer_tl._difference import NoDifference

T = TypeVar("T")


@dataclass(frozen=True)
class Alike:
    """In the place of what cannot be had there.

    Attributes:
        why: what was said of the activations, or of scores of them.
    """

    why: str


def unless_alike(make: Callable[[], T]) -> T | Alike:
    """What `make` gives, unless it finds what must differ to be the same. Every other error is raised."""
    try:
        return make()
    except NoDifference as error:
        return Alike(str(error))
