"""Coordinates of the sphere of directions: the stereographic chart, which maps all of it but one point."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.barriers.base import pull_back

#: 1 + cos of the angle from the base: the antipode alone has no coordinates, and is moved this far off it
ANTIPODE = 1e-12


class Chart:
    """The stereographic chart at a base direction m: `x = 2 tan(θ/2)` along the geodesic from m, in the tangent space.

    Conformal (isotropic noise stays isotropic near m) and onto all of Rᵈ⁻¹, so that a density in the coordinates is,
    after the Jacobian `(1 + ‖x‖²/4)ᵈ⁻¹`, exactly normalised on the sphere.

    Args:
        base: the direction m, of any norm but zero.
    """

    def __init__(self, base: Float[Tensor, " d"]) -> None:
        self.base: Tensor = base / base.norm()
        # the Householder reflection I − wwᵀ that takes m to ∓ the last axis (the sign that does not cancel)
        self._sign = -1.0 if float(self.base[-1]) >= 0 else 1.0
        w = self.base.clone()
        w[-1] -= self._sign
        self._w: Tensor = w * (math.sqrt(2) / w.norm())

    def enter(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d_minus_1"]:
        """Coordinates of the directions a/‖a‖."""
        y, c = self._frame(a)
        return 2 * y / (1 + c)

    def leave(self, x: Float[Tensor, "*batch d_minus_1"]) -> Float[Tensor, "*batch d"]:
        """The unit vectors with these coordinates."""
        square = x.square().sum(-1, keepdim=True) / 4
        return self._reflect(torch.cat([x, self._sign * (1 - square)], -1) / (1 + square))

    def log_jacobian(self, x: Float[Tensor, "*batch d_minus_1"]) -> Float[Tensor, "*batch"]:
        """What a log density in the coordinates gains as one on the sphere."""
        return x.shape[-1] * torch.log1p(x.square().sum(-1) / 4)

    def gradient(self, a: Float[Tensor, "*batch d"], g: Float[Tensor, "*batch d_minus_1"]) -> Float[Tensor, "*batch d"]:
        """∇ₐ of f(x(a)) + log-Jacobian from g = ∇ₓf."""
        y, c = self._frame(a)
        x = 2 * y / (1 + c)
        g = g + x.shape[-1] / 2 * x / (1 + x.square().sum(-1, keepdim=True) / 4)
        along = -2 * (y * g).sum(-1, keepdim=True) / (1 + c).square()
        return pull_back(a, self._reflect(torch.cat([2 * g / (1 + c), self._sign * along], -1)))

    def _frame(self, a: Float[Tensor, "*batch d"]) -> tuple[Tensor, Tensor]:
        """The part of a/‖a‖ orthogonal to the base, in tangent coordinates, and its cosine with the base."""
        z = self._reflect(a / a.norm(dim=-1, keepdim=True))
        return z[..., :-1], (self._sign * z[..., -1:]).clamp_min(ANTIPODE - 1)

    def _reflect(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        w = self._w.to(a.device)
        return a - (a @ w).unsqueeze(-1) * w
