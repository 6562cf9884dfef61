"""Householder pseudo-rotation (Pham & Nguyen, EMNLP 2024)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from odesteer_tl._groups import Groups
from odesteer_tl.fields import PseudoRotationField, VectorField
from odesteer_tl.methods.registry import median_norm, register, require_pairs
from odesteer_tl.methods.training import fit_mlp, mean_square


@register(
    "hpr",
    solver="geodesic",
    T=1.0,
    source="HPR, EMNLP 2024; its recipe read in its authors' code",
    idea="reflect, then rotate as networks say",
)
def hpr(
    positive: Float[Tensor, "n d"],
    negative: Float[Tensor, "m d"],
    seed: int = 0,
    *,
    hidden: int = 64,
    steps: int = 1000,
    groups: Groups | None = None,
) -> VectorField:
    """Rotate what a bias-free probe calls negative toward its reflection, by a learned angle; the norm is kept.

    The probe w minimises the binary cross-entropy (logistic regression without intercept, C = 1, on activations over
    their median norm), the angle network `γ = π·sigmoid(MLP(a))` the squared error to the angle between a negative
    activation and its positive partner. Reconstructed: the two are trained one after the other, with our layer sizes.

    Args:
        hidden: width of the angle network's hidden layer.
        steps: minibatches of its training.
        groups: which rows come from one text; those of a pair share a group.

    Raises:
        ValueError: the classes are not paired (unequal lengths, or groups that differ).
    """
    require_pairs(positive, negative, "HPR learns the angle to the partner", groups)
    norm, d = median_norm(positive, negative), positive.shape[1]
    rows = torch.cat([positive, negative]).double() / norm
    labels = np.repeat([1, 0], [len(positive), len(negative)])
    probe = LogisticRegression(fit_intercept=False, max_iter=10_000).fit(rows.numpy(), labels)
    start = negative.float() * (d**0.5 / norm)
    angle = 2 * torch.asin((_unit(positive) - _unit(negative)).norm(dim=-1).div(2).clamp_max(1)).float()

    def loss(network: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        return mean_square(torch.pi * torch.sigmoid(network(start[rows]).squeeze(-1)) - angle[rows])

    layers = fit_mlp([d, hidden, 1], loss, len(negative), steps=steps, seed=seed)
    return PseudoRotationField(torch.from_numpy(np.asarray(probe.coef_[0], dtype=np.float64)), layers, norm)


def _unit(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    return x.double() / x.double().norm(dim=-1, keepdim=True)
