"""One steer of all prompts: an arm at a layer with a strength for every prompt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

import odesteer_tl as ode
from analyses.effects.arms import Arm
from odesteer_tl.sites import BLOCK_OUTPUT

if TYPE_CHECKING:
    from analyses.effects.material import LayerMaterial

#: radians at which the directions of two fits are compared
PROBE_ANGLE = 0.1


@dataclass(frozen=True, eq=False)
class Steer:
    """An arm at a layer, each prompt at its own strength.

    Args:
        strength: as `Arm.flow` takes it.
        seed, half: of the fit, where another than the study's own is meant.
    """

    here: LayerMaterial
    arm: Arm
    strength: Float[Tensor, " n"]
    seed: int | None = None
    half: str = ""

    @property
    def direct(self) -> bool:
        """Whether the arm acts on this layer's output alone, so that no model is needed to see what it does there."""
        return not self.arm.in_turn and ode.METHODS[self.arm.method].site == BLOCK_OUTPUT

    def steerer_for(self, rows: slice | list[int], positions: str = "generated") -> ode.Steerer | ode.Composition:
        """What steers a slice of the prompts; each prompt's strength holds at all its positions."""
        flow = self.arm.flow(self.strength[rows, None])
        found = self.here.steerer(self.arm, self.seed, self.half)
        if isinstance(found, ode.Steerer):
            return replace(found, flow=flow, positions=positions)
        return ode.compose([replace(each, flow=flow, positions=positions) for each in found.steerers])

    def residuals(self, prefix: ode.Prefix) -> Float[Tensor, "n pos d"]:
        """The layer's residuals where the prefix's positions, from its start on, are steered."""
        if self.direct:
            field = self.here.field(self.arm.method, self.seed, self.half)
            return self.arm.flow(self.strength[:, None]).solve(field, prefix.residuals[self.here.layer]).end
        found: list[Tensor] = []
        steering = self.steerer_for(slice(None), "generated" if prefix.start else "all_and_bos")
        look = (f"blocks.{self.here.layer}.{BLOCK_OUTPUT}", lambda x, hook: found.append(x))
        with torch.no_grad(), prefix.model.hooks(fwd_hooks=[*steering.hooks(prefix.start + 1), look]):
            prefix.model(prefix.tokens, attention_mask=prefix.attention_mask)
        return found[0][:, prefix.start :]

    @cached_property
    def passage(self) -> Float[Tensor, "n pos d"]:
        """The layer's residuals along the passage, steered at all its tokens."""
        return self.residuals(self.here.shared.passage.prefix)

    @cached_property
    def everywhere(self) -> Float[Tensor, "n pos d"]:
        """The layer's residuals at every position of the prompts, steered at all of them."""
        return self.residuals(self.here.shared.whole)

    @cached_property
    def points(self) -> Float[Tensor, "steps_plus_1 n d"]:
        """The path from the token looked at; its start and end where the arm is not `direct`."""
        start = self.here.start
        if not self.direct:
            return torch.stack([start, self.here.shared.passage.at(self.passage)])
        field = self.here.field(self.arm.method, self.seed, self.half)
        points = self.arm.flow(self.strength).solve(field, start, record=True).points
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
        """Where the arm would go, fitted with another seed or on half the texts: the displacement of a short path."""
        short = torch.full_like(self.strength, PROBE_ANGLE * self.arm.reach)
        return Steer(self.here, self.arm, short, seed, half).end - self.start


def angle_between(a: Float[Tensor, "*batch d"], b: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
    """Radians between directions, exact for small ones too."""
    u, w = (x.double() / x.double().norm(dim=-1, keepdim=True) for x in (a, b))
    return 2 * torch.atan2((u - w).norm(dim=-1), (u + w).norm(dim=-1))
