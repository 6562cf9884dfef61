"""The cap bound: the best that any steering of at most a given angle can do, and the point that does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._check import require_nonzero_rows, require_width
from odesteer_tl.barriers import QuadraticBarrier

GOLDEN = 0.6180339887498949
SEARCH_STEPS = 90


@dataclass(frozen=True)
class CapBound:
    """h over the cap of all directions within an angle of a.

    Attributes:
        bound: a proof: h ≤ bound on the whole cap, whatever the method.
        value: h at `point`.
        point: an activation inside the cap with the norm of a.
    """

    bound: Float[Tensor, "*batch"]
    value: Float[Tensor, "*batch"]
    point: Float[Tensor, "*batch d"]

    @property
    def gap(self) -> Float[Tensor, "*batch"]:
        """bound − value; at ≤ 1e-8 of the bound's scale the point is the optimum."""
        return self.bound - self.value

    def tight(self, tolerance: float = 1e-8) -> Bool[Tensor, "*batch"]:
        """Where the bound is reached to `tolerance`, relative to max(1, |bound|)."""
        return self.gap <= tolerance * self.bound.abs().clamp_min(1.0)


@torch.no_grad()
def cap_bound(quadratic: QuadraticBarrier, a: Float[Tensor, "*batch d"], angle: float) -> CapBound:
    """Bound h over all activations within `angle` radians of each row of `a` (MATHEMATICS, Cap bound).

    The Lagrange dual with multiplier μ for the sphere and ν for the cap, minimised over μ; any μ > λmax gives a
    valid bound, so soundness does not hang on the search.

    Raises:
        ValueError: the angle is not in [0, π], or a row has the wrong width, is zero or not finite.
    """
    if not 0 <= angle <= torch.pi:
        raise ValueError(f"angle={angle} must lie between 0 and π radians")
    require_width("a", a, quadratic.d_model)
    x = a.double()
    require_nonzero_rows("a", x.norm(dim=-1))
    spectrum = quadratic.spectrum.like(x)
    start = spectrum.enter(x)
    theta = torch.full(x.shape[:-1], angle, dtype=torch.float64, device=x.device)
    values, loads = spectrum.values, spectrum.loads
    y0 = start / start.norm(dim=-1, keepdim=True)
    mu, bound = _minimise_dual(values, loads, y0, theta)
    point = spectrum.leave(x, start, _primal(values, loads, start, theta, mu))
    size = float(values.abs().max() + loads.norm()) + abs(quadratic.c)
    rounding = 64 * len(values) * 2.0**-53 * (size + mu.abs())
    return CapBound(bound + quadratic.c + rounding, quadratic.value(point), point)


def optimal_point(
    values: Float[Tensor, " k"],
    loads: Float[Tensor, " k"],
    start: Float[Tensor, "*batch k"],
    theta: Float[Tensor, "*batch"],
) -> Float[Tensor, "*batch k"]:
    """The primal point of the cap bound in eigenbasis coordinates: the optimal steer at an angle, with no ODE."""
    y0 = start / start.norm(dim=-1, keepdim=True)
    theta = theta.clamp_max(torch.pi)
    mu, _ = _minimise_dual(values, loads, y0, theta)
    return _primal(values, loads, start, theta, mu)


def _dual(
    values: Tensor, loads: Tensor, y0: Float[Tensor, "*batch k"], theta: Tensor, mu: Float[Tensor, "*batch"]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """D(μ) without the constant c, and the ν that minimises it."""
    r = (mu.unsqueeze(-1) - values).reciprocal()
    bb, ub, uu = (r * loads * loads).sum(-1), (r * y0 * loads).sum(-1), (r * y0 * y0).sum(-1)
    nu = ((2 * theta.cos() - ub) / uu).clamp_min(0)
    return mu - nu * theta.cos() + (bb + 2 * nu * ub + nu * nu * uu) / 4, nu


def _minimise_dual(
    values: Tensor, loads: Tensor, y0: Float[Tensor, "*batch k"], theta: Float[Tensor, "*batch"]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Golden-section search for the convex dual, over log(μ − λmax), all rows at once."""
    top = values.max()
    spread = float(values.max() - values.min() + loads.norm()) or 1.0
    low = torch.full_like(theta, -34.0)  # μ − λmax from 1e-15 to 1e9 of the quadratic's own scale
    high = torch.full_like(theta, 21.0)

    def at(s: Tensor) -> Tensor:
        return _dual(values, loads, y0, theta, top + spread * s.exp())[0]

    s = _golden(at, low, high)
    mu = top + spread * s.exp()
    return mu, _dual(values, loads, y0, theta, mu)[0]


def _golden(f: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Row-wise minimiser of a unimodal function on [low, high]."""
    inner, outer = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    f_inner, f_outer = f(inner), f(outer)
    for _ in range(SEARCH_STEPS):
        left = f_inner <= f_outer
        low, high = torch.where(left, low, inner), torch.where(left, outer, high)
        new_inner, new_outer = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        fresh = f(torch.where(left, new_inner, new_outer))
        f_inner, f_outer = torch.where(left, fresh, f_outer), torch.where(left, f_inner, fresh)
        inner, outer = new_inner, new_outer
    return (low + high) / 2


def _primal(
    values: Tensor, loads: Tensor, start: Float[Tensor, "*batch k"], theta: Float[Tensor, "*batch"], mu: Tensor
) -> Float[Tensor, "*batch k"]:
    """`u = ½(μI − A)⁻¹(b + νu₀)`, put on the cap's circle where rounding or a loose dual leaves it outside."""
    norm = start.norm(dim=-1, keepdim=True)
    y0 = start / norm
    _, nu = _dual(values, loads, y0, theta, mu)
    u = (loads + nu.unsqueeze(-1) * y0) / (mu.unsqueeze(-1) - values) / 2
    u = u / u.norm(dim=-1, keepdim=True)
    along = (u * y0).sum(-1, keepdim=True)
    across = u - along * y0
    side = across / across.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    turned = theta.unsqueeze(-1).cos() * y0 + theta.unsqueeze(-1).sin() * side
    inside = along >= theta.unsqueeze(-1).cos()
    return norm * torch.where(inside, u, turned)
