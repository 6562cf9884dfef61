"""Densities of the direction a/‖a‖, which is all that a barrier on the sphere sees."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.barriers.base import pull_back
from odesteer_tl.densities.base import Density
from odesteer_tl.densities.gaussian import PPCA, FactorAnalysis, Gaussian, ShrunkGaussian, ppca
from odesteer_tl.densities.sample import Sample, principal_axes
from odesteer_tl.densities.sphere import Chart

FAMILIES: dict[str, type[Gaussian]] = {cls.__name__: cls for cls in (ShrunkGaussian, PPCA, FactorAnalysis)}
#: gain of the log-likelihood a sample and dimension, in nats, at which the angular central Gaussian's EM stops
TOLERANCE = 1e-4
MAX_ITERATIONS = 30


class TangentGaussian(Density):
    """A Gaussian in the stereographic tangent coordinates at the mean direction, with the exact Jacobian.

    Normalised on the sphere. Tied densities share the base point and the covariance: their log-ratio is linear in the
    coordinates.

    Args:
        inner: the Gaussian family of the coordinates.
    """

    spherical = True

    def __init__(self, inner: Gaussian) -> None:
        self.inner: Gaussian = inner
        super().__init__()

    def config(self) -> dict[str, Any]:
        return {"inner": {"kind": type(self.inner).__name__, **self.inner.config()}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TangentGaussian:
        inner = dict(config["inner"])
        return cls(FAMILIES[inner.pop("kind")].from_config(inner))

    @property
    def name(self) -> str:
        return f"TangentGaussian({self.inner.name})"

    def n_parameters(self, d: int) -> int:
        return self.inner.n_parameters(d - 1)

    def fitted_states(self, sample: Sample) -> list[dict[str, Tensor]]:
        chart, coordinates = sample.charted
        return [{"base": chart.base, **state} for state in self.inner.fitted_states(coordinates)]

    def restore(self, state: dict[str, Tensor]) -> TangentGaussian:
        """Take over a fitted state; its Gaussian is a new one, since copies of this density would share the old."""
        super().restore(state)
        self.inner = self.inner.from_config(self.inner.config()).restore(
            {k: v for k, v in state.items() if k != "base"}
        )
        self._chart: Chart | None = Chart(state["base"]) if state else None
        return self

    @property
    def chart(self) -> Chart:
        """The coordinates of the sphere."""
        self.fitted("base")
        assert self._chart is not None
        return self._chart

    @property
    def d_model(self) -> int:
        return self.fitted("base").shape[0]

    @property
    def gaussian(self) -> Gaussian:
        return self.inner.gaussian

    def log_prob(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        x = self.chart.enter(self._prepare(a))
        return self.inner.log_prob(x) + self.chart.log_jacobian(x)

    def gradient(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        a = self._prepare(a)
        return self.chart.gradient(a, self.inner.gradient(self.chart.enter(a)))

    def sample(self, n: int, seed: int = 0) -> Float[Tensor, "n d"]:
        return self.chart.leave(self.inner.sample(n, seed))


class AngularCentralGaussian(Density):
    """The direction of N(0, Λ), `p(u) ∝ |Λ|^−½ (uᵀΛ⁻¹u)^−d/2`, Λ of low rank + isotropic (Tyler 1987; EM with PPCA).

    Even, p(u) = p(−u): it reads axes, not signs. It has no location, hence no tied form.

    Args:
        rank: of Λ's part that is not isotropic.
    """

    spherical = True

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank

    def config(self) -> dict[str, Any]:
        return {"rank": self.rank}

    def n_parameters(self, d: int) -> int:
        return d * self.rank - self.rank * (self.rank - 1) // 2

    def fitted_states(self, sample: Sample) -> list[dict[str, Tensor]]:
        """By expectation and maximisation until the likelihood stops rising; of one class only."""
        if len(sample.classes) > 1:
            raise ValueError(
                "AngularCentralGaussian has no location, so no tied form; use TangentGaussian or tied=False"
            )
        u = sample.pooled / sample.pooled.norm(dim=-1, keepdim=True)
        weights, before = torch.ones(len(u), dtype=torch.float64), -math.inf
        state: dict[str, Tensor] = {}
        for _ in range(MAX_ITERATIONS):
            rows = weights.sqrt().unsqueeze(1) * u
            axes = principal_axes(rows, min(u.shape))
            noise, basis, excess = ppca(axes, self.rank, sample.n)
            state = {"mean": torch.zeros_like(u[0]), "noise": noise, "basis": basis, "excess": excess}
            fit = AngularCentralGaussian(self.rank).restore(state)
            now = float(fit.log_prob(u).mean()) / fit.n_dimensions
            if now - before < TOLERANCE:
                break
            # the mean squared radius, given the direction, of the Gaussian whose direction u is
            weights, before = sample.d / fit.radial.mahalanobis(u), now
        return [state]

    @property
    def gaussian(self) -> Gaussian:
        return PPCA(self.rank)

    @property
    def radial(self) -> Gaussian:
        """N(0, Λ) itself."""
        return PPCA(self.rank).restore(self.state)

    @property
    def d_model(self) -> int:
        return self.fitted("noise").shape[0]

    def log_prob(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        a = self._prepare(a)
        d, u = self.d_model, a / a.norm(dim=-1, keepdim=True)
        log_det = float(self.fitted("noise").log().sum() + self.fitted("excess").log1p().sum())
        area = math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)
        return -d / 2 * self.radial.mahalanobis(u).log() - log_det / 2 - area

    def gradient(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        a = self._prepare(a)
        u, radial = a / a.norm(dim=-1, keepdim=True), self.radial
        return pull_back(a, self.d_model * radial.gradient(u) / radial.mahalanobis(u).unsqueeze(-1))

    def sample(self, n: int, seed: int = 0) -> Float[Tensor, "n d"]:
        x = self.radial.sample(n, seed)
        return x / x.norm(dim=-1, keepdim=True)
