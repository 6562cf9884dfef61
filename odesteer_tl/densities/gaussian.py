"""Gaussian densities in low-rank + diagonal form: shrunk (Ledoit–Wolf, OAS), PPCA, factor analysis."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.decomposition import FactorAnalysis as SklearnFactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from odesteer_tl._check import require_one_of
from odesteer_tl.densities.base import NOISE_FLOOR, Density, normals, require_rank
from odesteer_tl.densities.sample import Sample

#: from the PPCA solution factor analysis needs 3 to 20 iterations on well-posed data
MAX_ITERATIONS = 60
#: gain of the log-likelihood a sample, in nats, at which factor analysis stops
TOLERANCE = 1e-3

#: Ψ, U and s of a covariance in low-rank + diagonal form
Covariance = tuple[Float[Tensor, " d"], Float[Tensor, "d rank"], Float[Tensor, " rank"]]


class Gaussian(Density):
    """N(μ, Σ) with `Σ = Ψ^½ (I + U diag(s) Uᵀ) Ψ^½`, Ψ diagonal and U orthonormal [d, rank].

    No d × d matrix is ever formed: log p and its gradient cost O(d · rank) a row (Woodbury).
    """

    @abstractmethod
    def fitted_covariance(self, sample: Sample) -> Covariance:
        """Ψ, U and s from the pooled deviations."""

    def fitted_states(self, sample: Sample) -> list[dict[str, Tensor]]:
        noise, basis, excess = self.fitted_covariance(sample)
        return [{"mean": mean, "noise": noise, "basis": basis, "excess": excess} for mean in sample.means]

    @property
    def d_model(self) -> int:
        return self.fitted("mean").shape[0]

    @property
    def gaussian(self) -> Gaussian:
        return self.from_config(self.config())

    @property
    def covariance(self) -> Float[Tensor, "d d"]:
        """Σ as a matrix, for inspection at small d."""
        scale, basis = self.fitted("noise").sqrt(), self.fitted("basis")
        inner = torch.eye(self.d_model, dtype=torch.float64) + (basis * self.fitted("excess")) @ basis.mT
        return scale[:, None] * inner * scale

    def mahalanobis(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """The squared Mahalanobis distance (a − μ)ᵀΣ⁻¹(a − μ), dimensionless."""
        z, y, shrink, _ = self._whitened(a)
        return z.square().sum(-1) - (y.square() * shrink).sum(-1)

    def log_prob(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        log_det = self.fitted("noise").log().sum() + self.fitted("excess").log1p().sum()
        return -(self.mahalanobis(a) + float(log_det) + self.d_model * math.log(2 * math.pi)) / 2

    def gradient(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        z, y, shrink, basis = self._whitened(a)
        return ((y * shrink) @ basis.mT - z) / self.fitted("noise").to(z.device).sqrt()

    def sample(self, n: int, seed: int = 0) -> Float[Tensor, "n d"]:
        z = normals(n, self.d_model, seed)
        basis = self.fitted("basis")
        z = z + (z @ basis) * ((1 + self.fitted("excess")).sqrt() - 1) @ basis.mT
        return self.fitted("mean") + z * self.fitted("noise").sqrt()

    def _whitened(self, a: Float[Tensor, "*batch d"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """z = Ψ^−½(a − μ), its coordinates Uᵀz, the share s/(1 + s) that Σ⁻¹ takes off them, and U."""
        a = self._prepare(a)
        mean, noise, basis, excess = (self.fitted(k).to(a.device) for k in ("mean", "noise", "basis", "excess"))
        z = (a - mean) / noise.sqrt()
        return z, z @ basis, excess / (1 + excess), basis


class ShrunkGaussian(Gaussian):
    """Sample covariance shrunk to a multiple of the identity, `(1 − δ)S + δ (tr S / d) I`.

    Args:
        shrinkage: "ledoit_wolf" (Ledoit & Wolf 2004; scikit-learn) or "oas" (Chen et al. 2010, Eq. 23 without the
            2/d terms, as scikit-learn has it; from the spectrum, because its estimator inverts a d × d matrix).
    """

    def __init__(self, shrinkage: str = "ledoit_wolf") -> None:
        super().__init__()
        require_one_of("shrinkage", shrinkage, ("ledoit_wolf", "oas"))
        self.shrinkage = shrinkage

    def config(self) -> dict[str, Any]:
        return {"shrinkage": self.shrinkage}

    def n_parameters(self, d: int) -> int:
        return d + d * (d + 1) // 2

    def fitted_covariance(self, sample: Sample) -> Covariance:
        values, vectors = sample.spectrum
        mu = float(values.sum()) / sample.d
        if self.shrinkage == "ledoit_wolf":
            delta = float(ledoit_wolf_shrinkage(sample.deviations.numpy(), assume_centered=True))
        else:
            alpha = float(values.square().sum()) / sample.d**2
            below = (sample.n + 1) * (alpha - mu**2 / sample.d)
            delta = 1.0 if below <= 0 else min((alpha + mu**2) / below, 1.0)
        noise = mu * max(delta, NOISE_FLOOR)
        return torch.full((sample.d,), noise, dtype=torch.float64), vectors, (1 - delta) * values / noise


class PPCA(Gaussian):
    """Probabilistic PCA: `rank` leading principal axes and one noise variance (Tipping & Bishop 1999, Eqs. 7, 8).

    Args:
        rank: number of axes.
    """

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank

    def config(self) -> dict[str, Any]:
        return {"rank": self.rank}

    def n_parameters(self, d: int) -> int:
        return d + d * self.rank - self.rank * (self.rank - 1) // 2 + 1

    def fitted_covariance(self, sample: Sample) -> Covariance:
        return ppca(sample.spectrum, self.rank, sample.n)


class FactorAnalysis(Gaussian):
    """Factor analysis: `rank` factors and a noise variance a dimension (scikit-learn); rank 0 is a diagonal Σ.

    Args:
        rank: number of factors.
    """

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank

    def config(self) -> dict[str, Any]:
        return {"rank": self.rank}

    def n_parameters(self, d: int) -> int:
        return 2 * d + d * self.rank - self.rank * (self.rank - 1) // 2

    def fitted_covariance(self, sample: Sample) -> Covariance:
        floor = NOISE_FLOOR * sample.variances.mean()
        noise, basis, excess = ppca(sample.spectrum, self.rank, sample.n)
        if self.rank == 0:
            return sample.variances.clamp_min(floor), basis, excess
        # scikit-learn starts from unit noise, which is far off at most activation scales
        explained = noise * (basis.square() @ excess)
        noise = (sample.variances - explained).clamp_min(1e-3 * sample.variances.clamp_min(floor))
        model = SklearnFactorAnalysis(
            self.rank, max_iter=MAX_ITERATIONS, tol=TOLERANCE * sample.n, noise_variance_init=noise.numpy()
        )
        with warnings.catch_warnings():  # stopping early is judged by the held-out log-likelihood
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(sample.deviations.numpy())
        noise, loadings = (
            torch.from_numpy(model.noise_variance_).clamp_min(floor),
            torch.from_numpy(model.components_.T),
        )
        basis, singular, _ = torch.linalg.svd(loadings / noise.sqrt()[:, None], full_matrices=False)
        return noise, basis.contiguous(), singular.square()


def ppca(spectrum: tuple[Float[Tensor, " k"], Float[Tensor, "d k"]], rank: int, n: int) -> Covariance:
    """The maximum-likelihood PPCA covariance from the spectrum of n samples."""
    values, vectors = spectrum
    d = len(vectors)
    require_rank(f"rank={rank}", rank, min(len(values), d) - 1, n, d)
    noise = max(float(values[rank:].sum()) / (d - rank), NOISE_FLOOR * float(values.sum()) / d)
    excess = (values[:rank] / noise - 1).clamp_min(0)
    return torch.full((d,), noise, dtype=torch.float64), vectors[:, :rank].contiguous(), excess
