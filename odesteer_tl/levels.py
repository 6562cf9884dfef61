"""Levels: following a barrier's flow until h reaches a value, which the step that crosses it meets exactly.

On a great circle h is a trigonometric polynomial. Every step goes along the circle
of the gradient, no further than h is proved to rise; there h is monotone, so the angle at which it takes a value is
one simple root. The N steps share the rise of h equally, so that the last one ends on the level itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl.certify.circle import quadratic_circles
from odesteer_tl.certify.rise import monotone_angle
from odesteer_tl.fields.barrier import DiagonalField
from odesteer_tl.fields.base import tangential

if TYPE_CHECKING:
    from odesteer_tl.barriers import Barrier

#: steps after which a row that creeps towards its maximum is left where it is
LONGEST = 1000
#: a step that gains less than this share of h's range is the last: the row is at its maximum
LEAST_GAIN = 1e-12


@dataclass(frozen=True)
class Climb:
    """Paths up to a level, in eigenbasis coordinates on the unit sphere.

    Attributes:
        points: the start and the point after each step; a row that has arrived stays where it is.
        reached: where h is at the level or was above it from the start.
        stationary: where the path ended at a maximum of h below the level.
    """

    points: list[Float[Tensor, "*batch k"]]
    reached: Bool[Tensor, "*batch"]
    stationary: Bool[Tensor, "*batch"]


def climb(
    field: DiagonalField,
    u: Float[Tensor, "*batch k"],
    level: Float[Tensor, "*batch"],
    cap: Float[Tensor, "*batch"],
    steps: int,
) -> Climb:
    """Follow the flow of `Σλu² + β·u` from unit vectors until it is `level`, turning no further than `cap`.

    Args:
        field: the gradient's direction, in float64.
        u: unit vectors.
        level: of h without its constant.
        cap: the longest path, in radians.
        steps: N: each takes an Nth of the rise, and none is longer than cap/N.
    """
    h = _value(field, u)
    reached = h >= level
    start, done, still = h, reached.clone(), torch.zeros_like(reached)
    nth, spent, points = torch.ones_like(h), torch.zeros_like(h), [u]
    for _ in range(LONGEST):
        if bool(done.all()):
            break
        v = tangential(u, field(u))
        goal = torch.where(nth < steps, start + (level - start) * (nth / steps), level)
        most = torch.minimum(cap / steps, cap - spent)
        phi = monotone_angle(u, v, field.values, field.loads, most)
        phi, crosses = _crossing(field, u, v, goal, phi)
        phi = torch.where(done | ~v.any(-1), 0.0, phi)
        moved = torch.cos(phi)[..., None] * u + torch.sin(phi)[..., None] * v
        u = torch.where((phi > 0)[..., None], moved / moved.norm(dim=-1, keepdim=True), u)
        spent = spent + phi
        crosses = crosses & (phi > 0)
        before, h = h, _value(field, u)
        reached = reached | (crosses & (nth == steps))
        nth = nth + crosses.to(nth.dtype) * (nth < steps)
        # a step cut short that gains nothing ends at a maximum of h
        top = ~done & ~crosses & (phi < most) & (h - before <= LEAST_GAIN * field.scale)
        still = still | top
        done = done | reached | top | (cap - spent <= torch.finfo(u.dtype).eps * cap)
        points.append(u)
    return Climb(points, reached, still)


def level_of(barrier: Barrier, level: float | str | Tensor) -> float | Tensor:
    """A level as numbers: "median" and "q75" are quantiles of h over the barrier's positives.

    Raises:
        ValueError: another word, or the barrier does not know its positives.
    """
    if not isinstance(level, str):
        return level
    return barrier.positive_quantile(quantile_share(level))


def quantile_share(level: str) -> float:
    """The share of positives below a named level: .5 of "median", .75 of "q75".

    Raises:
        ValueError: no such name.
    """
    digits = "50" if level == "median" else level.removeprefix("q")
    if (level != "median" and not level.startswith("q")) or not digits.isdecimal() or int(digits) > 100:
        raise ValueError(f"level={level!r} is no level; use a number, 'median', or a percentile from 'q0' to 'q100'")
    return int(digits) / 100


def _value(field: DiagonalField, u: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch"]:
    return u.square() @ field.values + u @ field.loads


def _crossing(
    field: DiagonalField, u: Tensor, v: Tensor, goal: Float[Tensor, "*batch"], phi: Float[Tensor, "*batch"]
) -> tuple[Float[Tensor, "*batch"], Bool[Tensor, "*batch"]]:
    """The angle in [0, phi], where h rises, at which it is `goal`; phi itself, and False, where it stays below."""
    circles = quadratic_circles(u, v, field.values, field.loads, 0.0, torch.zeros_like(goal))
    (c0, c1, c2), (_, s1, s2) = circles.cosines.unbind(-1), circles.sines.unbind(-1)

    size = circles.cosines.abs().sum(-1) + circles.sines.abs().sum(-1) + goal.abs()

    def excess_and_slope(x: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = x.cos(), x.sin()
        cos2, sin2 = 1 - 2 * sin * sin, 2 * sin * cos
        height = (c0 - goal) + c1 * cos + s1 * sin + c2 * cos2 + s2 * sin2
        return height, s1 * cos - c1 * sin + 2 * (s2 * cos2 - c2 * sin2)

    x, low, high = phi, torch.zeros_like(phi), phi
    excess, slope = excess_and_slope(phi)
    crosses = excess >= 0
    for _ in range(60):  # Newton's method, kept inside its bracket by halving; five or so suffice
        if bool((excess.abs() <= 4 * torch.finfo(x.dtype).eps * size)[crosses].all()):
            break
        low, high = torch.where(excess < 0, x, low), torch.where(excess < 0, high, x)
        newton = x - excess / slope
        x = torch.where((newton > low) & (newton < high), newton, (low + high) / 2)
        excess, slope = excess_and_slope(x)
    return torch.where(crosses, x, phi), crosses
