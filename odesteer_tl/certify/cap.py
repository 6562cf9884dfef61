"""The cap bound: the best that any steering of at most a given angle can do, and the point that does it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._check import require_nonzero_rows, require_width
from odesteer_tl._display import Displayed, of, spread
from odesteer_tl.barriers import QuadraticBarrier
from odesteer_tl.certify.boundary import Boundary
from odesteer_tl.certify.landscape import local_maxima

#: 55 nats of range halved to one rounding of log μ
BISECTIONS = 60
#: a bound this close to a point's value, relative to max(1, |bound|), is called reached
TIGHT = 1e-8


@dataclass(frozen=True, repr=False)
class CapBound(Displayed):
    """h over the cap of all directions within an angle of a.

    Attributes:
        bound: a proof: h ≤ bound on the whole cap, whatever the method.
        value: h at `point`.
        point: an activation inside the cap with the norm of a.
        dual_gap: what the Lagrange dual alone left between bound and point; where it is not small, the bound was had
            from the boundary and the stationary points instead.
    """

    bound: Float[Tensor, "*batch"]
    value: Float[Tensor, "*batch"]
    point: Float[Tensor, "*batch d"]
    dual_gap: Float[Tensor, "*batch"]

    @property
    def gap(self) -> Float[Tensor, "*batch"]:
        """bound − value; at ≤ 1e-8 of the bound's scale the point is the optimum."""
        return self.bound - self.value

    def tight(self, tolerance: float = TIGHT) -> Bool[Tensor, "*batch"]:
        """Where the bound is reached to `tolerance`, relative to max(1, |bound|)."""
        return self.gap <= tolerance * self.bound.abs().clamp_min(1.0)

    def _facts(self) -> dict[str, object]:
        return {
            "bound of h": spread(self.bound),
            "h at the best point": spread(self.value),
            f"reached to {TIGHT:g}": of(int(self.tight().sum()), self.bound.numel()),
            "point": self.point,
        }


@torch.no_grad()
def cap_bound(
    quadratic: QuadraticBarrier, a: Float[Tensor, "*batch d"], angle: float | Float[Tensor, "*batch"]
) -> CapBound:
    """Bound h over all activations within `angle` radians of each row of `a` (MATHEMATICS, Cap bound).

    The Lagrange dual with multiplier μ for the sphere and ν for the cap, minimised over μ: any μ > λmax gives a valid
    bound, so soundness does not hang on the search. Where the dual is loose (strong curvature, few dimensions) the
    maximum is a local maximum of h inside the cap or lies on its boundary, and both are found exactly.

    Args:
        angle: one for all, or one a row.

    Returns:
        The bound, the best point found and h there, one of each a row.

    Raises:
        ValueError: an angle is not in [0, π], or a row has the wrong width, is zero or not finite.

    Example:
        >>> import torch
        >>> import odesteer_tl as ode
        >>> h = ode.QuadraticBarrier(A=torch.diag(torch.tensor([1.0, -1.0])), b=torch.zeros(2), c=0.0)
        >>> start = torch.tensor([[0.0, 3.0]])  # h = −1, the minimum
        >>> cap = ode.cap_bound(h, start, angle=torch.pi / 3)
        >>> round(float(cap.bound), 6)  # −cos(2π/3): no steering by 60° can do better
        0.5
    """
    require_width("a", a, quadratic.d_model)
    x = a.double()
    require_nonzero_rows("a", x.norm(dim=-1))
    theta = torch.as_tensor(angle, dtype=torch.float64, device=x.device).expand(x.shape[:-1])
    if not bool(((theta >= 0) & (theta <= torch.pi)).all()):
        raise ValueError(f"angle={angle} must lie between 0 and π radians")
    spectrum = quadratic.spectrum.like(x)
    start = spectrum.enter(x)
    values, loads = spectrum.values, spectrum.loads
    bound, y, dual_gap = _maximise(values, loads, start.reshape(-1, start.shape[-1]), theta.reshape(-1))
    point = _inside(spectrum.leave(x, start, y.reshape(start.shape)), x, theta)
    size = float(values.abs().max() + loads.norm()) + abs(quadratic.c)
    rounding = 64 * len(values) * 2.0**-53 * size + 4 * quadratic.spectral_error
    bound = bound.reshape(theta.shape) + quadratic.c + rounding
    return CapBound(bound, quadratic.value(point), point, dual_gap.reshape(theta.shape))


def _inside(
    point: Float[Tensor, "*batch d"], a: Float[Tensor, "*batch d"], theta: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch d"]:
    """The point where it lies in the cap with the norm of a; a itself where degenerate coordinates lost it."""
    norm = a.norm(dim=-1)
    turned = torch.atan2((point - (point * a).sum(-1, keepdim=True) * a / norm.unsqueeze(-1) ** 2).norm(dim=-1),
                         (point * a).sum(-1) / norm)  # fmt: skip
    kept = ((point.norm(dim=-1) / norm - 1).abs() < 1e-9) & (turned <= theta + 1e-12)
    return torch.where(kept.unsqueeze(-1), point, a)


def optimal_point(
    values: Float[Tensor, " k"],
    loads: Float[Tensor, " k"],
    start: Float[Tensor, "*batch k"],
    theta: Float[Tensor, "*batch"],
) -> Float[Tensor, "*batch k"]:
    """The best point of the cap in eigenbasis coordinates: the optimal steer at an angle, with no ODE."""
    _, y, _ = _maximise(values, loads, start.reshape(-1, start.shape[-1]), theta.reshape(-1).clamp_max(torch.pi))
    return torch.where(y.isfinite().all(-1, keepdim=True), y, start.reshape(y.shape)).reshape(start.shape)


def _maximise(
    values: Float[Tensor, " k"], loads: Float[Tensor, " k"], start: Float[Tensor, "n k"], theta: Float[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n k"], Float[Tensor, " n"]]:
    """Bound (without c), best point with the norm of its start, and the dual's gap."""
    norm = start.norm(dim=1, keepdim=True)
    y0 = start / norm
    shift = _minimise_dual(values, loads, y0, theta)
    bound, u = _dual(values, loads, y0, theta, shift)
    bound = bound + 64 * len(values) * 2.0**-53 * shift
    # a small cap needs a μ too large for float64; there the slope and the curvature bound say more
    start_slope = 2 * values * y0 + loads
    slope = (start_slope - (start_slope * y0).sum(1, keepdim=True) * y0).norm(dim=1)
    bend = 2 * (values.max() - values.min()) + loads.norm()
    bound = torch.minimum(bound, _value(values, loads, y0) + theta * slope + theta.square() / 2 * bend)
    u = _primal(u, y0, theta)
    gap = bound - _value(values, loads, u)
    # on a point or on the whole sphere there is no boundary to search
    reached = gap <= TIGHT / 10 * bound.abs().clamp_min(1.0)  # (not where the dual's point is undefined)
    loose = torch.nonzero(~reached & (theta.sin() > 1e-9)).squeeze(1)
    if len(loose):
        exact, best = _exact(values, loads, y0[loose], theta[loose])
        found, known = _value(values, loads, best), _value(values, loads, u[loose])
        u[loose] = torch.where((found >= known.nan_to_num(-torch.inf))[:, None], best, u[loose])
        bound[loose] = torch.minimum(bound[loose], torch.maximum(exact, known.nan_to_num(-torch.inf)))
    return bound, norm * u, gap


def _value(values: Tensor, loads: Tensor, u: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch"]:
    return (values * u * u).sum(-1) + u @ loads


def _exact(
    values: Float[Tensor, " k"], loads: Float[Tensor, " k"], y0: Float[Tensor, "n k"], theta: Float[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n k"]]:
    """The maximum over each cap: the best of the boundary and of the local maxima inside."""
    order = values.argsort()
    values, loads, y0 = values[order], loads[order], y0[:, order]
    cos, sin = theta.cos()[:, None], theta.sin()[:, None]
    on_edge, w = Boundary(values, y0, (2 * cos * values * y0 + loads) / (2 * sin)).maximise()
    constant = cos.squeeze(1) ** 2 * (values * y0 * y0).sum(1) + cos.squeeze(1) * (y0 @ loads)
    bound, best = constant + sin.squeeze(1) ** 2 * on_edge, cos * y0 + sin * w
    peaks, higher = local_maxima(values, loads)
    for peak in peaks:
        height = _value(values, loads, peak) + higher
        better = (y0 @ peak >= theta.cos() - 1e-12) & (height > bound)
        bound = torch.where(better, height, bound)
        best = torch.where(better[:, None], peak, best)
    return bound, best[:, order.argsort()]


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
    u: Float[Tensor, "*batch k"], y0: Float[Tensor, "*batch k"], theta: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch k"]:
    """The dual's u on the sphere, and on the cap's circle where rounding or a loose dual leaves it outside."""
    u = u / u.norm(dim=-1, keepdim=True)
    along = (u * y0).sum(-1, keepdim=True)
    across = u - along * y0
    side = across / across.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    turned = theta.unsqueeze(-1).cos() * y0 + theta.unsqueeze(-1).sin() * side
    # by the angle itself: its cosine cannot tell small angles apart
    inside = torch.atan2(across.norm(dim=-1, keepdim=True), along) <= theta.unsqueeze(-1)
    return torch.where(inside, u, turned)
