"""The kernel barrier: the polynomial kernel itself, with no hashes and no seed."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from odesteer_tl._check import require_at_least, require_positive
from odesteer_tl._groups import row_labels
from odesteer_tl._scale import directions
from odesteer_tl.barriers.base import Barrier, pull_back
from odesteer_tl.barriers.dual import cross_validate, fit_dual, require_mean_difference
from odesteer_tl.barriers.linear import unit_rows
from odesteer_tl.barriers.quadratic import QuadraticBarrier

#: what `C="cv"` and `gamma="cv"` choose from
C_GRID = (1.0, 10.0, 100.0, 1000.0)
GAMMA_GRID = (0.1, 0.5, 1.0, 4.0)


class KernelBarrier(Barrier):
    """Kernel logistic regression with `(γ x·y + c₀)ᵏ` on directions: `h(a) = Σαᵢ(γ xᵢ·u + c₀)ᵏ + c`.

    The same model class as ODESteer's sketch approximates, solved exactly in the dual.

    Args:
        degree: k ≥ 1.
        gamma: γ, or "cv".
        coef0: c₀ ≥ 0.
        C: inverse regularisation strength, or "cv": the value (with γ's, if that is "cv") with the least held-out
            logistic loss in `folds`-fold cross-validation over `C_GRID` and `GAMMA_GRID`. Rows of one group (see
            `fit`) are held out together.
        folds: of the cross-validation.
        seed: of its shuffle.

    After `fit`, `chosen` holds the γ and C in use.

    Example:
        >>> import torch
        >>> import odesteer_tl as ode
        >>> noise = torch.randn(2, 50, 8, generator=torch.Generator().manual_seed(0))
        >>> barrier = ode.KernelBarrier(gamma=1.0, C=1.0).fit(noise[0] + 1, noise[1] - 1)
        >>> bool(barrier.value(torch.ones(8)) > 0 > barrier.value(-torch.ones(8)))
        True
        >>> tuple(barrier.quadratic.A.shape)  # exactly one quadratic on the sphere
        (8, 8)
    """

    def __init__(
        self,
        degree: int = 2,
        gamma: float | Literal["cv"] = 1.0,
        coef0: float = 1.0,
        C: float | Literal["cv"] = "cv",
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("gamma", gamma), ("C", C)):
            require_positive(name, value, ["cv"])
        for name, value, least in (("degree", degree, 1), ("coef0", coef0, 0), ("folds", folds, 2)):
            require_at_least(name, value, least)
        self.degree, self.gamma, self.coef0, self.C = degree, gamma, coef0, C
        self.folds, self.seed = folds, seed

    def config(self) -> dict[str, Any]:
        names = ("degree", "gamma", "coef0", "C", "folds", "seed")
        return {name: getattr(self, name) for name in names}

    @property
    def cross_validated(self) -> bool:
        """Whether γ or C is chosen on held-out rows."""
        return isinstance(self.gamma, str) or isinstance(self.C, str)

    def _fit(self, positive: Tensor, negative: Tensor) -> dict[str, Tensor]:
        return self._fit_by_groups(positive, negative, row_labels(positive, negative, None))

    def _fit_by_groups(self, positive: Tensor, negative: Tensor, labels: Int[np.ndarray, " rows"]) -> dict[str, Tensor]:
        X = torch.cat(unit_rows(positive, negative))
        classes = torch.zeros(len(X), dtype=torch.float64)
        classes[: len(positive)] = 1
        gram = X @ X.mT
        gammas = GAMMA_GRID if isinstance(self.gamma, str) else (self.gamma,)
        Cs = C_GRID if isinstance(self.C, str) else (self.C,)
        gamma, C = gammas[0], Cs[0]
        require_mean_difference((gamma * gram + self.coef0) ** self.degree, classes)
        if self.cross_validated:
            gamma, C = cross_validate(
                lambda g: (g * gram + self.coef0) ** self.degree, classes, gammas, Cs, self.folds, self.seed, labels
            )
        alpha, intercept = fit_dual((gamma * gram + self.coef0) ** self.degree, classes, C)
        shift = math.log(len(negative) / len(positive))
        return {
            "X": X,
            "alpha": alpha,
            "intercept": intercept + shift,
            "gamma": torch.tensor(gamma, dtype=torch.float64),
            "C": torch.tensor(C, dtype=torch.float64),
        }

    @property
    def chosen(self) -> dict[str, float]:
        """γ and C in use, given or chosen by cross-validation."""
        return {"gamma": float(self.fitted("gamma")), "C": float(self.fitted("C"))}

    @property
    def d_model(self) -> int:
        """Width of the activations."""
        return self.fitted("X").shape[1]

    @property
    def polynomial_degree(self) -> int:
        return self.degree

    @property
    def value_error(self) -> float:
        """Of `Σαᵢ(γxᵢ·u + c₀)ᵏ + c`, whose powers are at most (γ + c₀)ᵏ."""
        n, d = self.fitted("X").shape
        reach = (self.chosen["gamma"] + self.coef0) ** self.degree * float(self.fitted("alpha").abs().sum())
        roundings = self.degree * (d + 8 + self.degree) + n + 2
        return 2.0**-53 * (roundings * reach + 2 * abs(float(self.fitted("intercept"))))

    @property
    def slope_bound(self) -> float:
        """`kγ(γ + c₀)ᵏ⁻¹Σ|αᵢ|`."""
        gamma = self.chosen["gamma"]
        total = float(self.fitted("alpha").abs().sum())
        return self.degree * gamma * (gamma + self.coef0) ** (self.degree - 1) * total

    @cached_property
    def quadratic(self) -> QuadraticBarrier:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The exact quadratic, kept in its span where there are fewer samples than dimensions."""
        if self.degree > 2:
            return super().quadratic
        X, alpha, gamma = self.fitted("X"), self.fitted("alpha"), self.chosen["gamma"]
        constant = self.fitted("intercept") + self.coef0**self.degree * alpha.sum()
        curvature = gamma**2 * alpha if self.degree == 2 else torch.zeros_like(alpha)
        slope = (2 * gamma * self.coef0 if self.degree == 2 else gamma) * (alpha @ X)
        # sums over samples whose weights may nearly cancel
        return QuadraticBarrier.from_factors(X, curvature, slope, constant).with_collapse_error(4 * self.value_error)

    def value(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """h(a), dimensionless."""
        a = self._prepare(a)
        return self._base(a) ** self.degree @ self._on("alpha", a) + self._on("intercept", a)

    def gradient(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """∇h(a)."""
        a = self._prepare(a)
        weights = self.degree * self.chosen["gamma"] * self._base(a) ** (self.degree - 1) * self._on("alpha", a)
        return pull_back(a, weights @ self._on("X", a))

    def _base(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n"]:
        """γ xᵢ·u + c₀ for every sample."""
        return self.chosen["gamma"] * (directions(a) @ self._on("X", a).mT) + self.coef0
