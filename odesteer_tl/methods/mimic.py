"""MiMiC: minimally modified counterfactuals by Gaussian optimal transport (Singh et al., ICML 2024)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from sklearn.covariance import empirical_covariance, ledoit_wolf, shrunk_covariance
from torch import Tensor

from odesteer_tl.barriers import LinearBarrier
from odesteer_tl.fields import AffineField, GatedField, VectorField
from odesteer_tl.methods.registry import median_norm, register


@register(
    "mimic",
    solver="euler",
    T=1.0,
    source="MiMiC, ICML 2024; its recipe read in its authors' code",
    idea="carry one Gaussian onto the other",
)
def mimic(
    positive: Float[Tensor, "n d"],
    negative: Float[Tensor, "m d"],
    seed: int = 0,
    *,
    shrinkage: float | None = None,
) -> VectorField:
    """Optimal transport of one Gaussian to the other, where a logistic classifier says source. No randomness.

    `T(x) = μ₊ + S(x − μ₋)` with `S = Σ₋^{-1/2}(Σ₋^{1/2}Σ₊Σ₋^{1/2})^{1/2}Σ₋^{-1/2}`. Reconstructed: the classifier,
    here a `LinearBarrier` (directions, C = 1) as the gate of the field.

    Args:
        shrinkage: weight of the scaled identity in both covariances, or None: Ledoit and Wolf's for each.

    Raises:
        ValueError: shrinkage outside [0, 1], or 0 with too few rows for a covariance of full rank.
    """
    if shrinkage is not None and not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage={shrinkage} must lie between 0 and 1, or be None for Ledoit and Wolf's")
    moments = [(x.double().mean(0), _covariance(x.double(), shrinkage)) for x in (positive, negative)]
    weight, bias = gaussian_transport(*moments[1], *moments[0])
    classifier = LinearBarrier().fit(positive, negative)
    normal, intercept = classifier.quadratic.b, classifier.quadratic.c
    field = AffineField(weight, bias, median_norm(positive, negative))
    return GatedField(field, -normal, intercept / float(normal.norm()))  # open where normal·u + intercept ≤ 0


def gaussian_transport(
    mean: Float[Tensor, " d"],
    covariance: Float[Tensor, "d d"],
    target_mean: Float[Tensor, " d"],
    target_covariance: Float[Tensor, "d d"],
) -> tuple[Float[Tensor, "d d"], Float[Tensor, " d"]]:
    """W and b of the optimal transport map x → Wx + b between two Gaussians (Knott & Smith 1984), float64.

    Python Optimal Transport has it as `ot.gaussian.bures_wasserstein_mapping`, the oracle of our tests. It is written
    out here for what few texts in many dimensions bring: a singular source is refused (POT returns entries of 1e25, or
    speaks of infs), a target of lower rank than its width is reached (POT returns NaN for NumPy arrays); the shrunk
    covariances that go in are scikit-learn's either way.

    Args:
        mean, covariance: of the source.
        target_mean, target_covariance: of the target.

    Returns:
        W and b.

    Raises:
        ValueError: the source covariance is singular.
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    if float(values[0]) <= 1e-12 * float(values[-1]):
        raise ValueError(
            f"covariance is singular (eigenvalues from {float(values[0]):.2g} to {float(values[-1]):.2g}); "
            "use more texts or shrinkage=None"
        )
    root, inverse = ((vectors * values**power) @ vectors.mT for power in (0.5, -0.5))
    middle_values, middle = torch.linalg.eigh(root @ target_covariance.double() @ root)
    weight = inverse @ (middle * middle_values.clamp_min(0).sqrt()) @ middle.mT @ inverse
    return weight, target_mean.double() - weight @ mean.double()


def _covariance(x: Float[Tensor, "n d"], shrinkage: float | None) -> Float[Tensor, "d d"]:
    if shrinkage is None:
        return torch.from_numpy(ledoit_wolf(x.numpy())[0])
    return torch.from_numpy(shrunk_covariance(empirical_covariance(x.numpy()), shrinkage))
