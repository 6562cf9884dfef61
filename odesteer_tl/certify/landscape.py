"""The whole landscape of a quadratic on the sphere: its ceiling."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.optimize import root_scalar
from torch import Tensor

from odesteer_tl.barriers import QuadraticBarrier


@dataclass(frozen=True)
class Ceiling:
    """The most h can be, on any activation.

    Attributes:
        bound: a proof: h ≤ bound everywhere.
        value: h at `point`.
        point: the direction that reaches it (unit norm).
    """

    bound: float
    value: float
    point: Float[Tensor, " d"]

    @property
    def gap(self) -> float:
        """bound − value: how far from tight."""
        return self.bound - self.value

    def __float__(self) -> float:
        return self.bound


def ceiling(quadratic: QuadraticBarrier) -> Ceiling:
    """The global maximum of h on the sphere (MATHEMATICS, The whole landscape).

    Stationarity is `u = ½(μI − A)⁻¹b` with ‖u‖ = 1, the maximum at the one root μ > λmax; `c + μ + ¼Σβ²/(μ−λ)` bounds h
    for every such μ. Where b is orthogonal to the top eigenspace (the hard case) the top eigenvector completes u.
    """
    spectrum = quadratic.spectrum
    values, loads = spectrum.values, spectrum.loads
    top = values.max()
    half = loads / 2

    def excess(shift: float) -> float:  # ‖u(λmax + shift)‖² − 1, falling in shift
        return float((half / (top + shift - values)).square().sum()) - 1

    high = float(half.norm()) + 1e-300
    size = float(values.abs().max()) + high
    # below this the nearest eigenvalue and μ are one float64 number
    low = max(1e-14 * size, 1e-300)
    if excess(low) > 0 > excess(high):
        shift = float(root_scalar(excess, bracket=(low, high), method="brentq", xtol=1e-300, rtol=1e-15).root)
    else:
        shift = high if excess(high) >= 0 else low
    y = half / (top + shift - values)
    missing = (1 - y.square().sum()).clamp_min(0)
    if float(missing) > 1e-12:  # hard case
        k = int(values.argmax())
        y = y.clone()
        y[k] = y[k] + torch.copysign(missing.sqrt(), y[k])
    y = y / y.norm()
    point = _lift(quadratic, y)
    bound = quadratic.c + float(top) + shift + float((loads.square() / (top + shift - values)).sum()) / 4
    rounding = 64 * len(values) * 2.0**-53 * (size + abs(quadratic.c))
    return Ceiling(bound + rounding, float(quadratic.value(point)), point)


def _lift(quadratic: QuadraticBarrier, y: Float[Tensor, " k"]) -> Float[Tensor, " d"]:
    """A unit vector with coordinates y; the complement's coordinate may point anywhere orthogonal to the span."""
    basis = quadratic.spectrum.basis
    r = basis.shape[1]
    u = basis @ y[:r]
    if len(y) > r and float(y[r]) != 0:
        # any direction outside the span will do: take the coordinate axis least inside it
        axis = torch.zeros_like(u)
        axis[int(basis.square().sum(1).argmin())] = 1
        outside = axis - basis @ (basis.mT @ axis)
        u = u + y[r] * outside / outside.norm()
    return u / u.norm()
