"""Recursive feature machine directions (arXiv 2602.00333; Beaglehole et al., arXiv 2502.03708)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields import ConstantField, VectorField
from odesteer_tl.methods.registry import median_norm, register


@register("rfm", solver="euler", source="RFM, arXiv 2602.00333, without its attention-guided labels; recipe read")
def rfm(
    positive: Float[Tensor, "n d"],
    negative: Float[Tensor, "m d"],
    seed: int = 0,
    *,
    ridge: float = 1e-3,
    iterations: int = 10,
) -> VectorField:
    """Top eigenvector of a recursive feature machine's M, added: `a + T·u`. No randomness.

    Kernel ridge regression of the labels with the Laplacian kernel `exp(−‖x − y‖_M/L)`, then M ← the average outer
    product of the predictor's gradients; repeated. The sign is that of the correlation with the labels.
    Reconstructed: hard labels ±1 (the original's are the attention paid to the concept), and L the median distance.

    Args:
        ridge: of the regression.
        iterations: updates of M.

    Returns:
        The field of this method at this layer; steer with it through `Steerer`.
    """
    X = torch.cat([positive, negative]).double()
    labels = torch.ones(len(X), dtype=torch.float64)
    labels[len(positive) :] = -1
    M = torch.eye(X.shape[1], dtype=torch.float64)
    for _ in range(iterations):
        M = _update(M, X, labels, ridge)
    direction = torch.linalg.eigh(M).eigenvectors[:, -1]
    correlation = (X - X.mean(0)) @ direction @ (labels - labels.mean())
    return ConstantField(direction * torch.sign(correlation), median_norm(positive, negative))


def _update(
    M: Float[Tensor, "d d"], X: Float[Tensor, "n d"], labels: Float[Tensor, " n"], ridge: float
) -> Float[Tensor, "d d"]:
    """The average gradient outer product of the kernel ridge predictor under M, to unit trace."""
    XM = X @ M
    squares = (XM * X).sum(1)
    distance = (squares[:, None] + squares[None] - 2 * XM @ X.mT).clamp_min(0).sqrt()
    distance.fill_diagonal_(0)
    off_diagonal = ~torch.eye(len(X), dtype=torch.bool)
    width = distance[off_diagonal].median()
    kernel = torch.exp(-distance / width)
    alpha = torch.linalg.solve(kernel + ridge * torch.eye(len(X), dtype=torch.float64), labels)
    # ∇f(xᵢ) = −Σⱼ αⱼ K(xᵢ, xⱼ) M(xᵢ − xⱼ)/(L‖xᵢ − xⱼ‖_M), and the kink at j = i counts as 0
    pull = torch.where(distance > 0, alpha * kernel / distance.where(distance > 0, 1.0), 0.0) / width
    gradients = (pull @ X - pull.sum(1, keepdim=True) * X) @ M
    product = gradients.mT @ gradients
    return product / product.trace()
