"""The steps of a path as arcs: a straight segment, seen through a/‖a‖, is an arc of a great circle."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._check import require_nonzero_rows, require_width
from odesteer_tl.barriers import Barrier
from odesteer_tl.certify.circle import (
    SAFETY,
    UNIT_ROUNDOFF,
    Circles,
    polynomial_circles,
    quadratic_circles,
    quadratic_error,
)

#: relative error of a step's coordinates from which on nothing is certified or refuted
LOST = 1e-4


@dataclass(frozen=True)
class Steps:
    """Geometry of K steps of n paths, float64.

    Attributes:
        start, move: a_k and a_{k+1} − a_k (exact for close points: the tangent keeps its relative accuracy however
            short the step).
        radius: ‖a_k‖.
        along, span: the move's components along a_k/‖a_k‖ and across it.
    """

    start: Float[Tensor, "K n d"]
    move: Float[Tensor, "K n d"]
    radius: Float[Tensor, "K n"]
    along: Float[Tensor, "K n"]
    span: Float[Tensor, "K n"]

    @classmethod
    def of(cls, points: Float[Tensor, "K_plus_1 n d"]) -> Steps:
        """From realised points."""
        start, move = points[:-1], points[1:] - points[:-1]
        radius = torch.linalg.vector_norm(start, dim=-1)
        along = torch.linalg.vecdot(move, start) / radius
        span = torch.linalg.vector_norm(torch.addcmul(move, start, (-along / radius).unsqueeze(-1)), dim=-1)
        return cls(start, move, radius, along, span)

    @property
    def tilt(self) -> Float[Tensor, "K n"]:
        """Bound on the error of the unit tangent: rounding times length/span (∞ where nothing moves)."""
        length = torch.hypot(self.along, self.span)
        return torch.where(self.stationary, torch.inf, self._gamma * length / self.span)

    @property
    def stationary(self) -> Bool[Tensor, "K n"]:
        """Where the direction does not move beyond rounding."""
        return self.span <= self._gamma * torch.hypot(self.along, self.span)

    @property
    def _gamma(self) -> float:
        return SAFETY * (2 * self.start.shape[-1] + 8) * UNIT_ROUNDOFF

    @property
    def turned(self) -> Float[Tensor, "K n"]:
        """Angle of each step in radians."""
        return torch.atan2(self.span, self.radius + self.along)

    @property
    def u(self) -> Float[Tensor, "K n d"]:
        """The unit direction each step starts from."""
        return self.start / self.radius.unsqueeze(-1)

    @property
    def v(self) -> Float[Tensor, "K n d"]:
        """The unit tangent each step starts along."""
        across = self.move - self.along.unsqueeze(-1) * self.u
        return across / torch.where(self.stationary, 1.0, self.span).unsqueeze(-1)

    def circles(self, barrier: Barrier) -> Circles:
        """h on the great circle of every step."""
        degree = barrier.polynomial_degree
        assert degree is not None
        tilt = torch.where(self.stationary, 0.0, self.tilt)
        if degree > 2:
            u, v = (x.flatten(0, 1) for x in (self.u, self.v))
            flat = polynomial_circles(barrier, degree, u, v, tilt.flatten())
            parts = (flat.cosines, flat.sines, flat.error, flat.slope_error)
            return Circles(*(x.unflatten(0, self.radius.shape) for x in parts))
        q = barrier.quadratic
        spectrum = q.spectrum.like(self.start)
        # the first point and every move are rotated, not every point: one product a step, and short steps stay exact
        z = spectrum.rotate(torch.cat([self.start[:1], self.move]))
        u = z[:-1].cumsum(0).div_(self.radius.unsqueeze(-1))
        v = z[1:].addcmul_(u, self.along.neg().unsqueeze(-1))  # z is ours: no pass over fresh memory
        v = v.div_(torch.where(self.stationary, 1.0, self.span).unsqueeze(-1))
        # an error of the coordinates counts against the norm a path has had and against what of a move is tangent
        blur = (self.radius.cummax(0).values / self.radius) * torch.where(
            self.stationary, 1.0, torch.hypot(self.along, self.span) / self.span
        )
        rounding = quadratic_error(q) * (1 + len(self.start) / q.d_model)
        error = rounding * blur + tilt * 2 * q.curvature_bound
        # a bound of first order: where coordinates are all but lost (a tiny point after a huge one) nothing is said
        error = torch.where(SAFETY * UNIT_ROUNDOFF * q.d_model * blur < LOST, error, torch.inf)
        return quadratic_circles(u, v, spectrum.eigenvalues, spectrum.linear, q.c, error)


def require_path(points: Float[Tensor, "steps_plus_1 *batch d"], d_model: int) -> Float[Tensor, "K_plus_1 n d"]:
    """The points in float64 with one batch dimension.

    Raises:
        ValueError: fewer than two points, the wrong width, or a point that is zero or not finite.
    """
    if points.ndim < 2 or points.shape[0] < 2:
        raise ValueError(f"points has shape {tuple(points.shape)}; pass at least two points, [steps + 1, *batch, d]")
    require_width("points", points, d_model)
    a = points.double()
    require_nonzero_rows("points", a.norm(dim=-1))
    return a.reshape(a.shape[0], -1, a.shape[-1])
