"""The Fourier barrier: logistic regression on random Fourier features."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.distance import pdist
from sklearn.kernel_approximation import RBFSampler
from torch import Tensor

from odesteer_tl._check import require_at_least, require_positive
from odesteer_tl.barriers.base import Barrier
from odesteer_tl.barriers.linear import fit_logistic, require_mean_difference

MEDIAN_SAMPLE = 1000


class FourierBarrier(Barrier):
    """`h(a) = Σⱼ wⱼ cos(ωⱼ·a + φⱼ) + c`: random features of a Gaussian kernel (Rahimi & Recht 2007).

    ODESteer's RFF variant. It sees the activation itself, norm included, so the flow need not stay on a sphere.

    Args:
        gamma: of `exp(−γ‖x−y‖²)`, or "median": 1/m² with m the median distance between fitting activations, which is
            a bandwidth of σ = m/√2 in `γ = 1/(2σ²)`, ODESteer's. Most texts mean σ = m by the median heuristic,
            half of this γ.
        n_components: features.
        C: inverse regularisation strength.
        seed: of the features.
    """

    spherical = False

    def __init__(
        self, gamma: float | Literal["median"] = "median", n_components: int = 8000, C: float = 1.0, seed: int = 0
    ) -> None:
        super().__init__()
        none = "this barrier chooses nothing by cross-validation, KernelBarrier does"
        require_positive("gamma", gamma, ["median"], none)
        require_positive("C", C, remedy=none)
        require_at_least("n_components", n_components, 1)
        self.gamma, self.n_components, self.C, self.seed = gamma, n_components, C, seed

    def config(self) -> dict[str, Any]:
        return {"gamma": self.gamma, "n_components": self.n_components, "C": self.C, "seed": self.seed}

    def _fit(self, positive: Tensor, negative: Tensor) -> dict[str, Tensor]:
        gamma = self.gamma
        if isinstance(gamma, str):
            both = torch.cat([positive, negative]).numpy()
            rows = np.random.default_rng(self.seed).permutation(len(both))[:MEDIAN_SAMPLE]
            gamma = float(1 / np.median(pdist(both[rows])) ** 2)
        sampler = RBFSampler(gamma=gamma, n_components=self.n_components, random_state=self.seed)
        sampler.fit(positive.numpy())
        features = [torch.from_numpy(np.asarray(sampler.transform(x.numpy()))) for x in (positive, negative)]
        require_mean_difference(features[0], features[1])
        weight, intercept = fit_logistic(features[0], features[1], C=self.C)
        return {
            "frequencies": torch.from_numpy(np.asarray(sampler.random_weights_)),
            "phases": torch.from_numpy(np.asarray(sampler.random_offset_)),
            "weight": weight * (2 / self.n_components) ** 0.5,
            "intercept": intercept,
        }

    @property
    def d_model(self) -> int:
        """Width of the activations."""
        return self.fitted("frequencies").shape[0]

    def value(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """h(a), dimensionless."""
        a = self._prepare(a)
        return self._angles(a).cos() @ self._on("weight", a) + self._on("intercept", a)

    def gradient(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """∇h(a) = −Σ wⱼ sin(ωⱼ·a + φⱼ) ωⱼ."""
        a = self._prepare(a)
        return -(self._angles(a).sin() * self._on("weight", a)) @ self._on("frequencies", a).mT

    def _angles(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n"]:
        return a @ self._on("frequencies", a) + self._on("phases", a)
