"""The steps of a path as arcs: a straight segment, seen through a/‖a‖, is an arc of a great circle."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._check import require_nonzero_rows, require_width
from odesteer_tl._scale import exponents, row_norms, times_power
from odesteer_tl.barriers import Barrier
from odesteer_tl.certify.circle import (
    SAFETY,
    UNIT_ROUNDOFF,
    Circles,
    polynomial_circles,
    quadratic_circles,
    quadratic_error,
)
from odesteer_tl.path import Path

#: relative error of a step's coordinates from which on nothing is certified or refuted
LOST = 1e-4


@dataclass(frozen=True)
class Steps:
    """Geometry of K steps of n paths, float64.

    Attributes:
        start, move: a_k and a_{k+1} − a_k (exact for close points: the tangent keeps its relative accuracy however
            short the step). Taken from points of one size (`in_scale`).
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
        """Bound on the error of the unit tangent, rounding times length/span; of a lost step, of its end instead."""
        rounding = self._gamma * torch.hypot(self.along, self.span)
        tilt = rounding / torch.where(self.lost, (self.radius + self.along).abs(), self.span)
        return torch.where(self.stationary, 0.0, tilt)

    @property
    def stationary(self) -> Bool[Tensor, "K n"]:
        """Where the direction turns by no more than rounding."""
        return self._radial & (self.radius + self.along > 0)

    @property
    def lost(self) -> Bool[Tensor, "K n"]:
        """Where the move passes through the origin, to rounding: it turns by π, no one knows in which plane."""
        return self._radial & ~(self.radius + self.along > 0)

    @property
    def _radial(self) -> Bool[Tensor, "K n"]:
        return self.span <= self._gamma * torch.hypot(self.along, self.span)

    @property
    def _gamma(self) -> float:
        return SAFETY * (2 * self.start.shape[-1] + 8) * UNIT_ROUNDOFF

    @property
    def turned(self) -> Float[Tensor, "K n"]:
        """Angle of each step in radians."""
        return torch.atan2(self.span, self.radius + self.along)

    @property
    def turn_error(self) -> Float[Tensor, "K n"]:
        """Bound on the error of `turned`; of a stationary step, on the turn itself."""
        return 4 * self._gamma * torch.hypot(self.along, self.span) / torch.hypot(self.radius + self.along, self.span)

    @property
    def u(self) -> Float[Tensor, "K n d"]:
        """The unit direction each step starts from."""
        return self.start / self.radius.unsqueeze(-1)

    @property
    def v(self) -> Float[Tensor, "K n d"]:
        """The unit tangent each step starts along (of a lost step, any)."""
        u = self.u
        v = (self.move - self.along.unsqueeze(-1) * u) / torch.where(self._radial, 1.0, self.span).unsqueeze(-1)
        if bool(self.lost.any()):
            axis = torch.zeros_like(u).scatter_(-1, u.abs().argmin(-1, keepdim=True), 1.0)
            across = axis - (axis * u).sum(-1, keepdim=True) * u
            v = torch.where(self.lost.unsqueeze(-1), across / across.norm(dim=-1, keepdim=True), v)
        return v

    def circles(self, barrier: Barrier) -> Circles:
        """h on the great circle of every step."""
        degree = barrier.polynomial_degree
        assert degree is not None
        tilt = self.tilt
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
        v = v.div_(torch.where(self._radial, 1.0, self.span).unsqueeze(-1))
        # an error of the coordinates counts against the norm a path has had and against what of a move is tangent
        blur = (self.radius.cummax(0).values / self.radius) * torch.where(
            self._radial, 1.0, torch.hypot(self.along, self.span) / self.span
        )
        rounding = quadratic_error(q) * (1 + len(self.start) / q.d_model)
        error = rounding * blur + tilt * 2 * q.curvature_bound
        # a bound of first order: where coordinates are all but lost (a tiny point after a huge one) nothing is said
        error = torch.where(SAFETY * UNIT_ROUNDOFF * q.d_model * blur < LOST, error, torch.inf)
        return quadratic_circles(u, v, spectrum.eigenvalues, spectrum.linear, q.c, error)


def require_path(points: Path | Float[Tensor, "steps_plus_1 *batch d"], d_model: int) -> Float[Tensor, "K_plus_1 n d"]:
    """The points in float64 with one batch dimension.

    Raises:
        ValueError: a path without its points, fewer than two points, the wrong width, a point that is zero or not
            finite, or a matrix, whose rows may be the steps of one path or the activations of a batch.
    """
    tensor = tensor_of(points)
    if tensor.ndim < 2 or tensor.shape[0] < 2:
        raise ValueError(f"points has shape {tuple(tensor.shape)}; pass at least two points, [steps + 1, *batch, d]")
    require_width("points", tensor, d_model)
    a = tensor.double()
    require_nonzero_rows("points", row_norms(a))
    if not isinstance(points, Path):
        require_step_axis(tensor)
    return a.reshape(len(a), -1, a.shape[-1])


def tensor_of(points: Path | Float[Tensor, "steps_plus_1 *batch d"]) -> Float[Tensor, "steps_plus_1 *batch d"]:
    """The recorded points of a path, or the tensor itself.

    Raises:
        ValueError: the path was not recorded.
    """
    if not isinstance(points, Path):
        return points
    if points.points is None:
        raise ValueError("points: the path was not recorded; solve with record=True")
    return points.points


def require_step_axis(points: Tensor) -> None:
    """Raise `ValueError` for a matrix, of which no one can tell whether its rows are steps."""
    if points.ndim < 3:
        raise ValueError(
            f"points has shape {tuple(points.shape)}, whose rows may be the steps of one path or the activations of a "
            "batch (such as path.end); pass the Path itself, or [steps + 1, *batch, d] with a batch axis: "
            "points[:, None] for the steps of one path"
        )


def in_scale(paths: Float[Tensor, "K_plus_1 n d"]) -> Float[Tensor, "K_plus_1 n d"]:
    """Points of the same directions whose squares are float64 numbers: an arc is seen through a/‖a‖ alone.

    Powers of two are taken out, exactly: one of a path for as long as its points stay within a factor of four, so that
    close points keep the difference they have.
    """
    exponent = exponents(paths)
    scale = [exponent[0]]
    for here in exponent[1:]:
        scale.append(torch.where((here - scale[-1]).abs() <= 1, scale[-1], here))
    taken = torch.stack(scale)
    # (the usual case: nothing to do, and no pass over the memory)
    if bool((taken == taken[0]).all()) and int(taken.abs().max()) < 300:
        return paths
    return times_power(paths, -taken)
