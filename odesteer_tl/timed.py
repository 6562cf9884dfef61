"""Paths of fields that depend on time: v(a, t), with every row's own time since its start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.integrators import INTEGRATORS, tangent_part

if TYPE_CHECKING:
    from odesteer_tl.fields.base import VectorField
    from odesteer_tl.flow import Flow

#: integrators that ask for the velocity once a step, at its start
ALLOWED = ("euler", "geodesic")


def follow_in_time(
    field: VectorField, x: Float[Tensor, "*batch d"], T: Float[Tensor, "*batch 1"], flow: Flow
) -> list[Float[Tensor, "*batch d"]]:
    """The points of a path da/dt = v(a, t), start included.

    With a strength in T or a multiplier the field is followed for that time. With one in angle or relative its path is
    followed for that length: a step of length ds takes the time ds/‖v‖, and a row whose velocity vanishes rests.

    Args:
        field: `timed`.
        x: starts, float32 or float64.
        T: the time, or the length.
        flow: gives the number of steps, the integrator, and what T is.

    Raises:
        ValueError: an integrator that asks for the velocity between the steps.
    """
    if flow.solver not in ALLOWED:
        raise ValueError(
            f"solver={flow.solver!r}: {type(field).__name__} depends on time and is asked for its velocity at the "
            f"steps' starts alone; use {' or '.join(map(repr, ALLOWED))}"
        )
    # a great circle where the integrator goes along them, at the speed of the tangent part
    step = INTEGRATORS[flow.solver].timed or INTEGRATORS[flow.solver].step
    by_length = flow.unit in ("angle", "relative")
    eta = (T / flow.steps).expand(*x.shape[:-1], 1)
    time, points = torch.zeros_like(eta), [x]
    for _ in range(flow.steps):
        now, velocity = time, lambda y, now=time: field.at_time(y, now)
        velocity = velocity if flow.solver == "euler" else tangent_part(velocity)
        v = velocity(points[-1])
        speed = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
        lasts = torch.where(speed > 0, eta / torch.where(speed > 0, speed, 1.0), 0.0) if by_length else eta
        points.append(step(lambda y, v=v: v, points[-1], lasts))
        time = now + lasts
    return points
