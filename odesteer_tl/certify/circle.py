"""h on a great circle: a trigonometric polynomial of the barrier's degree, with its errors bounded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.barriers import Barrier, QuadraticBarrier

UNIT_ROUNDOFF = 2.0**-53
#: safety factor on every a-priori rounding bound
SAFETY = 16.0


@dataclass(frozen=True)
class Circles:
    """`h(φ) = Σₖ Cₖ cos kφ + Sₖ sin kφ`, k = 0 … p, on n circles, each from its own start at φ = 0.

    Attributes:
        cosines, sines: Cₖ and Sₖ (S₀ = 0).
        error: of h on the circle, absolute, per circle.
        slope_error: of dh/dφ likewise.
    """

    cosines: Float[Tensor, "*n p_plus_1"]
    sines: Float[Tensor, "*n p_plus_1"]
    error: Float[Tensor, "*n"]
    slope_error: Float[Tensor, "*n"]

    @property
    def degree(self) -> int:
        """p, of the polynomial."""
        return self.cosines.shape[-1] - 1

    @property
    def slopes(self) -> tuple[Float[Tensor, "*n p_plus_1"], Float[Tensor, "*n p_plus_1"]]:
        """Cosine and sine coefficients of dh/dφ."""
        k = torch.arange(self.cosines.shape[-1], dtype=self.cosines.dtype, device=self.cosines.device)
        return k * self.sines, -k * self.cosines

    @property
    def start(self) -> Float[Tensor, "*n"]:
        """h at φ = 0."""
        return self.cosines.sum(-1)

    @property
    def half_turn(self) -> Float[Tensor, "*n"]:
        """An upper bound of h(π) − h(0): the odd frequencies alone, whatever the circle's plane."""
        return 2 * (self.error - self.cosines[..., 1::2].sum(-1))

    @property
    def curvature(self) -> Float[Tensor, "*n"]:
        """`L = Σ k²√(Cₖ² + Sₖ²) ≥ |h″|` on the circle."""
        k = torch.arange(self.cosines.shape[-1], dtype=self.cosines.dtype, device=self.cosines.device)
        return (k.square() * torch.hypot(self.cosines, self.sines)).sum(-1)


def quadratic_circles(
    u: Float[Tensor, "*n r"],
    v: Float[Tensor, "*n r"],
    values: Float[Tensor, " r"],
    loads: Float[Tensor, " r"],
    c: float,
    error: Float[Tensor, "*n"],
) -> Circles:
    """`Σλu² + β·u + c` on the circle through u along v, in eigenbasis coordinates.

    Args:
        error: of h′ on the circle; h itself errs by as much and by the rounding of c.
    """
    bent = values * u
    uAu, uAv, vAv = torch.linalg.vecdot(bent, u), torch.linalg.vecdot(bent, v), v.square() @ values
    bu, bv = u @ loads, v @ loads
    cosines = torch.stack([c + (uAu + vAv) / 2, bu, (uAu - vAv) / 2], dim=-1)
    sines = torch.stack([torch.zeros_like(bv), bv, uAv], dim=-1)
    return Circles(cosines, sines, error + SAFETY * UNIT_ROUNDOFF * abs(c), error)


def polynomial_circles(
    barrier: Barrier, degree: int, u: Float[Tensor, "n d"], v: Float[Tensor, "n d"], tilt: Float[Tensor, " n"]
) -> Circles:
    """Any polynomial of the direction, from 2p + 1 values on each circle and a discrete Fourier transform.

    Args:
        tilt: error of v as a unit tangent at u, radians.
    """
    m = 2 * degree + 1
    phi = 2 * torch.pi / m * torch.arange(m, dtype=torch.float64, device=u.device)
    values = torch.stack([barrier.value(p.cos() * u + p.sin() * v) for p in phi], dim=-1)
    spectrum = torch.fft.rfft(values, dim=-1) * (2 / m)
    cosines, sines = spectrum.real.clone(), -spectrum.imag
    cosines[..., 0] /= 2
    # every coefficient errs by at most twice an evaluation, and by what a tilted circle changes at the steepest slope
    k = torch.arange(degree + 1, dtype=torch.float64, device=u.device)
    size = torch.hypot(cosines, sines)
    each = 2 * (barrier.value_error + UNIT_ROUNDOFF * SAFETY * size.sum(-1)) + tilt * barrier.slope_bound
    return Circles(cosines, sines, (degree + 1) * each, float(k.sum() + 1) * each)


def quadratic_error(q: QuadraticBarrier) -> float:
    """Bound on the error of h′ on a circle whose coordinates were had by the spectrum's basis, for exact u and v.

    `|u|ᵀ|A||u|` of the eigenbasis form is max|λ|; entering the basis costs γ_d√r; what the basis itself misses of A
    and b was measured when it was made.
    """
    spectrum = q.spectrum
    d, r = spectrum.basis.shape
    gamma = (2 * d + 8) * UNIT_ROUNDOFF * r**0.5
    size = 4 * float(spectrum.eigenvalues.abs().max()) + float(spectrum.linear.norm())
    return SAFETY * gamma * size + 4 * q.spectral_error
