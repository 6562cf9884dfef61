"""The cap bound: the best that any steering of at most a given angle can do, and the point that does it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._check import require_nonzero_rows, require_width
from odesteer_tl.barriers import QuadraticBarrier

#: 55 nats of range halved to one rounding of log μ
BISECTIONS = 60


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
    shift = _minimise_dual(values, loads, y0, theta)
    bound, u = _dual(values, loads, y0, theta, shift)
    point = spectrum.leave(x, start, _primal(u, start, theta))
    size = float(values.abs().max() + loads.norm()) + abs(quadratic.c)
    rounding = 64 * len(values) * 2.0**-53 * (size + shift)
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
    _, u = _dual(values, loads, y0, theta, _minimise_dual(values, loads, y0, theta))
    return _primal(u, start, theta)


def _dual(
    values: Tensor, loads: Tensor, y0: Float[Tensor, "*batch k"], theta: Tensor, shift: Float[Tensor, "*batch"]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch k"]]:
    """D(μ) without the constant c at μ = λmax + shift, and its `u = ½(μI − A)⁻¹(b + νu₀)`.

    ν is the best one for this μ, and then D′(μ) = 1 − ‖u‖². The bound is a sum of squares for whatever ν came out
    of the rounding, so it stays a bound.
    """
    top = values.max()
    r = ((top - values) + shift.unsqueeze(-1)).reciprocal()
    ub, uu = (r * y0 * loads).sum(-1), (r * y0 * y0).sum(-1)
    nu = ((2 * theta.cos() - ub) / uu).clamp_min(0)
    pull = loads + nu.unsqueeze(-1) * y0
    return top + shift - nu * theta.cos() + (r * pull * pull).sum(-1) / 4, r * pull / 2


def _minimise_dual(
    values: Tensor, loads: Tensor, y0: Float[Tensor, "*batch k"], theta: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """μ − λmax at the minimum of the convex dual: bisection on the sign of D′ over its logarithm, all rows at once."""
    spread = float(values.max() - values.min() + loads.norm()) or 1.0
    low = torch.full_like(theta, -34.0)  # from 1e-15 to 1e9 of the quadratic's own scale
    high = torch.full_like(theta, 21.0)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        _, u = _dual(values, loads, y0, theta, spread * middle.exp())
        falls = u.square().sum(-1) > 1
        low, high = torch.where(falls, middle, low), torch.where(falls, high, middle)
    return spread * high.exp()


def _primal(
    u: Float[Tensor, "*batch k"], start: Float[Tensor, "*batch k"], theta: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch k"]:
    """The dual's u on the sphere, and on the cap's circle where rounding or a loose dual leaves it outside."""
    norm = start.norm(dim=-1, keepdim=True)
    y0 = start / norm
    u = u / u.norm(dim=-1, keepdim=True)
    along = (u * y0).sum(-1, keepdim=True)
    across = u - along * y0
    side = across / across.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    turned = theta.unsqueeze(-1).cos() * y0 + theta.unsqueeze(-1).sin() * side
    return norm * torch.where(along >= theta.unsqueeze(-1).cos(), u, turned)
