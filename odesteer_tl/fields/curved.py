"""The curved field: a shift in the coordinates of a kernel PCA, brought back by its learned pre-image."""

from __future__ import annotations

from collections import Counter
from itertools import combinations_with_replacement
from math import factorial, prod

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields.stored import StoredField


class CurvedField(StoredField):
    """`v(a) = x̂(z(a) + δ) − x̂(z(a))`: z a kernel PCA's coordinates, x̂ their pre-image. What x̂ misses of a is kept.

    A map's displacement: one Euler step of time 1 applies it.

    Args:
        fitted: [n, d], the rows of the kernel PCA, in `scaled` units.
        rows, total: column means of their kernel matrix [n], and its mean [].
        directions: [n, k], eigenvectors over the roots of their eigenvalues.
        weights: [m, d], of x̂ = `monomials(z) @ weights`.
        shift: δ [k].
        scale: from activations to `scaled` units.
        kernel: degree, gamma and coef0 of `(γ x·y + c)^degree`.
        median_norm: of the fitting activations.
    """

    def __init__(
        self,
        fitted: Float[Tensor, "n d"],
        rows: Float[Tensor, " n"],
        total: Float[Tensor, ""],
        directions: Float[Tensor, "n k"],
        weights: Float[Tensor, "m d"],
        shift: Float[Tensor, " k"],
        scale: float,
        kernel: tuple[int, float, float],
        median_norm: float,
    ) -> None:
        tensors = {"fitted": fitted, "rows": rows, "total": total, "directions": directions,
                   "weights": weights, "shift": shift}  # fmt: skip
        settings = {"scale": scale, "degree": kernel[0], "gamma": kernel[1], "coef0": kernel[2]}
        super().__init__(fitted.shape[1], median_norm, tensors, settings)

    def coordinates(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch k"]:
        """z(a)."""
        k = self._kernel(self.require(a) * self.settings["scale"], self.on("fitted", a))
        centred = k - self.on("rows", a) - k.mean(-1, keepdim=True) + self.on("total", a)
        return centred @ self.on("directions", a)

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The displacement."""
        z, degree = self.coordinates(a), self.settings["degree"]
        moved = monomials(z + self.on("shift", a), degree) - monomials(z, degree)
        return moved @ self.on("weights", a) / self.settings["scale"]

    def _kernel(self, x: Float[Tensor, "*batch w"], y: Float[Tensor, "n w"]) -> Float[Tensor, "*batch n"]:
        return (self.settings["gamma"] * x @ y.mT + self.settings["coef0"]) ** self.settings["degree"]


def monomials(z: Float[Tensor, "*batch k"], degree: int) -> Float[Tensor, "*batch m"]:
    """All products of at most `degree` of the coordinates, 1 among them."""
    factors = torch.cat([torch.ones_like(z[..., :1]), z], dim=-1)
    which = torch.tensor(list(combinations_with_replacement(range(factors.shape[-1]), degree)), device=z.device)
    return factors[..., which].prod(-1)


def expanded(dual: Float[Tensor, "n d"], rows: Float[Tensor, "n k"], degree: int) -> Float[Tensor, "m d"]:
    """The weights w of `Σᵢ (z·yᵢ + 1)^degree dualᵢ = monomials(z) @ w`.

    The sum over rows cancels to a part in 10⁶, which float32 does not survive; it is taken here, once.
    """
    which = combinations_with_replacement(range(rows.shape[1] + 1), degree)
    ways = [factorial(degree) // prod(factorial(n) for n in Counter(each).values()) for each in which]
    return (monomials(rows, degree) * torch.tensor(ways, dtype=rows.dtype)).mT @ dual
