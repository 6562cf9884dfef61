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
from odesteer_tl.sites import BLOCK_OUTPUT

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

    @property
    def site(self) -> str:
        """Where in the block the method acts."""
        return ode.METHODS[self.arm.method].site

    def steerer_for(self, rows: slice, positions: str = "generated") -> ode.Steerer:
        """The steerer of a slice of the prompts; each prompt's strength holds at all its positions."""
        flow = self.arm.flow(self.strength[rows, None])
        return ode.Steerer(self.field, flow, self.here.layer, positions, site=self.site)

    def residuals(self, prefix: ode.Prefix) -> Float[Tensor, "n pos d"]:
        """The layer's residuals where all of the prefix's positions are steered.

        A method that acts inside the block is run there: what leaves the block at a position is the same whether the
        positions before it were steered in this block or not.
        """
        if self.site == BLOCK_OUTPUT:
            return self.arm.flow(self.strength[:, None]).solve(self.field, prefix.residuals[self.here.layer]).end
        found: list[Tensor] = []
        name = f"blocks.{self.here.layer}.{BLOCK_OUTPUT}"
        hooks = [*self.steerer_for(slice(None), "all").hooks(), (name, lambda x, hook: found.append(x))]
        with torch.no_grad(), prefix.model.hooks(fwd_hooks=hooks):
            prefix.model(prefix.tokens, attention_mask=prefix.attention_mask)
        return found[0][:, prefix.start :]

    @cached_property
    def points(self) -> Float[Tensor, "steps_plus_1 n d"]:
        """The path from every prompt's last token; start and end alone of a method that acts inside the block."""
        start = self.here.start
        if self.site != BLOCK_OUTPUT:
            return torch.stack([start, self.residuals(self.here.shared.last)[:, 0]])
        points = self.arm.flow(self.strength).solve(self.field, start, record=True).points
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
        """Where the arm would go, fitted with another seed or on half the texts: a displacement of `PROBE_ANGLE`.

        At the method's own site; the site's activations of the fitting texts stand in for prompts inside a block.
        """
        start = self.here.start if self.site == BLOCK_OUTPUT else self.here.site_start(self.site)
        field = self.here.field(self.arm.method, seed, half)
        return self.arm.flow(PROBE_ANGLE).solve(field, start).end.double() - start.double()


def angle_between(a: Float[Tensor, "*batch d"], b: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
    """Radians between directions, exact for small ones too."""
    u, w = (x.double() / x.double().norm(dim=-1, keepdim=True) for x in (a, b))
    return 2 * torch.atan2((u - w).norm(dim=-1), (u + w).norm(dim=-1))
