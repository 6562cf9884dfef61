"""Is an ODE needed, and how far must one turn? Local geometry of the flow on the sphere."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._check import require_nonzero_rows, require_width
from odesteer_tl._scale import directions, row_norms
from odesteer_tl.barriers import QuadraticBarrier
from odesteer_tl.certify.steps import require_step_axis, tensor_of
from odesteer_tl.path import Path


def geodesic_curvature(quadratic: QuadraticBarrier, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
    """`κ = ‖(I − uuᵀ − vvᵀ)2Av‖/G`: how fast the flow line through a bends, per radian (0 at a fixed point).

    One geodesic step of angle θ ends κθ²/2 away from the flow's end and loses κ²Gθ³/3 of h: where κθ is small there
    is nothing for an ODE to bend around.

    Args:
        quadratic: the barrier h.
        a: activations, of any norm but zero.

    Returns:
        κ at each, in 1/radian; 0 at a stationary point.
    """
    u, g = _direction_and_slope(quadratic, a)
    slope = g.norm(dim=-1, keepdim=True)
    v = g / slope.clamp_min(torch.finfo(torch.float64).tiny)
    turn = 2 * quadratic.product(v)
    turn = turn - (turn * u).sum(-1, keepdim=True) * u
    turn = turn - (turn * v).sum(-1, keepdim=True) * v
    still = slope <= 1e-13 * max(quadratic.curvature_bound, torch.finfo(torch.float64).tiny)
    return torch.where(still, 0.0, turn / torch.where(still, 1.0, slope)).norm(dim=-1)


def quadratic_share(quadratic: QuadraticBarrier, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
    """`‖P2Au‖ / (‖P2Au‖ + ‖Pb‖)` in [0, 1]: how much of the gradient at a is not that of a linear barrier.

    Args:
        quadratic: the barrier h.
        a: activations, of any norm but zero.

    Returns:
        The share at each, dimensionless.
    """
    u, g = _direction_and_slope(quadratic, a)
    b = quadratic.b.to(u)
    linear = b - (u @ b).unsqueeze(-1) * u
    bent = (g - linear).norm(dim=-1)
    total = bent + linear.norm(dim=-1)
    return bent / total.clamp_min(torch.finfo(torch.float64).tiny)


def reach_angle(
    quadratic: QuadraticBarrier, a: Float[Tensor, "*batch d"], gain: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """`θ ≥ (−G + √(G² + 2LΔh))/L`: no path from a gains Δh in less than this many radians.

    Args:
        quadratic: the barrier h.
        a: activations, of any norm but zero.
        gain: the rise Δh ≥ 0 asked of each.

    Returns:
        The least angle for each, in radians.

    Raises:
        ValueError: a gain is negative.
    """
    if bool((gain < 0).any()):
        raise ValueError(f"gain has a negative entry ({float(gain.min())}); a reach bound is for a rise in h")
    _, g = _direction_and_slope(quadratic, a)
    G, L = g.norm(dim=-1), quadratic.curvature_bound
    # the same root, written so that L → 0 leaves Δh/G
    return 2 * gain / (G + (G * G + 2 * L * gain).sqrt()).clamp_min(torch.finfo(torch.float64).tiny)


def reversals(points: Path | Float[Tensor, "steps_plus_1 *batch d"]) -> Bool[Tensor, "steps_minus_1 *batch"]:
    """Where a step turns back on the one before it (their tangents at the shared point are more than 90° apart).

    Uncapped Euler steps chatter like this around a maximum of h.

    Args:
        points: a path solved with `record=True`, or realised points `[steps + 1, *batch, d]` with a batch axis.

    Returns:
        One flag for every inner point of every path.

    Raises:
        ValueError: fewer than three points, or points is a matrix, whose rows need not be steps.
    """
    a = tensor_of(points).double()
    if a.ndim < 2 or a.shape[0] < 3:
        raise ValueError(f"points has shape {tuple(a.shape)}; a reversal takes at least three points")
    if not isinstance(points, Path):
        require_step_axis(a)
    middle = directions(a[1:-1])
    moves = a[1:] - a[:-1]
    before, after = (m - (m * middle).sum(-1, keepdim=True) * middle for m in (moves[:-1], moves[1:]))
    return (before * after).sum(-1) < 0


def _direction_and_slope(
    quadratic: QuadraticBarrier, a: Float[Tensor, "*batch d"]
) -> tuple[Float[Tensor, "*batch d"], Float[Tensor, "*batch d"]]:
    """u and the gradient on the unit sphere, float64."""
    require_width("a", a, quadratic.d_model)
    a = a.double()
    require_nonzero_rows("a", row_norms(a))
    u = directions(a)
    return u, quadratic.gradient(u)
