"""Integrators: one step along a velocity, on the sphere or off it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from odesteer_tl.certify.rise import monotone_angle
from odesteer_tl.fields.barrier import DiagonalField
from odesteer_tl.fields.base import tangential, unit

Velocity = Callable[[Tensor], Tensor]
Step = Callable[[Velocity, Tensor, Tensor], Tensor]


def _euler(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    return torch.addcmul(y, field(y), eta)


def _midpoint(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    return y + eta * field(y + eta / 2 * field(y))


def _rk4(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    k1 = field(y)
    k2 = field(y + eta / 2 * k1)
    k3 = field(y + eta / 2 * k2)
    k4 = field(y + eta * k3)
    return y + eta / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _geodesic(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    return _along_circle(y, field(y), norm, eta / norm)


def _geodesic_midpoint(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    """Field at half the arc, carried back to the start by parallel transport along the arc."""
    norm = y.norm(dim=-1, keepdim=True)
    u, phi = y / norm, eta / norm
    back = _from_half_way(field, u, field(y), norm, phi)
    return _along_circle(y, tangential(u, back), norm, phi)  # transport and rounding leave it tangent to 1e-16 only


def _from_half_way(field: Velocity, u: Tensor, v: Tensor, norm: Tensor, phi: Tensor) -> Tensor:
    """The field at half the arc `phi` from u along the unit tangent v, carried back to u by parallel transport."""
    half = _along_circle(u, v, 1.0, phi / 2)
    w = field(half * norm)
    v_there = torch.cos(phi / 2) * v - torch.sin(phi / 2) * u
    return w + (w * v_there).sum(-1, keepdim=True) * (v - v_there)


def _timed_geodesic(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    """The great circle along a tangent of any length, followed for the time `eta`."""
    return _for_time(y, field(y), eta)


def _timed_geodesic_midpoint(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    norm = y.norm(dim=-1, keepdim=True)
    u, v = y / norm, field(y)
    speed = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    back = _from_half_way(field, u, unit(v, 0.0), norm, eta * speed / norm)
    return _for_time(y, back - (back * u).sum(-1, keepdim=True) * u, eta)


def _for_time(y: Tensor, v: Tensor, eta: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    speed = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    return _along_circle(y, unit(v, 0.0), norm, eta * speed / norm)


def _certified(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    """A geodesic step, cut at the first angle where h stops rising: h can never fall."""
    assert isinstance(field, DiagonalField)
    norm = y.norm(dim=-1, keepdim=True)
    # near a maximum v is the small rest of large terms: made orthogonal once more, else the angle proved is not its own
    v = tangential(y / norm, field(y))
    phi = monotone_angle(y / norm, v, field.values, field.loads, (eta / norm).squeeze(-1).expand(y.shape[:-1]))
    return _along_circle(y, v, norm, phi.unsqueeze(-1))


def _along_circle(y: Tensor, v: Tensor, norm: Tensor | float, phi: Tensor) -> Tensor:
    """The point at angle `phi` on the great circle from y along the unit tangent v (y itself where v = 0)."""
    phi = torch.where(v.any(-1, keepdim=True), phi, 0.0)
    return torch.addcmul(torch.cos(phi) * y, v, norm * torch.sin(phi))


def projected(field: Velocity) -> Velocity:
    """The field's unit tangent part, for geodesic steps along a field that is not tangent (a constant one)."""
    return lambda y: tangential(y / y.norm(dim=-1, keepdim=True), unit(field(y), 0.0))


def tangent_part(field: Velocity) -> Velocity:
    """The field's tangent part at its own speed."""

    def velocity(y: Tensor) -> Tensor:
        u, v = y / y.norm(dim=-1, keepdim=True), field(y)
        return v - (v * u).sum(-1, keepdim=True) * u

    return velocity


@dataclass(frozen=True)
class Integrator:
    """An integrator: its step, evaluations a step, and how it treats the sphere.

    `project` puts every point back on the sphere (for fields tangent to it); `tangent` wants unit tangents as input,
    which `timed` does without: the same step for a field followed at its own speed.
    """

    step: Step
    evaluations: int
    project: bool = False
    tangent: bool = False
    needs_quadratic: bool = False
    timed: Step | None = None

    @property
    def smooth(self) -> bool:
        """Whether the end point is a smooth function of the step (no step is cut)."""
        return not self.needs_quadratic


INTEGRATORS: dict[str, Integrator] = {
    "euler": Integrator(_euler, 1),
    "midpoint": Integrator(_midpoint, 2, project=True),
    "rk4": Integrator(_rk4, 4, project=True),
    "geodesic": Integrator(_geodesic, 1, tangent=True, timed=_timed_geodesic),
    "geodesic_midpoint": Integrator(_geodesic_midpoint, 2, tangent=True, timed=_timed_geodesic_midpoint),
    "certified": Integrator(_certified, 1, tangent=True, needs_quadratic=True),
    # no steps at all: the end point is the maximum of h within the angle (certify/cap.py)
    "optimal": Integrator(_geodesic, 1, needs_quadratic=True),
}
