"""The linear barrier: logistic regression on directions."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from odesteer_tl._check import require_positive
from odesteer_tl._difference import NoDifference
from odesteer_tl._scale import directions
from odesteer_tl.barriers.base import Barrier, pull_back
from odesteer_tl.barriers.quadratic import QuadraticBarrier


class LinearBarrier(Barrier):
    """`h(a) = w·u + c`, u = a/‖a‖, by scikit-learn's logistic regression.

    Args:
        C: inverse regularisation strength.
    """

    def __init__(self, C: float = 1.0) -> None:
        super().__init__()
        require_positive("C", C, remedy="KernelBarrier(degree=1, C='cv') chooses it on held-out texts")
        self.C = C

    def config(self) -> dict[str, Any]:
        return {"C": self.C}

    def _fit(self, positive: Tensor, negative: Tensor) -> dict[str, Tensor]:
        pos, neg = unit_rows(positive, negative)
        require_mean_difference(pos, neg)
        weight, intercept = fit_logistic(pos, neg, C=self.C)
        return {"b": weight, "c": intercept}

    @property
    def d_model(self) -> int:
        """Width of the activations."""
        return self.fitted("b").shape[0]

    @property
    def polynomial_degree(self) -> int:
        return 1

    @cached_property
    def quadratic(self) -> QuadraticBarrier:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The same h with A = 0."""
        b = self.fitted("b")
        return QuadraticBarrier.from_factors(b[None], b.new_zeros(1), b, self.fitted("c"))

    def value(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """h(a), dimensionless."""
        a = self._prepare(a)
        return directions(a) @ self._on("b", a) + self._on("c", a)

    def gradient(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """∇h(a) = Pw/‖a‖."""
        a = self._prepare(a)
        return pull_back(a, self._on("b", a).expand_as(a))


def unit_rows(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Both classes as directions, for `fit_logistic`."""
    return tuple(x / x.norm(dim=-1, keepdim=True) for x in (positive, negative))  # pyright: ignore[reportReturnType]


def require_mean_difference(positive: Float[Tensor, "n k"], negative: Float[Tensor, "m k"]) -> None:
    """Raise `NoDifference` if the features have one mean in both classes within rounding.

    A logistic loss is then least at weights of 0 (its gradient there is the difference of the means), and a solver
    returns rounding noise.
    """
    difference = (positive.mean(0) - negative.mean(0)).norm()
    size = torch.cat([positive, negative]).norm(dim=-1).mean()
    if float(difference) <= 64 * torch.finfo(positive.dtype).eps * float(size):
        raise NoDifference(
            f"positive ({len(positive)} rows) and negative ({len(negative)} rows) have the same mean features within "
            "rounding: this classifier has nothing to learn from them; use another barrier, layer or texts"
        )


def fit_logistic(
    positive: Float[Tensor, "n k"], negative: Float[Tensor, "m k"], *, C: float
) -> tuple[Float[Tensor, " k"], Float[Tensor, ""]]:
    """Weights and intercept of scikit-learn's logistic regression on given features.

    The intercept has log(N₋/N₊) added, which turns a posterior log-odds into a log-ratio of densities.
    """
    features = torch.cat([positive, negative]).numpy()
    labels = np.repeat([1, 0], [len(positive), len(negative)])
    model = LogisticRegression(C=C, max_iter=10_000).fit(features, labels)
    shift = math.log(len(negative) / len(positive))
    weight = torch.from_numpy(np.asarray(model.coef_[0], dtype=np.float64))
    return weight, torch.tensor(float(model.intercept_[0]) + shift, dtype=torch.float64)
