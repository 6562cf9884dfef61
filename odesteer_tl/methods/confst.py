"""Confident direction steering (Song et al., arXiv 2503.02989)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.barriers.linear import fit_logistic
from odesteer_tl.fields import ConstantField, VectorField
from odesteer_tl.methods.registry import median_norm, register


@register(
    "confst",
    solver="euler",
    source="CONFST, arXiv 2503.02989; reconstructed from its abstract",
    idea="add the mean of confident examples",
)
def confst(
    positive: Float[Tensor, "n d"],
    negative: Float[Tensor, "m d"],
    seed: int = 0,
    *,
    confidence: float = 0.8,
) -> VectorField:
    """The mean of the positive activations that a classifier is confident of, added: `a + T·v/‖v‖`. No randomness.

    A reconstruction: the classifier is a logistic regression (C = 1) on standardised activations, its posterior that
    of equally frequent classes. The mean is the recipe's, not centred: what both classes share stays in it.

    Args:
        confidence: β, the least posterior that counts.

    Raises:
        ValueError: β is not in [0, 1), or no positive activation reaches it.
    """
    if not 0 <= confidence < 1:
        raise ValueError(f"confidence={confidence} must be a probability below 1")
    posterior = _posterior(positive.double(), negative.double())
    kept = posterior >= confidence
    if not bool(kept.any()):
        raise ValueError(
            f"confidence={confidence}: no positive activation reaches it, the best has {float(posterior.max()):.3f}; "
            "lower it, or use another layer"
        )
    return ConstantField(positive.double()[kept].mean(0), median_norm(positive, negative))


def _posterior(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"]) -> Float[Tensor, " n"]:
    """P(positive | a) of the positive activations."""
    both = torch.cat([positive, negative])
    spread = both.std(0)
    x, y = ((part - both.mean(0)) / spread.where(spread > 0, 1.0) for part in (positive, negative))
    weight, intercept = fit_logistic(x, y, C=1.0)
    return torch.sigmoid(x @ weight + intercept)
