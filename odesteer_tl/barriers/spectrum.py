"""The eigenbasis of a quadratic: the chart in which the flow costs O(d) a step."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

#: eigenvalues of at most this share of h's range are left out of flows in float32
NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Spectrum:
    """`A = V diag(λ) Vᵀ` (zero on the complement of V) and `b = Vβ`, so that `q(u) = Σλᵢzᵢ² + β·z + c` with z = Vᵀu.

    With r = d this is the full eigenbasis. With r < d the complement is spanned, for one activation a, by the single
    direction of its part outside V, whose coordinate ρ is carried as one more coordinate with λ = β = 0: the flow
    never leaves that (r+1)-dimensional space (both are exact).

    Attributes:
        basis: V, orthonormal columns.
        eigenvalues: λ, ascending.
        linear: β = Vᵀb.
    """

    basis: Float[Tensor, "d r"]
    eigenvalues: Float[Tensor, " r"]
    linear: Float[Tensor, " r"]
    _at: dict[tuple[torch.dtype, torch.device], Spectrum] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of_dense(cls, A: Float[Tensor, "d d"], b: Float[Tensor, " d"]) -> Spectrum:
        """From a dense symmetric matrix: the full eigenbasis."""
        eigenvalues, basis = torch.linalg.eigh(A)
        return cls(basis, eigenvalues, basis.mT @ b)

    @classmethod
    def of_factors(cls, X: Float[Tensor, "n d"], weights: Float[Tensor, " n"], b: Float[Tensor, " d"]) -> Spectrum:
        """From `A = Xᵀ diag(weights) X` with b in the row span of X and n < d: an (at most) n-dimensional span."""
        q, r = torch.linalg.qr(X.mT)  # X.mT = q r, so A = q (r diag(w) rᵀ) qᵀ
        eigenvalues, vectors = torch.linalg.eigh((r * weights) @ r.mT)
        # one direction after the other in memory, which is how a few rows are rotated fastest, in and out
        basis = (vectors.mT @ q.mT).mT
        return cls(basis, eigenvalues, basis.mT @ b)

    def negated(self) -> Spectrum:
        """The spectrum of −A and −b."""
        return Spectrum(self.basis.flip(1), -self.eigenvalues.flip(0), -self.linear.flip(0))

    @cached_property
    def order(self) -> Int[Tensor, " d"] | None:
        """The permutation V is where A was diagonal already (its coordinates are its eigenbasis), else None."""
        ones = self.basis == 1
        whole = not self.reduced and bool((ones.sum(0) == 1).all()) and int(self.basis.count_nonzero()) == len(ones)
        return ones.long().argmax(0) if whole else None

    def rotate(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch r"]:
        """Vᵀa."""
        return a @ self.basis if self.order is None else a[..., self.order]

    @property
    def reduced(self) -> bool:
        """Whether V spans less than the whole space."""
        return self.basis.shape[1] < self.basis.shape[0]

    @cached_property
    def brief(self) -> Spectrum:
        """Without the directions that h can do without: for flows in float32, never for proofs.

        Dropped are eigenvalues of size at most `NEGLIGIBLE` · max(2‖b‖, λmax − λmin). That is no more than this share
        of h's range: h(u) − h(−u) = 2b·u, and the mean of h(u) and h(−u) ranges over λmax − λmin. What b has along them
        is kept as one direction, so that h changes by their greatest size at most, anywhere on the sphere.
        """
        spread = float(self.values.max() - self.values.min())
        small = self.eigenvalues.abs() <= NEGLIGIBLE * max(2 * float(self.linear.norm()), spread)
        rest = self.basis[:, small] @ self.linear[small]
        norm = rest.norm()
        if int(small.sum()) <= len(small) // 10 + 1 or not (bool(norm) or bool((~small).any())):
            return self  # too few to be worth another basis, or nothing would be left
        last = (rest / norm)[:, None] if bool(norm) else rest[:, None][:, :0]
        basis = torch.cat([self.basis[:, ~small], last], dim=1)
        tail = norm.expand(last.shape[1])
        eigenvalues = torch.cat([self.eigenvalues[~small], torch.zeros_like(tail)])
        return Spectrum(basis.mT.contiguous().mT, eigenvalues, torch.cat([self.linear[~small], tail]))

    @cached_property
    def values(self) -> Float[Tensor, " k"]:
        """Eigenvalues with the complement's 0 appended where there is one."""
        return torch.cat([self.eigenvalues, self.eigenvalues.new_zeros(1)]) if self.reduced else self.eigenvalues

    @cached_property
    def loads(self) -> Float[Tensor, " k"]:
        """β with the complement's 0 appended where there is one."""
        return torch.cat([self.linear, self.linear.new_zeros(1)]) if self.reduced else self.linear

    def like(self, a: Tensor) -> Spectrum:
        """The same spectrum in the dtype and on the device of `a`, converted once."""
        key = (a.dtype, a.device)
        if key == (self.basis.dtype, self.basis.device):
            return self
        if key not in self._at:
            parts = (x.to(dtype=a.dtype, device=a.device) for x in (self.basis, self.eigenvalues, self.linear))
            self._at[key] = Spectrum(*parts)
        return self._at[key]

    def enter(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch k"]:
        """Coordinates `(Vᵀa, ρ)` of an activation; norms are kept."""
        z = self.rotate(a)
        if not self.reduced:
            return z
        outside = a.square().sum(-1, keepdim=True) - z.square().sum(-1, keepdim=True)
        # ρ only ever enters as the ratio ρ(t)/ρ(0), so a tiny stand-in is exact where a lies inside the span
        tiny = torch.finfo(a.dtype).tiny ** 0.5
        return torch.cat([z, outside.clamp_min(tiny).sqrt()], dim=-1)

    def leave(
        self, a: Float[Tensor, "*batch d"], start: Float[Tensor, "*batch k"], y: Float[Tensor, "*#batch k"]
    ) -> Float[Tensor, "*batch d"]:
        """The activation at coordinates `y` on a path that began at `a`, where `start = enter(a)`.

        Written as a displacement from `a`, so that rounding is relative to what was moved, not to ‖a‖.
        """
        if self.order is not None:
            moved = y - start
            return a + torch.empty_like(moved).index_copy_(-1, self.order, moved)
        if not self.reduced:
            return a + (y - start) @ self.basis.mT
        r = self.basis.shape[1]
        scale = y[..., r:] / start[..., r:]
        return scale * a + (y[..., :r] - scale * start[..., :r]) @ self.basis.mT
