"""One steer of all prompts: an arm at a layer with a strength for every prompt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

import odesteer_tl as ode
from analyses.effects.arms import Arm

if TYPE_CHECKING:
    from analyses.effects.material import LayerMaterial

#: radians at which the directions of two fits are compared
PROBE_ANGLE = 0.1


@dataclass(frozen=True, eq=False)
class Steer:
    """An arm at a layer, each prompt at its own strength (radians of path)."""

    here: LayerMaterial
    arm: Arm
    strength: Float[Tensor, " n"]

    @property
    def field(self) -> ode.VectorField:
        """What is followed."""
        return self.here.field(self.arm.method)

    def steerer_for(self, rows: slice) -> ode.Steerer:
        """The steerer of a slice of the prompts; each prompt's strength holds at all its positions."""
        return ode.Steerer(self.field, self.arm.flow(self.strength[rows, None]), self.here.layer)

    def solve(self, residuals: Float[Tensor, "n pos d"]) -> Float[Tensor, "n pos d"]:
        """Where residuals of the prompts are led, at any positions."""
        return self.arm.flow(self.strength[:, None]).solve(self.field, residuals).end

    @cached_property
    def points(self) -> Float[Tensor, "steps_plus_1 n d"]:
        """The path from every prompt's last token."""
        points = self.arm.flow(self.strength).solve(self.field, self.here.start, record=True).points
        assert points is not None
        return points

    @property
    def start(self) -> Float[Tensor, "n d"]:
        """Where the paths begin, float64."""
        return self.points[0].double()

    @property
    def end(self) -> Float[Tensor, "n d"]:
        """Where the paths end, float64."""
        return self.points[-1].double()

    def refitted(self, seed: int | None = None, half: str = "") -> Float[Tensor, "n d"]:
        """Where the arm would go, fitted with another seed or on half the texts: a displacement of `PROBE_ANGLE`."""
        start = self.here.start
        field = self.here.field(self.arm.method, seed, half)
        return self.arm.flow(PROBE_ANGLE).solve(field, start).end.double() - start.double()


def angle_between(a: Float[Tensor, "*batch d"], b: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
    """Radians between directions, exact for small ones too."""
    u, w = (x.double() / x.double().norm(dim=-1, keepdim=True) for x in (a, b))
    return 2 * torch.atan2((u - w).norm(dim=-1), (u + w).norm(dim=-1))
