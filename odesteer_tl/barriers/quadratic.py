"""The quadratic barrier: what every barrier of degree ≤ 2 is, exactly, on the unit sphere."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import require_finite
from odesteer_tl._scale import directions
from odesteer_tl.barriers.base import Barrier, pull_back
from odesteer_tl.barriers.spectrum import Spectrum

#: what of the state changes its sign with h
SIGNED = ("A", "weights", "b", "c")


class QuadraticBarrier(Barrier):
    """`h(a) = uᵀAu + b·u + c` with u = a/‖a‖, coefficients in float64.

    Args:
        A: symmetric matrix [d, d] (its symmetric part is taken).
        b: linear coefficient [d].
        c: constant.

    Raises:
        ValueError: shapes do not fit, or a coefficient is NaN or infinite.
    """

    def __init__(self, A: Float[Tensor, "d d"], b: Float[Tensor, " d"], c: float | Tensor = 0.0) -> None:
        super().__init__()
        if A.ndim != 2 or A.shape != (b.shape[0], b.shape[0]):
            raise ValueError(f"A has shape {tuple(A.shape)} and b {tuple(b.shape)}; they must be [d, d] and [d]")
        c = torch.as_tensor(c, dtype=torch.float64)
        for name, x in (("A", A), ("b", b), ("c", c)):
            require_finite(name, x)
        A = A.detach().double().cpu()
        # clones: what the caller does to its tensors later changes nothing here
        self.state = {"A": (A + A.mT) / 2, "b": b.detach().double().cpu().clone(), "c": c.detach().cpu().clone()}

    @classmethod
    def from_factors(
        cls, X: Float[Tensor, "n d"], weights: Float[Tensor, " n"], b: Float[Tensor, " d"], c: Tensor
    ) -> QuadraticBarrier:
        """`A = Xᵀ diag(weights) X`, never formed where n < d; b must lie in the row span of X.

        X, shared where n < d, is not to be changed in place.
        """
        if X.shape[0] >= X.shape[1]:
            return cls((X.mT * weights) @ X, b, c)
        self = cls.__new__(cls)
        Barrier.__init__(self)
        self.state = {"X": X, "weights": weights, "b": b, "c": c}
        return self

    def with_collapse_error(self, error: float) -> QuadraticBarrier:
        """This quadratic, which came of another barrier by a collapse that rounding may have changed by `error`."""
        self.state = {**self.state, "collapse_error": torch.tensor(error, dtype=torch.float64)}
        return self

    @property
    def collapse_error(self) -> float:
        """Bound on what rounding made h, or its slope, differ from the barrier that was collapsed to this quadratic."""
        return float(self.state["collapse_error"]) if "collapse_error" in self.state else 0.0

    def config(self) -> dict[str, Any]:
        return {}

    def _fit(self, positive: Tensor, negative: Tensor) -> dict[str, Tensor]:
        raise ValueError("QuadraticBarrier is given by its coefficients; fit a KernelBarrier(degree=2) instead")

    @property
    def quadratic(self) -> QuadraticBarrier:
        """Itself."""
        return self

    @property
    def polynomial_degree(self) -> int:
        return 2

    @property
    def d_model(self) -> int:
        """Width of the activations."""
        return self.b.shape[0]

    @property
    def A(self) -> Float[Tensor, "d d"]:
        """The quadratic coefficient, float64 (formed on demand where it is kept in factors)."""
        if "A" in self.state:
            return self.state["A"]
        X, weights = self.state["X"], self.state["weights"]
        A = (X.mT * weights) @ X
        return (A + A.mT) / 2

    @property
    def b(self) -> Float[Tensor, " d"]:
        """The linear coefficient, float64."""
        return self.state["b"]

    @property
    def c(self) -> float:
        """The constant."""
        return float(self.state["c"])

    @cached_property
    def spectrum(self) -> Spectrum:
        """Eigenbasis of A, reduced to its span where A is kept in factors; computed once."""
        if "A" in self.state:
            return Spectrum.of_dense(self.state["A"], self.b)
        return Spectrum.of_factors(self.state["X"], self.state["weights"], self.b)

    @cached_property
    def diagonal(self) -> QuadraticBarrier:
        """The same h on `spectrum.enter` of an activation: with a diagonal A, everything in it costs O(d) a point."""
        return QuadraticBarrier(torch.diag(self.spectrum.values), self.spectrum.loads, self.c)

    @cached_property
    def curvature_bound(self) -> float:
        """`L = 2(λmax − λmin) + ‖b‖` ≥ |h″| along every unit-speed great circle."""
        values = self.spectrum.values
        return float(2 * (values.max() - values.min()) + self.b.norm())

    def negated(self) -> QuadraticBarrier:
        """−h: its ceilings are h's floors."""
        other = QuadraticBarrier.__new__(QuadraticBarrier)
        Barrier.__init__(other)
        other.state = {name: -x if name in SIGNED else x for name, x in self.state.items()}
        vars(other)["spectrum"] = self.spectrum.negated()  # A is diagonalised once
        return other

    def value(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """h(a), dimensionless."""
        u = directions(self._prepare(a))
        return (u * self.product(u)).sum(-1) + u @ self._on("b", u) + self._on("c", u)

    def gradient(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """∇h(a) = P(2Au + b)/‖a‖."""
        a = self._prepare(a)
        return pull_back(a, 2 * self.product(directions(a)) + self._on("b", a))

    @cached_property
    def spectral_error(self) -> float:
        """What the computed eigenbasis misses of the barrier certified: a bound for h and for its slopes.

        ‖A − VΛVᵀ‖ + ‖b − Vβ‖ (Frobenius, measured), the rounding of forming A from factors whose terms may cancel,
        and the rounding of the collapse from the barrier this came from.
        """
        spectrum = self.spectrum
        A = (spectrum.basis * spectrum.eigenvalues) @ spectrum.basis.mT
        missed = float((self.A - A).norm() + (self.b - spectrum.basis @ spectrum.linear).norm())
        formed = 0.0
        if "X" in self.state:
            X, weights = self.state["X"], self.state["weights"]
            formed = 4 * (len(X) + 8) * 2.0**-53 * float((weights.abs() * X.square().sum(1)).sum())
        return missed + formed + self.collapse_error

    @cached_property
    def _diagonal(self) -> Float[Tensor, " d"] | None:
        """The diagonal of an A that is nothing else."""
        A = self.state["A"]
        diagonal = A.diagonal()
        return diagonal if int(A.count_nonzero()) == int(diagonal.count_nonzero()) else None

    def product(self, u: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Au, in the dtype and on the device of u."""
        if "A" in self.state:
            return u @ self._on("A", u) if self._diagonal is None else u * self._diagonal.to(u)
        X = self._on("X", u)
        return (u @ X.mT * self._on("weights", u)) @ X

    def __repr__(self) -> str:
        return f"QuadraticBarrier(d_model={self.d_model})"
