"""What every field is: a velocity da/dt = v(a) on activations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._display import Displayed

#: below this many machine epsilons of its scale a gradient is rounding noise: a numerical fixed point
FIXED_POINT = 450.0


@dataclass(frozen=True)
class Chart:
    """Coordinates in which a field is cheap, entered once a solve and left once.

    Attributes:
        field: the velocity in the coordinates.
        start: the coordinates of the activations.
        leave: from coordinates back to activations.
        rows: how many rows to integrate at a time, so that a step's numbers stay in a core's cache; None: all.
    """

    field: Callable[[Tensor], Tensor]
    start: Tensor
    leave: Callable[[Tensor], Tensor]
    rows: int | None = None


@dataclass(frozen=True)
class Seen:
    """What a hook knows of the texts of a pass, from their first token to the last one so far.

    Attributes:
        states: as they reached the hook, whatever was then written in their place.
        written: what was written in their place, for the tokens of earlier passes; `states` for those of this one.
        real: which are no padding.
        moves: which are steered.
    """

    states: Float[Tensor, "batch seq d"]
    written: Float[Tensor, "batch seq d"]
    real: Bool[Tensor, "batch seq"]
    moves: Bool[Tensor, "batch seq"]


class VectorField(Displayed, ABC):
    """A velocity on the residual stream. Fields of unit speed make T the length of the path.

    A map a → T(a) is the field v(a) = T(a) − a, of its own speed: one Euler step of time 1 applies it, and one of
    time s goes the share s of the way.
    """

    #: whether v(a) is orthogonal to a, so that the exact flow keeps ‖a‖
    tangent: bool = False

    #: whether ‖v(a)‖ = 1 (or 0 where it rests), so that `Flow(T=…)` is a length and not a time
    unit_speed: bool = True

    #: what of the tokens before its own a field looks at when a hook steers: "" (nothing), "previous" (the state
    #: written for the token before, through `after`) or "sequence" (the states of its whole text, through `within`)
    context: str = ""

    #: whether the velocity depends on the time since the start of the path: v(a, t), given by `at_time`
    timed: bool = False

    @property
    @abstractmethod
    def d_model(self) -> int:
        """Width of the activations."""

    @property
    @abstractmethod
    def median_norm(self) -> float | None:
        """Median activation norm of the fitting data, the unit of `Flow(relative=…)`; None if unknown."""

    @property
    def own_length(self) -> float:
        """T of the method's own strength 1, the unit of `Flow(multiplier=…)`: 1 for a field of its own speed.

        Raises:
            ValueError: the field has unit speed and knows no strength of its own.
        """
        if self.unit_speed:
            raise ValueError(
                f"multiplier: {type(self).__name__} has unit speed and no strength of its own; use angle, T or relative"
            )
        return 1.0

    @abstractmethod
    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The velocity at a."""

    def at_time(self, a: Float[Tensor, "*batch d"], t: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch d"]:
        """The velocity at a, t after the start; a field that is not `timed` has one velocity for all times."""
        return self(a)

    def after(self, previous: Float[Tensor, "*batch d"]) -> VectorField:
        """The field at tokens whose previous token's state, as written, is given; itself where it looks at none."""
        return self

    def within(self, seen: Seen) -> VectorField:
        """The field on whole texts [batch, seq, d], resting where nothing is steered; itself where it looks at none."""
        return self

    @abstractmethod
    def dump(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What `load` needs: JSON-able settings and tensors."""

    @classmethod
    @abstractmethod
    def load(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> VectorField:
        """Rebuild a field from `dump`'s output."""

    def _facts(self) -> dict[str, object]:
        return {**self._made_of(), "speed": 1 if self.unit_speed else "its own", "keeps the norm": self.tangent}

    def _made_of(self) -> dict[str, object]:
        """What is shown of how it was made; a field of one's own may say more."""
        return {"width": self.d_model}

    def chart(self, a: Float[Tensor, "*batch d"]) -> Chart:
        """Where to integrate from `a`: by default the activations themselves."""
        return Chart(self, a, lambda y: y)


def unit(v: Float[Tensor, "*batch d"], scale: float) -> Float[Tensor, "*batch d"]:
    """v/‖v‖, and 0 where ‖v‖ is rounding noise beside `scale`: without this a step walks off a maximum."""
    norm = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    # a norm at or below the floor becomes infinite, and its row 0
    return v / torch.threshold(norm, FIXED_POINT * torch.finfo(v.dtype).eps * scale, torch.inf)


def tangential(u: Float[Tensor, "*batch d"], v: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
    """The unit tangent at the direction u along the unit vector v (0 where v is radial)."""
    return unit(v - (v * u).sum(-1, keepdim=True) * u, 1.0)
