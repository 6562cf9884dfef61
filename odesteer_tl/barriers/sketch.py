"""The sketch barrier: the published one, a logistic regression on a polynomial count sketch."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.kernel_approximation import PolynomialCountSketch
from torch import Tensor

from odesteer_tl._check import require_at_least, require_positive
from odesteer_tl._scale import directions
from odesteer_tl.barriers.base import Barrier, pull_back
from odesteer_tl.barriers.linear import fit_logistic, require_mean_difference, unit_rows
from odesteer_tl.barriers.quadratic import QuadraticBarrier
from odesteer_tl.barriers.transforms import SketchTransforms


class SketchBarrier(Barrier):
    """`h(a) = w·φ(u) + c`, with φ scikit-learn's seeded sketch of `(γ x·y + c₀)ᵏ` (Pham & Pagh 2013).

    The defaults are ODESteer's (arXiv 2602.17560). For degree ≤ 2 the score is one quadratic, found exactly from the
    hashes: see `quadratic`.

    Args:
        degree: k ≥ 1.
        gamma, coef0: γ and c₀.
        n_components: sketch features.
        C: inverse regularisation strength.
        seed: of the hash functions.
    """

    def __init__(
        self,
        degree: int = 2,
        gamma: float = 0.1,
        coef0: float = 1.0,
        n_components: int = 8000,
        C: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, least in (("degree", degree, 1), ("n_components", n_components, 1), ("coef0", coef0, 0)):
            require_at_least(name, value, least)
        for name, value in (("gamma", gamma), ("C", C)):
            require_positive(name, value, remedy=f"KernelBarrier({name}='cv') chooses it on held-out texts")
        self.degree, self.gamma, self.coef0 = degree, gamma, coef0
        self.n_components, self.C, self.seed = n_components, C, seed

    def config(self) -> dict[str, Any]:
        names = ("degree", "gamma", "coef0", "n_components", "C", "seed")
        return {name: getattr(self, name) for name in names}

    def _fit(self, positive: Tensor, negative: Tensor) -> dict[str, Tensor]:
        sketch = PolynomialCountSketch(
            gamma=self.gamma, degree=self.degree, coef0=self.coef0, n_components=self.n_components,
            random_state=self.seed,
        )  # fmt: skip
        pos, neg = unit_rows(positive, negative)
        sketch.fit(pos.numpy())
        features = [torch.from_numpy(np.asarray(sketch.transform(x.numpy()))) for x in (pos, neg)]
        require_mean_difference(features[0], features[1])
        weight, intercept = fit_logistic(features[0], features[1], C=self.C)
        return {
            "hashes": torch.from_numpy(np.asarray(sketch.indexHash_, dtype=np.int64)),
            "signs": torch.from_numpy(np.asarray(sketch.bitHash_, dtype=np.float64)),
            "weight": weight,
            "intercept": intercept,
        }

    @property
    def d_model(self) -> int:
        """Width of the activations."""
        return self.fitted("hashes").shape[1] - (self.coef0 != 0)

    @property
    def polynomial_degree(self) -> int:
        return self.degree

    @property
    def value_error(self) -> float:
        """Of the transforms: each errs by a few log₂n roundings of its input's norm (Higham 2002, Theorem 24.2).

        A count sketch has 1-norm at most √(dγ) + √c₀ =: S, so the features have norm at most Sᵏ.
        """
        n, size = self.n_components, float(self.fitted("weight").norm()) * self._reach**self.degree
        roundings = 64 * (self.degree + 1) * math.log2(n + 1) + self.degree * (self.d_model + 4) + n
        return 2.0**-53 * (roundings * size + 2 * abs(float(self.fitted("intercept"))))

    @property
    def slope_bound(self) -> float:
        """`k‖w‖√(dγ)Sᵏ⁻¹`."""
        steep = (self.d_model * self.gamma) ** 0.5 * self._reach ** (self.degree - 1)
        return self.degree * float(self.fitted("weight").norm()) * steep

    @property
    def _reach(self) -> float:
        return (self.d_model * self.gamma) ** 0.5 + self.coef0**0.5

    @cached_property
    def quadratic(self) -> QuadraticBarrier:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The exact collapse to a quadratic (within 3e-14)."""
        return super().quadratic if self.degree > 2 else self._collapse()

    @cached_property
    def transforms(self) -> SketchTransforms | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Of a wide barrier of degree 2: two transforms a step where the published form takes nine."""
        if self.degree != 2 or not SketchTransforms.worth(self.d_model, self.n_components):
            return None
        hashes, signs, weight, intercept = map(self.fitted, ("hashes", "signs", "weight", "intercept"))
        return SketchTransforms(hashes, signs, weight, intercept, self.gamma, self.coef0)

    def _collapse(self) -> QuadraticBarrier:
        """Read the score's coefficients off the hashes: feature (h₁(i) + h₂(j)) mod n holds ±xᵢxⱼ."""
        hashes, signs, weight = self.fitted("hashes"), self.fitted("signs"), self.fitted("weight")
        d, c = self.d_model, self.fitted("intercept")
        # every input is scaled: γ^½ on the activation, c₀^½ on the bias coordinate scikit-learn appends
        scale = torch.full((hashes.shape[1],), self.gamma**0.5, dtype=torch.float64)
        scale[d:] = self.coef0**0.5
        if self.degree == 1:
            m = signs[0] * weight[hashes[0]] * scale
            return QuadraticBarrier.from_factors(m[None, :d], m.new_zeros(1), m[:d], c + m[d:].sum())
        index = (hashes[0][:, None] + hashes[1][None, :]) % self.n_components
        M = (signs[0] * scale)[:, None] * (signs[1] * scale)[None, :] * weight[index]
        M = (M + M.mT) / 2
        collapsed = QuadraticBarrier(M[:d, :d], 2 * M[:d, d:].sum(1), c + M[d:, d:].sum())
        # a few roundings an entry
        return collapsed.with_collapse_error(32 * 2.0**-53 * (float(M.norm()) + abs(float(c))))

    def value(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """h(a), dimensionless."""
        if self.degree <= 2 and self.transforms is None:
            return self.quadratic.value(a)
        a = self._prepare(a)
        u = directions(a)
        return self._score(u) if self.transforms is None else self.transforms.value(u)

    def gradient(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """∇h(a), exact for degree ≤ 2, by automatic differentiation of the sketch above."""
        if self.degree <= 2 and self.transforms is None:
            return self.quadratic.gradient(a)
        a = self._prepare(a)
        if self.transforms is not None:
            return pull_back(a, self.transforms.slope(directions(a)))
        traced = torch.is_grad_enabled() and a.requires_grad
        with torch.enable_grad():
            u = directions(a)
            u = u if traced else u.detach().requires_grad_(True)
            (g,) = torch.autograd.grad(self._score(u).sum(), u, create_graph=traced)
        return pull_back(a, g)

    def _score(self, u: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """w·φ(u) + c by FFT; the product of spectra is the sketch of the tensor power."""
        x = u * self.gamma**0.5
        if self.coef0:
            x = torch.cat([x, x.new_full((*x.shape[:-1], 1), self.coef0**0.5)], dim=-1)
        product: Tensor | None = None
        for index, sign in zip(self.fitted("hashes"), self._on("signs", u), strict=True):
            count = x.new_zeros(*x.shape[:-1], self.n_components).index_add(-1, index.to(x.device), x * sign)
            spectrum = torch.fft.rfft(count)
            product = spectrum if product is None else product * spectrum
        assert product is not None
        features = torch.fft.irfft(product, n=self.n_components)
        return features @ self._on("weight", u) + self._on("intercept", u)
