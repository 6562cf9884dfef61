"""The slope of a degree-2 count sketch by Fourier transforms: no matrix, no eigenvectors, nothing to wait for."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

#: complex numbers of one block of rows: what stays in a core's cache, however many rows there are; and elsewhere than
#: on a CPU, where every block is a dozen launches and memory alone sets a bound: 128 MB
BLOCK, WIDE = 2**16, 2**24
#: d² from which the transforms beat the eigenbasis, over n log₂n (n sketch features): a call of ten steps is as fast
#: either way at about 40 for one row and later for many, and the eigenbasis has to be found first (d³)
WORTH = 60.0


class SketchTransforms:
    """`2Au` of the sketch's quadratic `uᵀAu + b·u + c`, by two complex Fourier transforms of n numbers a row.

    A pairs two count sketches c₁, c₂ of u with the weight: `uᵀAu = γ Σₖₘ c₁[k] c₂[m] w[(k + m) mod n]`, so its slope
    is read off the two circular correlations of w with c₂ and with c₁. Both are real, and so are c₁ and c₂: packed into
    one complex sequence z = c₁ + ic₂ they cost one transform there and one back, `p₁ + ip₂ = F⁻¹(iŵ · conj(F z))`,
    where the published form takes nine. The coordinate that scikit-learn appends for c₀ is constant: its share is b.

    Args:
        hashes, signs: of the two sketches, [2, d] or, with the appended coordinate, [2, d + 1].
        weight: of the features.
        intercept: of the score.
        gamma, coef0: of the kernel.
    """

    def __init__(
        self,
        hashes: Int[Tensor, "2 inputs"],
        signs: Float[Tensor, "2 inputs"],
        weight: Float[Tensor, " n"],
        intercept: Float[Tensor, ""],
        gamma: float,
        coef0: float,
    ) -> None:
        self.n, self.d = len(weight), hashes.shape[1] - (coef0 != 0)
        d = self.d
        # c₁ and c₂ interleaved: the real and imaginary parts of z, as they lie in memory
        self.slots = (2 * hashes[:, :d] + torch.arange(2)[:, None]).flatten()
        spread = signs[:, :d]
        # F⁻¹(x) = conj(F(conj x))/n: both transforms go forward, and −i, γ and 1/n stand in the weight's transform
        kernel = -1j * gamma / self.n * torch.fft.fft(weight).conj()
        b, c = torch.zeros(d, dtype=weight.dtype), intercept
        if coef0:
            (h1, h2), (s1, s2) = hashes, signs
            b = s1[:d] * s2[d] * weight[(h1[:d] + h2[d]) % self.n] + s1[d] * s2[:d] * weight[(h1[d] + h2[:d]) % self.n]
            b = (gamma * coef0) ** 0.5 * b
            c = c + coef0 * s1[d] * s2[d] * weight[(h1[d] + h2[d]) % self.n]
        self.linear, self.constant = b, float(c)
        gather = torch.stack([spread[0], -spread[1]])  # of the conjugate
        self._given = {"spread": spread, "gather": gather, "kernel": kernel, "linear": b}
        self._cast: dict[tuple[torch.dtype, torch.device], dict[str, Tensor]] = {}

    @staticmethod
    def worth(d: int, n: int) -> bool:
        """Whether steps by transforms of n numbers cost less than the eigenbasis of a matrix of width d."""
        return d * d >= WORTH * n * math.log2(max(n, 2))

    def rows(self, device: torch.device) -> int:
        """Rows that are best taken at a time."""
        return max(1, (BLOCK if device.type == "cpu" else WIDE) // self.n)

    def product(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """2Ax, in the dtype and on the device of x; memory beside the result is that of `rows` rows."""
        own, flat, size = self._like(x), x.reshape(-1, self.d), self.rows(x.device)
        if len(flat) <= size:
            return self._product(flat, own).reshape(x.shape)
        return torch.cat([self._product(rows, own) for rows in flat.split(size)]).reshape(x.shape)

    def slope(self, u: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """2Au + b."""
        return self.product(u).add_(self.linear_like(u))

    def value(self, u: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """uᵀAu + b·u + c."""
        return ((self.product(u) / 2 + self.linear_like(u)) * u).sum(-1) + self.constant

    def linear_like(self, u: Tensor) -> Float[Tensor, " d"]:
        """b, in the dtype and on the device of u."""
        return self._like(u)["linear"]

    def _product(self, x: Float[Tensor, "rows d"], own: dict[str, Tensor]) -> Float[Tensor, "rows d"]:
        z = x.new_zeros(len(x), 2 * self.n)
        z.index_add_(1, own["slots"], (x.unsqueeze(1) * own["spread"]).flatten(1))
        there = torch.fft.fft(torch.view_as_complex(z.unflatten(1, (self.n, 2))))
        back = torch.view_as_real(torch.fft.fft(there.mul_(own["kernel"]))).flatten(1)
        first, second = back.index_select(1, own["slots"]).unflatten(1, (2, self.d)).unbind(1)
        return (first * own["gather"][0]).addcmul_(second, own["gather"][1])

    @cached_property
    def scale(self) -> float:
        """`2(λmax − λmin) + ‖b‖`, which bounds the slope, to a per cent: the spectrum's ends by Lanczos' method."""

        def product(x: np.ndarray) -> np.ndarray:
            return self.product(torch.from_numpy(x.reshape(1, -1)))[0].numpy() / 2

        operator = LinearOperator((self.d, self.d), matvec=product, dtype=np.float64)  # pyright: ignore[reportCallIssue]
        start = np.random.default_rng(0).standard_normal(self.d)  # the start decides nothing but the last digits
        # scipy's stubs take the tolerance for an integer and forget that eigenvalues can come alone
        lanczos: Any = eigsh
        ends = lanczos(operator, k=2, which="BE", tol=1e-2, v0=start, return_eigenvectors=False)
        return float(2 * (ends.max() - ends.min()) + self.linear.norm())

    def _like(self, u: Tensor) -> dict[str, Tensor]:
        """The tensors in the dtype and on the device of u, converted once."""
        key = (u.dtype, u.device)
        if key not in self._cast:
            numbers = {name: x.to(u.device, x.dtype if u.dtype == torch.float64 else _HALVED[x.dtype])
                       for name, x in self._given.items()}  # fmt: skip
            self._cast[key] = {**numbers, "slots": self.slots.to(u.device)}
        return self._cast[key]


_HALVED = {torch.float64: torch.float32, torch.complex128: torch.complex64}
