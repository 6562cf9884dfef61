"""Synthetic activations from two known Gaussians: the exact oracle for every analysis that asks for p₊ and p₋."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import MultivariateNormal


@dataclass(frozen=True, eq=False)
class SyntheticPair:
    """Two Gaussians in `d` dimensions, p₊ and p₋, as float64 means and covariances.

    Attributes:
        mean_positive, mean_negative: [d].
        covariance_positive, covariance_negative: [d, d], positive definite.
    """

    mean_positive: Float[Tensor, " d"]
    mean_negative: Float[Tensor, " d"]
    covariance_positive: Float[Tensor, "d d"]
    covariance_negative: Float[Tensor, "d d"]

    @classmethod
    def linear(cls, d: int = 64, separation: float = 2.0, seed: int = 0) -> SyntheticPair:
        """Means apart, one covariance: the log-ratio is linear.

        `separation` is the Mahalanobis distance of the means, so the ratio's AUC is Φ(separation / √2). The means are
        opposite, in a random direction; the covariance has eigenvalues from ½ to 2 in a random basis.
        Raises ValueError for `d` below 1 or a `separation` that is not positive.
        """
        if d < 1:
            raise ValueError(f"d={d} is too small; use at least 1 dimension")
        if not separation > 0:
            raise ValueError(f"separation={separation} is not positive; without it p₊ and p₋ are the same")
        generator = torch.Generator().manual_seed(seed)
        basis = _rotation(d, generator)
        scales = torch.logspace(-0.5, 0.5, d, base=2.0, dtype=torch.float64)  # standard deviations
        whitened = torch.randn(d, generator=generator, dtype=torch.float64)
        mean = basis @ (scales * whitened / whitened.norm()) * separation / 2
        covariance = _covariance(basis, scales**2)
        return cls(mean, -mean, covariance, covariance.clone())

    @classmethod
    def quadratic(cls, d: int = 64, variance: float = 8.0, rank: int = 4, seed: int = 0) -> SyntheticPair:
        """Both means zero, covariances different: the log-ratio is even, a quadratic with no linear part.

        In a random basis p₊ has `variance` in the first `rank` directions and p₋ in the next `rank`; everything else is
        1. Norms have the same distribution under both, so they say nothing: directions have to be read.
        Raises ValueError for `d` below 2 · `rank`, a `rank` below 1, or a `variance` that is not above 1.
        """
        if rank < 1 or d < 2 * rank:
            raise ValueError(f"rank={rank} does not fit d={d}; use 1 ≤ rank ≤ d / 2")
        if not variance > 1:
            raise ValueError(f"variance={variance} is not above 1; without that p₊ and p₋ are the same")
        basis = _rotation(d, torch.Generator().manual_seed(seed))
        positive, negative = torch.ones(2, d, dtype=torch.float64)
        positive[:rank] = variance
        negative[rank : 2 * rank] = variance
        zero = torch.zeros(d, dtype=torch.float64)
        return cls(zero, zero.clone(), _covariance(basis, positive), _covariance(basis, negative))

    def sample(self, n: int, seed: int) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Draws `n` activations from p₊ and `n` from p₋, in float32, the same for the same arguments.

        Raises ValueError for an `n` below 1.
        """
        if n < 1:
            raise ValueError(f"n={n} is too small; ask for at least 1 activation a class")
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(2, n, self.mean_positive.shape[0], generator=generator, dtype=torch.float64)
        positive = self.mean_positive + noise[0] @ torch.linalg.cholesky(self.covariance_positive).T
        negative = self.mean_negative + noise[1] @ torch.linalg.cholesky(self.covariance_negative).T
        return positive.float(), negative.float()

    def log_prob_positive(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """log p₊(a) in nats, float64."""
        return MultivariateNormal(self.mean_positive, self.covariance_positive).log_prob(a.double())

    def log_prob_negative(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """log p₋(a) in nats, float64."""
        return MultivariateNormal(self.mean_negative, self.covariance_negative).log_prob(a.double())

    def log_ratio(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """log p₊(a) − log p₋(a) in nats, float64: the ideal barrier."""
        return self.log_prob_positive(a) - self.log_prob_negative(a)


def _rotation(d: int, generator: torch.Generator) -> Float[Tensor, "d d"]:
    gaussian = torch.randn(d, d, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    return q * torch.where(r.diagonal() < 0, -1.0, 1.0)  # without the signs q would not be uniformly distributed


def _covariance(basis: Float[Tensor, "d d"], variances: Float[Tensor, " d"]) -> Float[Tensor, "d d"]:
    covariance = basis @ torch.diag(variances) @ basis.T
    return (covariance + covariance.T) / 2  # exactly symmetric, whatever the rounding
