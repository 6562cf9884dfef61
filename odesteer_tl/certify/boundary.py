"""The maximum of a quadratic on a cap's boundary: again a quadratic on a sphere, one dimension down.

Boundary points are `u = y₀cosθ + w sinθ` with w ⟂ y₀, ‖w‖ = 1, so h is `s²(wᵀΛw + 2η·w)` plus a constant with
`2η = (2cosθ Λy₀ + β)/sinθ`. For μ above λ̂, the largest eigenvalue on y₀'s complement, the best w is
`R_μ(η + τy₀)`, R_μ = (μI − Λ)⁻¹, with τ from w ⟂ y₀; its norm falls in μ, and `μ + η·w` bounds the maximum.
All in eigenbasis coordinates, float64: O(k) an evaluation, O(k³) a row in the hard case.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.certify.sphere import sphere_maximum

BISECTIONS = 80
#: what the secular equation may leave between bound and point, in units of the problem's size
LOOSE = 1e-11
#: numbers of dense matrices held at once
BLOCK_NUMBERS = 2**22


@dataclass(frozen=True)
class Boundary:
    """The problem on the boundary of n caps, eigenvalues shared.

    Attributes:
        values: eigenvalues, ascending.
        y0: the caps' centres, unit.
        eta: half the linear term.
    """

    values: Float[Tensor, " k"]
    y0: Float[Tensor, "n k"]
    eta: Float[Tensor, "n k"]

    def below_top(self) -> Float[Tensor, " n"]:
        """`λmax − λ̂`: root of `Σ y₀²/(λ − μ)` between the two largest eigenvalues, by bisection."""
        depth = self.values[-1] - self.values
        low = self.y0.new_zeros(len(self.y0))
        high = low + depth[-2]
        weight = self.y0.square()
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            # multiplied by the distance to the top, so that the pole there is no obstacle
            rest = (weight[:, :-1] * middle[:, None] / (middle[:, None] - depth[:-1])).sum(1)
            positive = weight[:, -1] + rest > 0
            low, high = torch.where(positive, middle, low), torch.where(positive, high, middle)
        return low

    def best(self, mu: Float[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """`w(μ)` for μ given as its excess over λmax (which may be negative)."""
        r = 1 / (mu[:, None] + (self.values[-1] - self.values[:-1]))
        y, eta = self.y0[:, :-1], self.eta[:, :-1]
        y_top, eta_top = self.y0[:, -1], self.eta[:, -1]
        tau = -(eta_top * y_top + mu * (y * eta * r).sum(1)) / (y_top.square() + mu * (y * y * r).sum(1))
        rest = (eta + tau[:, None] * y) * r
        # the top coordinate from the constraint, or from its own equation: whichever loses less
        size = self.values[-1] - self.values[0] + self.eta.norm(dim=1)
        by_constraint = -(y * rest).sum(1) / y_top
        by_equation = (eta_top + tau * y_top) / mu
        top = torch.where(y_top.abs() * size > mu.abs(), by_constraint, by_equation)
        return torch.cat([rest, top[:, None]], dim=1)

    def maximise(self) -> tuple[Float[Tensor, " n"], Float[Tensor, "n k"]]:
        """A bound on `wᵀΛw + 2η·w`, and a unit w ⟂ y₀ that reaches it but for rounding."""
        bound, w = self._by_secular_equation()
        gap = bound - ((self.values * w * w).sum(1) + 2 * (self.eta * w).sum(1))
        # where coordinates of y₀ or loads vanish the secular equation loses its hard case: few, and structured
        whole = (w.norm(dim=1) - 1).abs() < 1e-9
        rest = torch.nonzero(~((gap <= LOOSE * self._size()) & whole)).squeeze(1)
        k = len(self.values)
        for rows in rest.split(max(1, BLOCK_NUMBERS // k**2)):
            exact, best = Boundary(self.values, self.y0[rows], self.eta[rows]).diagonalised()
            bound[rows] = torch.fmin(bound[rows], exact)
            w[rows] = best
        return bound, w

    def diagonalised(self) -> tuple[Float[Tensor, " n"], Float[Tensor, "n k"]]:
        """The same from the eigenvectors of Λ on y₀'s complement: O(k³) a row, and nothing can vanish."""
        k = len(self.values)
        # the reflection that takes e₁ to ∓y₀: its other columns span the complement
        sign = torch.where(self.y0[:, :1] < 0, -1.0, 1.0).to(self.y0)
        normal = torch.cat([self.y0[:, :1] + sign, self.y0[:, 1:]], dim=1)
        normal = normal / normal.norm(dim=1, keepdim=True)
        eye = torch.eye(k, dtype=self.y0.dtype, device=self.y0.device)
        span = (eye - 2 * normal[:, :, None] * normal[:, None, :])[:, :, 1:]
        levels, vectors = torch.linalg.eigh(span.mT @ (self.values[:, None] * span))
        axes = span @ vectors
        half = (axes.mT @ self.eta[:, :, None]).squeeze(2)
        above, u = sphere_maximum(levels[:, -1:] - levels, half)
        w = self._orthogonal((axes @ u[:, :, None]).squeeze(2))
        return levels[:, -1] + above, w / w.norm(dim=1, keepdim=True)

    def _size(self) -> Float[Tensor, " n"]:
        return self.values[-1] - self.values[0] + self.eta.norm(dim=1) + torch.finfo(torch.float64).tiny

    def _by_secular_equation(self) -> tuple[Float[Tensor, " n"], Float[Tensor, "n k"]]:
        """In O(k) a row."""
        below = self.below_top()
        size = self._size()
        low, high = torch.full_like(below, -36.0), torch.full_like(below, 2.0)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            long = self.best(size * middle.exp() - below).square().sum(1) > 1
            low, high = torch.where(long, middle, low), torch.where(long, high, middle)
        excess = size * high.exp()
        w = self._orthogonal(self.best(excess - below).nan_to_num())
        mu = self.values[-1] + (excess - below)
        residual = self._orthogonal((self.values - mu[:, None]) * w + self.eta)
        # the inner problem is concave with modulus μ − λ̂ on y₀'s complement: what w misses is bounded
        bound = mu + ((self.values - mu[:, None]) * w * w + 2 * self.eta * w).sum(1)
        bound = bound + residual.square().sum(1) / excess
        return bound, self._complete(w, below)

    def _complete(self, w: Float[Tensor, "n k"], below: Float[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """Hard case: w short of unit length is completed along the top eigenvector of the complement, `R_λ̂ y₀`."""
        missing = (1 - w.square().sum(1)).clamp_min(0).sqrt()[:, None]
        # times the distance to the top, so that λ̂ = λmax is no obstacle
        depth = self.values[-1] - self.values
        ratio = torch.where(depth > 0, below[:, None] / (depth - below[:, None]), -1.0)
        e = self._orthogonal(-ratio * self.y0)
        e = e / e.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        e = torch.where((e * w).sum(1, keepdim=True) < 0, -e, e)
        w = self._orthogonal(w + missing * e)
        return w / w.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)

    def _orthogonal(self, w: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        return w - (w * self.y0).sum(1, keepdim=True) * self.y0
