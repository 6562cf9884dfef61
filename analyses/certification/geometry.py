"""h and its local geometry at many points, from one rotation into the barrier's eigenbasis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

import odesteer_tl as ode
from odesteer_tl._scale import directions

#: what of a gradient is taken for rounding, in units of the curvature bound (as `certify.geodesic_curvature` does)
STILL = 1e-13


@dataclass(frozen=True, eq=False)
class Local:
    """A quadratic barrier at points, in coordinates in which A is diagonal: measurements, not proofs.

    Attributes:
        y: coordinates of the points' directions; where A has a complement, the point's own direction in it is one.
    """

    quadratic: ode.QuadraticBarrier
    y: Float[Tensor, "*batch k"]

    @classmethod
    def at(cls, quadratic: ode.QuadraticBarrier, points: Float[Tensor, "*batch d"]) -> Local:
        """At activations of any norm but zero, float64."""
        return cls(quadratic, quadratic.spectrum.enter(directions(points)))

    @property
    def value(self) -> Float[Tensor, "*batch"]:
        """h."""
        spectrum = self.quadratic.spectrum
        return (self.y.square() @ spectrum.values) + self.y @ spectrum.loads + self.quadratic.c

    @cached_property
    def _linear(self) -> Float[Tensor, "*batch k"]:
        """Pb."""
        return self._tangent(self.quadratic.spectrum.loads)

    @cached_property
    def _gradient(self) -> Float[Tensor, "*batch k"]:
        """P(2Au + b)."""
        return self._tangent(2 * self.quadratic.spectrum.values * self.y) + self._linear

    def _tangent(self, x: Tensor) -> Tensor:
        return x - (x * self.y).sum(-1, keepdim=True) * self.y

    @cached_property
    def slope(self) -> Float[Tensor, "*batch"]:
        """G = ‖P(2Au + b)‖."""
        return self._gradient.norm(dim=-1)

    @property
    def curvature(self) -> Float[Tensor, "*batch"]:
        """κ, as `certify.geodesic_curvature` has it."""
        slope = self.slope.unsqueeze(-1)
        v = self._gradient / slope.clamp_min(torch.finfo(torch.float64).tiny)
        turn = self._tangent(2 * self.quadratic.spectrum.values * v)
        turn = turn - (turn * v).sum(-1, keepdim=True) * v
        still = slope <= STILL * max(self.quadratic.curvature_bound, torch.finfo(torch.float64).tiny)
        return torch.where(still, 0.0, turn / torch.where(still, 1.0, slope)).norm(dim=-1)

    @property
    def quadratic_share(self) -> Float[Tensor, "*batch"]:
        """As `certify.quadratic_share` has it."""
        bent = (self._gradient - self._linear).norm(dim=-1)
        return bent / (bent + self._linear.norm(dim=-1)).clamp_min(torch.finfo(torch.float64).tiny)

    def of_first(self) -> Local:
        """At the first point of every path alone."""
        return Local(self.quadratic, self.y[0])


def diagonal(quadratic: ode.QuadraticBarrier) -> ode.QuadraticBarrier:
    """The same barrier on `spectrum.enter` of an activation: everything in it costs O(d) a point, and nothing turns."""
    spectrum = quadratic.spectrum
    return ode.QuadraticBarrier(torch.diag(spectrum.values), spectrum.loads, quadratic.c)
