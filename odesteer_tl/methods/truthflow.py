"""TruthFlow: a rectified flow from an activation to its correction (Wang et al., arXiv 2502.04556)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from odesteer_tl._groups import Groups
from odesteer_tl.fields import CorrectionField, VectorField
from odesteer_tl.methods.registry import median_norm, register, require_pairs
from odesteer_tl.methods.training import fit_mlp, mean_square


@register(
    "truthflow",
    solver="euler",
    T=1.5,
    source="TruthFlow, arXiv 2502.04556; a fork of its code read",
    idea="let a learned flow choose each correction",
)
def truthflow(
    positive: Float[Tensor, "n d"],
    negative: Float[Tensor, "m d"],
    seed: int = 0,
    *,
    directions: int = 20,
    hidden: int = 256,
    steps: int = 1000,
    groups: Groups | None = None,
) -> VectorField:
    """`a + 1.5·VₖVₖᵀδ(a)`, δ(a) from a rectified flow that carries an activation to its own correction.

    The flow's velocity u minimises `‖u(z_τ, τ) − (δ − a)‖²` at `z_τ = (1 − τ)a + τδ`, τ uniform; Vₖ are the leading
    right singular vectors of the fitting δ's. Reconstructed: the query is the negative text's activation and
    δ = positive − negative of its pair, where the original averages several answers to a question; the network is a
    tanh network of one hidden layer.

    Args:
        directions: k.
        hidden: width of the hidden layer.
        steps: minibatches of the training.
        groups: which rows come from one text; those of a pair share a group.

    Raises:
        ValueError: the classes are not paired (unequal lengths, or groups that differ), or directions < 1.
    """
    require_pairs(positive, negative, "TruthFlow learns the correction of each pair", groups)
    if directions < 1:
        raise ValueError(f"directions={directions} must be at least 1")
    norm, d = median_norm(positive, negative), positive.shape[1]
    scale = d**0.5 / norm
    start, correction = negative.float() * scale, (positive - negative).float() * scale
    _, _, right = torch.linalg.svd(correction.double(), full_matrices=False)

    def loss(network: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        tau = torch.rand(len(rows), 1, generator=generator)
        z = (1 - tau) * start[rows] + tau * correction[rows]
        return mean_square(network(torch.cat([z, tau], dim=-1)) - (correction[rows] - start[rows]))

    layers = fit_mlp([d + 1, hidden, d], loss, len(start), steps=steps, seed=seed)
    return CorrectionField(layers, right[:directions].mT, norm)
