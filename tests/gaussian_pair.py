"""Known truth for densities: two Gaussians of low rank + diagonal covariance, and paths through them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal

from odesteer_tl.densities import PPCA, Gaussian


@dataclass(frozen=True)
class GaussianPair:
    """p₊ and p₋, torch's own distributions (an independent implementation of what is tested)."""

    positive: LowRankMultivariateNormal
    negative: LowRankMultivariateNormal

    @classmethod
    def draw(cls, d: int, rank: int = 6, separation: float = 6.0, tied: bool = False, seed: int = 0) -> GaussianPair:
        """Means `separation` pooled standard deviations apart in a random direction, far from the origin."""
        g = torch.Generator().manual_seed(seed)
        normal = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
        centre = 2 * normal(d)
        shift = normal(d)
        shift = separation * shift / shift.norm() / 2
        parts = [(normal(d, rank), 0.5 * torch.exp(0.5 * normal(d))) for _ in range(1 if tied else 2)]
        return cls(
            *(LowRankMultivariateNormal(centre + s * shift, *parts[i % len(parts)]) for i, s in ((0, 1), (1, -1)))
        )

    def sample(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.positive.sample((n,)), self.negative.sample((n,))

    def line(self, n: int, steps: int, length: float, seed: int) -> Tensor:
        """Negative activations moved in a straight line along the difference of the means, [steps + 1, n, d]."""
        a = self.sample(n, seed)[1]
        direction = self.positive.mean - self.negative.mean
        t = torch.linspace(0, length, steps + 1, dtype=torch.float64)
        return a + t[:, None, None] * direction / direction.norm()


def as_density(truth: LowRankMultivariateNormal) -> Gaussian:
    """The same Gaussian as one of ours."""
    noise = truth.cov_diag
    basis, singular, _ = torch.linalg.svd(truth.cov_factor / noise.sqrt()[:, None], full_matrices=False)
    return PPCA(0).restore({"mean": truth.mean, "noise": noise, "basis": basis, "excess": singular.square()})
