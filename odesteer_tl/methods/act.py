"""Linear-AcT and Mean-AcT: activation transport, neuron by neuron (Rodriguez et al., ICLR 2025)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields import AffineField, VectorField
from odesteer_tl.methods.registry import median_norm, register


@register("linear_act", solver="euler", T=1.0, source="Linear-AcT, ICLR 2025; read in its authors' code")
def linear_act(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0) -> VectorField:
    """`z′ = λ(wz + b) + (1 − λ)z` for each neuron, λ the time T. No randomness.

    Both classes are sorted, x negative and y positive, and `w = Σ(x − x̄)(y − ȳ)/Σ(x − x̄)²`, `b = ȳ − w x̄`: least
    squares on the one-dimensional optimal pairing. A neuron that never varies is shifted only. Over several
    layers it is fitted layer by layer on already steered activations, as in the paper (`ode.fit` with a list of
    layers; `positions="all"` for the paper's). Reconstructed: classes of unequal size are paired by quantiles. In one
    dimension optimal transport is sorting, so no package is asked for it.

    Args:
        positive, negative: activations of the two classes, [n, d] and [m, d].
        seed: taken for the signature; nothing here is random.

    Returns:
        The field of this method at this layer; steer with it through `Steerer`.
    """
    levels = min(len(positive), len(negative))
    x, y = (_sorted(sample, levels) for sample in (negative, positive))
    dx, dy = x - x.mean(0), y - y.mean(0)
    spread = dx.square().sum(0)
    weight = torch.where(spread > 0, (dx * dy).sum(0) / spread.where(spread > 0, 1.0), 1.0)
    return AffineField(weight, y.mean(0) - weight * x.mean(0), median_norm(positive, negative))


@register("mean_act", solver="euler", T=1.0, source="Mean-AcT, ICLR 2025; read in its authors' code")
def mean_act(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0) -> VectorField:
    """`z′ = z + λ(μ₊ − μ₋)`, λ the time T: Linear-AcT with w = 1. No randomness.

    Args:
        positive, negative: activations of the two classes, [n, d] and [m, d].
        seed: taken for the signature; nothing here is random.

    Returns:
        The field of this method at this layer; steer with it through `Steerer`.
    """
    shift = positive.double().mean(0) - negative.double().mean(0)
    return AffineField(torch.ones_like(shift), shift, median_norm(positive, negative))


def _sorted(x: Float[Tensor, "n d"], levels: int) -> Float[Tensor, "levels d"]:
    """Each column's quantiles at the midpoints of `levels` equal parts: for levels = n the sorted column."""
    at = (np.arange(levels) + 0.5) / levels
    return torch.from_numpy(np.quantile(x.double().numpy(), at, axis=0, method="hazen"))
