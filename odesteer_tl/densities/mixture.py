"""Mixtures of PPCA with a shared principal subspace and shared noise."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.distributions import MultivariateNormal

from odesteer_tl.densities.base import NOISE_FLOOR, Density, normals, require_rank
from odesteer_tl.densities.gaussian import PPCA, Gaussian
from odesteer_tl.densities.sample import Sample


class MixturePPCA(Density):
    """`components` Gaussians with full covariances in the leading `rank` principal axes, isotropic noise outside.

    Each component is a PPCA whose subspace and noise are shared, so that scikit-learn's EM runs in `rank` dimensions
    whatever d is. It has no tied form.

    Args:
        components: number of Gaussians, at least 1.
        rank: of the shared subspace.
        seed: of the EM's start.
    """

    def __init__(self, components: int = 2, rank: int = 8, seed: int = 0) -> None:
        super().__init__()
        if components < 1:
            raise ValueError(f"components={components} must be at least 1")
        self.components = components
        self.rank = rank
        self.seed = seed

    def config(self) -> dict[str, Any]:
        return {"components": self.components, "rank": self.rank, "seed": self.seed}

    def n_parameters(self, d: int) -> int:
        q, k = self.rank, self.components
        return d + d * q - q * (q - 1) // 2 + 1 + k * (q + q * (q + 1) // 2) + k - 1

    def fitted_states(self, sample: Sample) -> list[dict[str, Tensor]]:
        """Principal axes first, then scikit-learn's mixture within them; of one class only."""
        if len(sample.classes) > 1:
            raise ValueError("MixturePPCA has no tied form; use a Gaussian family, or separate densities (tied=False)")
        most = min(sample.degrees - 1, sample.n // (2 * self.components) - 1, sample.d - 1)
        require_rank(f"{self!r}: rank={self.rank}", self.rank, most, sample.n, sample.d)
        if self.rank == 0:
            raise ValueError("rank=0: a mixture needs at least 1 principal axis")
        values, vectors = sample.spectrum
        basis, least = vectors[:, : self.rank], NOISE_FLOOR * float(values.sum()) / sample.d
        noise = max(float(values[self.rank :].sum()) / (sample.d - self.rank), least)
        inside = (sample.deviations @ basis).numpy()
        model = GaussianMixture(self.components, reg_covar=noise / 10, random_state=self.seed).fit(inside)
        state = {"weights": model.weights_, "means": model.means_, "covariances": model.covariances_}
        tensors = {name: torch.from_numpy(x).double() for name, x in state.items()}
        return [{"mean": sample.means[0], "basis": basis, "noise": torch.tensor(noise).double(), **tensors}]

    @property
    def d_model(self) -> int:
        return self.fitted("mean").shape[0]

    @property
    def gaussian(self) -> Gaussian:
        return PPCA(self.rank)

    def log_prob(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        z, y, joint, noise = self._parts(a)
        outside = z.square().sum(-1) - y.square().sum(-1)
        k = self.d_model - self.rank
        return joint.logsumexp(-1) - (outside / noise + k * math.log(2 * math.pi * float(noise))) / 2

    def gradient(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        z, y, joint, noise = self._parts(a)
        precisions = self.fitted("covariances").inverse().to(z.device)
        pulls = torch.einsum("kij,...kj->...ki", precisions, self.fitted("means").to(z.device) - y.unsqueeze(-2))
        inside = (joint.softmax(-1).unsqueeze(-1) * pulls).sum(-2)
        return (inside + y / noise) @ self.fitted("basis").to(z.device).mT - z / noise

    def sample(self, n: int, seed: int = 0) -> Float[Tensor, "n d"]:
        which = torch.multinomial(self.fitted("weights"), n, True, generator=torch.Generator().manual_seed(seed))
        roots = torch.linalg.cholesky(self.fitted("covariances"))[which]
        z, basis = normals(n, self.d_model, seed + 1), self.fitted("basis")
        inside = z @ basis
        y = self.fitted("means")[which] + torch.einsum("nij,nj->ni", roots, inside)
        return self.fitted("mean") + y @ basis.mT + (z - inside @ basis.mT) * self.fitted("noise").sqrt()

    def _parts(self, a: Float[Tensor, "*batch d"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """a − μ, its principal coordinates, the log joint of these with each component, and the noise variance."""
        a = self._prepare(a)
        state = {name: x.to(a.device) for name, x in self.state.items()}
        z = a - state["mean"]
        y = z @ state["basis"]
        inside = MultivariateNormal(state["means"], state["covariances"]).log_prob(y.unsqueeze(-2))
        return z, y, state["weights"].log() + inside, state["noise"]
