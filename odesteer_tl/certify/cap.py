"""The cap bound: the best that any steering of at most a given angle can do, and the point that does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._check import require_nonzero_rows, require_width
from odesteer_tl._display import Result, of, rows, spread
from odesteer_tl._scale import directions, row_norms
from odesteer_tl.barriers import QuadraticBarrier
from odesteer_tl.certify.boundary import Boundary
from odesteer_tl.certify.bracket import narrowed
from odesteer_tl.certify.landscape import lifted, local_maxima
from odesteer_tl.certify.sphere import sphere_maximum

if TYPE_CHECKING:
    import pandas as pd

#: log μ is sought from 1e-15 to 1e9 of the quadratic's own scale
LOWEST, HIGHEST = -34.0, 21.0
#: nats to which log μ is sought, a rounding or so: near the hard case all digits of it count
WIDTH = 1e-15
#: a cap whose edge is a circle of less than this radius is a point or the whole sphere
LEAST_EDGE = 1e-9
#: a bound this close to a point's value, relative to max(1, |bound|), is called reached
TIGHT = 1e-8


@dataclass(frozen=True, repr=False)
class CapBound(Result):
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

    def frame(self) -> pd.DataFrame:
        """One row an activation (the batch, flattened); `tight` at the tolerance that `repr` uses."""
        numbers = {"bound": self.bound, "value": self.value, "gap": self.gap, "dual_gap": self.dual_gap}
        return rows(["row"], {**numbers, "tight": self.tight()})


@torch.no_grad()
def cap_bound(
    quadratic: QuadraticBarrier, a: Float[Tensor, "*batch d"], angle: float | Float[Tensor, "*batch"]
) -> CapBound:
    """Bound h over all activations within `angle` radians of each row of `a`.

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
    require_nonzero_rows("a", row_norms(x))
    theta = torch.as_tensor(angle, dtype=torch.float64, device=x.device).expand(x.shape[:-1])
    if not bool(((theta >= 0) & (theta <= torch.pi)).all()):
        raise ValueError(f"angle={angle} must lie between 0 and π radians")
    bound, point, dual_gap = _best(quadratic, x, theta)
    values, loads = quadratic.spectrum.values, quadratic.spectrum.loads
    size = float(values.abs().max() + loads.norm()) + abs(quadratic.c)
    rounding = 64 * len(values) * 2.0**-53 * size + 4 * quadratic.spectral_error
    return CapBound(bound + quadratic.c + rounding, quadratic.value(point), point, dual_gap)


@torch.no_grad()
def optimal_point(
    quadratic: QuadraticBarrier, a: Float[Tensor, "*batch d"], theta: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch d"]:
    """The best point of each cap with the norm of its centre: the optimal steer at an angle, with no ODE.

    Args:
        a: float64.
        theta: radians; from π on the whole sphere.
    """
    return _best(quadratic, a, theta.clamp_max(torch.pi))[1]


def _best(
    quadratic: QuadraticBarrier, a: Float[Tensor, "*batch d"], theta: Float[Tensor, "*batch"]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch d"], Float[Tensor, "*batch"]]:
    """Bound without c, best activation, and the dual's gap."""
    flat, angle = a.reshape(-1, a.shape[-1]), theta.reshape(-1)
    u0 = directions(flat)
    spectrum = quadratic.spectrum.like(flat)
    start = spectrum.enter(u0)
    bound, y, gap = _maximise(spectrum.values, spectrum.loads, start / start.norm(dim=1, keepdim=True), angle)
    best = _inside(lifted(spectrum, y, u0), u0, angle)
    # never lower than where it began, not by rounding either
    better = quadratic.value(best) > quadratic.value(u0)
    point = torch.where(better.unsqueeze(-1), best * row_norms(flat).unsqueeze(-1), flat)
    return bound.reshape(theta.shape), point.reshape(a.shape), gap.reshape(theta.shape)


def _inside(u: Float[Tensor, "n d"], u0: Float[Tensor, "n d"], theta: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
    """Unit points, turned back onto the cap's edge where they lie outside it."""
    if u.shape[1] == 1:  # two points, and no way between them
        return torch.where(theta[:, None] >= torch.pi, u, u0)
    along = (u * u0).sum(-1, keepdim=True)
    across = _off(u - along * u0, u0)
    width = across.norm(dim=-1, keepdim=True)
    # opposite the centre every way leads back: some way is taken
    axis = torch.zeros_like(u0).scatter_(-1, u0.abs().argmin(-1, keepdim=True), 1.0)
    across = torch.where((width < 1e-14) & (along < 0), _off(axis, u0), across)
    side = across / across.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    # by the angle itself: its cosine cannot tell small angles apart
    turned = torch.minimum(torch.atan2(width, along).squeeze(-1), theta).unsqueeze(-1)
    inside = turned.cos() * u0 + turned.sin() * side
    return inside / inside.norm(dim=-1, keepdim=True)


def _off(x: Float[Tensor, "n d"], u0: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    return x - (x * u0).sum(-1, keepdim=True) * u0


def _maximise(
    values: Float[Tensor, " k"], loads: Float[Tensor, " k"], y0: Float[Tensor, "n k"], theta: Float[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n k"], Float[Tensor, " n"]]:
    """Bound (without c), best unit point, and the dual's gap."""
    shift = _minimise_dual(values, loads, y0, theta)
    bound, u = _dual(values, loads, y0, theta, shift)
    bound = bound + 64 * len(values) * 2.0**-53 * shift
    # a small cap needs a μ too large for float64; there the slope and the curvature bound say more
    start_slope = 2 * values * y0 + loads
    slope = start_slope - (start_slope * y0).sum(1, keepdim=True) * y0
    bend = 2 * (values.max() - values.min()) + loads.norm()
    at_start = _value(values, loads, y0)
    bound = torch.fmin(bound, at_start + theta * slope.norm(dim=1) + theta.square() / 2 * bend)
    u = _inside(u / u.norm(dim=1, keepdim=True), y0, theta)
    gap = bound - _value(values, loads, u)
    loose = torch.nonzero(~(gap <= TIGHT / 100 * _scale_of(values, loads))).squeeze(1)  # (or undefined)
    if len(loose):
        exact, best = _exact(values, loads, y0[loose], theta[loose])
        u[loose] = _better(values, loads, u[loose], best)
        # (a value found bounds nothing, but what rounding put it above the bound by belongs to the bound)
        bound[loose] = torch.fmin(bound[loose], torch.maximum(exact, _value(values, loads, u[loose])))
    return bound, u, gap.nan_to_num(torch.inf)


def _scale_of(values: Tensor, loads: Tensor) -> Tensor:
    return values.abs().max() + loads.norm()


def _better(values: Tensor, loads: Tensor, one: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> Tensor:
    """The higher of two points, row by row; a point that is NaN is the lower one."""
    first, second = (_value(values, loads, u).nan_to_num(-torch.inf) for u in (one, other))
    return torch.where((second > first)[:, None], other, one)


def _value(values: Tensor, loads: Tensor, u: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch"]:
    return (values * u * u).sum(-1) + u @ loads


def _exact(
    values: Float[Tensor, " k"], loads: Float[Tensor, " k"], y0: Float[Tensor, "n k"], theta: Float[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n k"]]:
    """The maximum over each cap: the best of its edge, of the sphere's maximum nearest to it, and of a local one."""
    order = values.argsort()
    values, loads, y0 = values[order], loads[order], y0[:, order]
    depth, half = (values[-1] - values).expand_as(y0), (loads / 2).expand_as(y0)
    above, top = sphere_maximum(depth, half, towards=y0)
    bound, best = values[-1] + above, _inside(top, y0, theta)
    # where the sphere's maximum lies in the cap that is all; elsewhere the edge and a local maximum are asked
    slack = TIGHT / 1000 * _scale_of(values, loads)
    rest = torch.nonzero(~(bound - _value(values, loads, best) <= slack)).squeeze(1)
    edge = rest[theta[rest].sin() > LEAST_EDGE]
    if len(edge):
        bound[edge], best[edge] = _edge_or_peak(values, loads, y0[edge], theta[edge])
    return bound, best[:, order.argsort()]


def _edge_or_peak(
    values: Float[Tensor, " k"], loads: Float[Tensor, " k"], y0: Float[Tensor, "n k"], theta: Float[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n k"]]:
    """The maximum of caps that the sphere's maximum lies outside of; eigenvalues ascending."""
    cos, sin = theta.cos()[:, None], theta.sin()[:, None]
    constant = cos.squeeze(1) ** 2 * (values * y0 * y0).sum(1) + cos.squeeze(1) * (y0 @ loads)
    bound, best = constant, cos * y0
    if len(values) > 1:
        on_edge, w = Boundary(values, y0, (2 * cos * values * y0 + loads) / (2 * sin)).maximise()
        bound, best = constant + sin.squeeze(1) ** 2 * on_edge, cos * y0 + sin * w
    peaks, higher = local_maxima(values, loads)
    for peak in peaks:
        height = _value(values, loads, peak) + higher
        turned = torch.atan2((peak - (y0 @ peak)[:, None] * y0).norm(dim=1), y0 @ peak)
        # (one that rounding may have put outside still counts for the bound)
        bound = torch.where((turned <= theta + 1e-12) & (height > bound), height, bound)
        best = _better(values, loads, best, _inside(peak.expand_as(y0), y0, theta))
    return bound, best


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
    values: Tensor, loads: Tensor, y0: Float[Tensor, "n k"], theta: Float[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """μ − λmax at the minimum of the convex dual: the root of `log ‖u‖²`, which has the sign of −D′, over log μ."""
    spread = float(values.max() - values.min() + loads.norm()) or 1.0
    depth, cos = values.max() - values, 2 * theta.cos()
    mixed, square = y0 * loads, y0 * y0

    def excess(log: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        r = (depth + spread * log.exp().unsqueeze(-1)).reciprocal()
        nu = ((cos - _dot(r, mixed)) / _dot(r, square)).clamp_min(0)
        # a sum of squares: multiplied out, it cancels to less than nothing where ν is large
        u = r * torch.addcmul(loads, nu.unsqueeze(-1), y0)
        # at the low end it is rounding alone, and in the hard case below 0: that end is taken, not computed
        return torch.where(log > LOWEST, (_dot(u, u) / 4).log(), torch.inf)

    _, high = narrowed(excess, torch.full_like(theta, LOWEST), torch.full_like(theta, HIGHEST), WIDTH)
    return spread * high.exp()


def _dot(x: Float[Tensor, "n k"], y: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """Row by row, without the products in between."""
    return torch.einsum("nk,nk->n", x, y)
