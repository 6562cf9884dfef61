"""Recursive feature machine directions (arXiv 2602.00333; Beaglehole et al., arXiv 2502.03708)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields import ConstantField, VectorField
from odesteer_tl.methods.registry import median_norm, register


@register(
    "rfm",
    solver="euler",
    source="RFM, arXiv 2602.00333, with the classes as labels; recipe read",
    idea="add a recursive feature machine's direction",
)
def rfm(
    positive: Float[Tensor, "n d"],
    negative: Float[Tensor, "m d"],
    seed: int = 0,
    *,
    ridge: float = 1e-3,
    iterations: int = 10,
    labels: Float[Tensor, " rows"] | None = None,
) -> VectorField:
    """Top eigenvector of a recursive feature machine's M, added: `a + T·u`. No randomness.

    Kernel ridge regression of the centred labels with the Laplacian kernel `exp(−‖x − y‖_M/L)`, then M ← the average
    outer product of the predictor's gradients; repeated. The sign is that of the correlation with the labels.
    Reconstructed: the centring, and L the median distance.

    Args:
        ridge: of the regression.
        iterations: updates of M.
        labels: how much of the concept each row carries, positives first [n + m]; by default 1 for a positive row and 0
            for a negative one. Only differences of labels matter, and not their unit. `attended_rfm` gives the
            attention that a token pays to the concept.

    Raises:
        ValueError: the labels are not one finite number a row, or all the same.
    """
    X = torch.cat([positive, negative]).double()
    if labels is None:
        labels = torch.cat([torch.ones(len(positive)), torch.zeros(len(negative))])
    if labels.shape != (len(X),) or not bool(labels.isfinite().all()) or bool((labels == labels[0]).all()):
        raise ValueError(
            f"labels has shape {tuple(labels.shape)} for {len(X)} rows; give one finite number a row, not all the same"
        )
    target = labels.double() - labels.double().mean()
    M = torch.eye(X.shape[1], dtype=torch.float64)
    for _ in range(iterations):
        M = _update(M, X, target, ridge)
    direction = torch.linalg.eigh(M).eigenvectors[:, -1]
    correlation = (X - X.mean(0)) @ direction @ target
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
