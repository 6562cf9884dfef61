"""How a path bends: every step that a steer takes from the token looked at, as the sphere of directions sees it."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.effects.measures import Seen, reached
from analyses.effects.steer import angle_between

#: radians that are rounding of a float32 state and no step
STILL = 1e-6


def path(seen: Seen) -> dict[str, Any]:
    """`reached` of every step, and `bending`; nothing of an arm that has no path at this layer's output."""
    points = seen.steer.steps(seen.states.passage)
    return {} if points is None else {**reached(seen, points), **bending(points)}


def bending(points: Float[Tensor, "steps_plus_1 n d"]) -> dict[str, Any]:
    """How far a path of directions is from the great circle between its ends.

    A straight line in space is a great circle of directions, and so is a path whose norm alone changes; one step is
    straight whatever it is of.

    Args:
        points: of any norms but zero, float64.

    Returns:
        `path_steps`: that move at all. `path_length`: radians. `path_curvature`: the angles by which one step's
        direction turns to the next one's (along the sphere), over the length on which they are turned, in radians a
        radian: for many steps the geodesic curvature's mean. `chord_share`: the great circle's length between the ends
        over the path's, 1 where nothing moves. `path_bend`: the angle between the direction in which the path sets out
        and that of its end, radians. 0, 1 and 0 are straight.
    """
    u = points / points.norm(dim=-1, keepdim=True)
    arcs = angle_between(u[:-1], u[1:])
    moves = arcs > STILL
    turned = angle_between(-_toward(u[1:-1], u[:-2]), _toward(u[1:-1], u[2:]))
    # (beside a step that moves nothing there is no direction to turn from or to)
    between = moves[:-1] & moves[1:]
    turning = turned.where(between, 0.0).sum(0)
    on = ((arcs[:-1] + arcs[1:]) / 2).where(between, 0.0).sum(0)
    length, chord = arcs.where(moves, 0.0).sum(0), angle_between(u[0], u[-1])
    first = moves.int().argmax(0)
    away = u[first + 1, torch.arange(u.shape[1])]
    bend = angle_between(_toward(u[0], away), _toward(u[0], u[-1]))
    return {
        "path_steps": moves.sum(0),
        "path_length": length,
        "path_curvature": torch.where(on > 0, turning / on.where(on > 0, 1.0), 0.0),
        "chord_share": torch.where(length > 0, (chord / length.where(length > 0, 1.0)).clamp_max(1.0), 1.0),
        "path_bend": bend.where(chord > STILL, 0.0),
    }


def _toward(u: Float[Tensor, "*batch d"], w: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
    """The unit tangent at u of the great circle to w; any where they are one."""
    tangent = w - (w * u).sum(-1, keepdim=True) * u
    tangent = torch.where(tangent.norm(dim=-1, keepdim=True) > 0, tangent, torch.ones_like(tangent))
    return tangent / tangent.norm(dim=-1, keepdim=True)
