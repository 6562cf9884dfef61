"""How far along its arc h is proved to rise: what every certificate of a step, and the certified step, stand on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl.certify.arc import BASIS_ROUNDING, angle_at, arc_polynomial, positive_prefix
from odesteer_tl.certify.circle import SAFETY, UNIT_ROUNDOFF, Circles, quadratic_circles


@dataclass(frozen=True)
class Rise:
    """Where dh/dφ is proved to be positive on n arcs.

    Attributes:
        coefficients: Bernstein coefficients of `(1+t²)ᵖ dh/dφ` over each arc.
        margin: a bound of their error.
        proved: the fraction of the arc's interval, from its start, on which h is proved to rise.
    """

    coefficients: Float[Tensor, "n m"]
    margin: Float[Tensor, " n"]
    proved: Float[Tensor, " n"]

    @classmethod
    def of(cls, circles: Circles, angle: Float[Tensor, " n"]) -> Rise:
        """Of arcs of these angles (radians, at most π), one a circle; several dimensions of circles are one."""
        cosines, sines = (x.flatten(0, -2) for x in circles.slopes)
        coefficients = arc_polynomial(cosines, sines, angle)
        size = cosines.abs().sum(1) + sines.abs().sum(1)
        # every Bernstein coefficient is an average of (1 + t²)ᵖ h′ with |t| ≤ 1
        margin = 2**circles.degree * (circles.slope_error.flatten() + BASIS_ROUNDING * size)
        return cls(coefficients, margin, positive_prefix(coefficients, margin))

    @property
    def whole(self) -> Bool[Tensor, " n"]:
        """Where h is proved to rise on the whole arc."""
        return self.proved >= 1


def monotone_angle(
    u: Float[Tensor, "*batch k"],
    v: Float[Tensor, "*batch k"],
    values: Float[Tensor, " k"],
    loads: Float[Tensor, " k"],
    limit: Float[Tensor, "*batch"],
) -> Float[Tensor, "*batch"]:
    """The largest angle ≤ `limit` along which `Σλu² + β·u` is proved to rise from u in the direction v."""
    batch, k = u.shape[:-1], u.shape[-1]
    u, v, limit = u.reshape(-1, k), v.reshape(-1, k), limit.reshape(-1).clamp_max(torch.pi)
    error = SAFETY * (2 * k + 8) * UNIT_ROUNDOFF * (values.abs().max() + loads.norm())
    circles = quadratic_circles(u, v, values, loads, 0.0, error.expand(len(u)))
    rise = Rise.of(circles, limit)
    # an arc of G/L always rises, and is finer than the prefix's grid where a maximum is near
    slope = (circles.slopes[0].sum(1) - rise.margin).clamp_min(0)
    safe = torch.where(circles.curvature > 0, slope / circles.curvature, 0.0)
    proved = torch.where(rise.whole, limit, torch.where(rise.proved > 0, angle_at(rise.proved, limit), 0.0))
    return torch.maximum(proved, torch.minimum(safe, limit)).reshape(batch)
