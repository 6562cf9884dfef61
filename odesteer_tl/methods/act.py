"""Linear-AcT and Mean-AcT: activation transport, neuron by neuron (Rodriguez et al., ICLR 2025)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields import AffineField, VectorField
from odesteer_tl.methods.registry import median_norm, register

ACT = "Linear-AcT, ICLR 2025; read in its authors' code"


@register(
    "linear_act",
    solver="euler",
    T=1.0,
    source=f"{ACT}: on the source's support",
    idea="map each neuron linearly, within its range",
)
def linear_act(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0) -> VectorField:
    """`z′ = λ(wz + b) + (1 − λ)z` for each neuron where z lies in the source's range, λ the time T. No randomness.

    Both classes are sorted, x negative and y positive, and `w = Σ(x − x̄)(y − ȳ)/Σ(x − x̄)²`, `b = ȳ − w x̄`: least
    squares on the one-dimensional optimal pairing. A neuron that never varies is shifted only. The map is trusted on
    [min x, max x] alone, the paper's support (`q_0_100` in its authors' code): a neuron outside it is left as it is,
    which on a model's own continuations may be half of them. "linear_act_extrapolated" maps everything. Over several
    layers it is fitted layer by layer on already steered activations, as in the paper (`ode.fit` with a list of
    layers; `steer_position="all"` for the paper's). Reconstructed: classes of unequal size are paired by quantiles; the
    ends of the range belong to it, as in the paper and not in the code. In one dimension optimal transport is
    sorting, so no package is asked for it.
    """
    weight, bias = _affine_maps(positive, negative)
    source = negative.double()
    support = torch.stack([source.min(0).values, source.max(0).values])
    return AffineField(weight, bias, median_norm(positive, negative), support)


@register(
    "linear_act_extrapolated",
    solver="euler",
    T=1.0,
    source=f"{ACT}: its map at every value (`q_all`)",
    idea="map each neuron linearly, everywhere",
)
def linear_act_extrapolated(
    positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0
) -> VectorField:
    """Linear-AcT's map applied to every value, outside the range it was learned on too. No randomness."""
    return AffineField(*_affine_maps(positive, negative), median_norm(positive, negative))


@register(
    "mean_act",
    solver="euler",
    T=1.0,
    source="Mean-AcT, ICLR 2025; read in its authors' code",
    idea="shift each neuron by its means",
)
def mean_act(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0) -> VectorField:
    """`z′ = z + λ(μ₊ − μ₋)`, λ the time T: Linear-AcT with w = 1, at every value. No randomness.

    Its authors leave a neuron outside the source's range alone, as in "linear_act"; here the shift is everywhere the
    same, so that it stays an additive method, which PID and the heads of several layers need.
    """
    shift = positive.double().mean(0) - negative.double().mean(0)
    return AffineField(torch.ones_like(shift), shift, median_norm(positive, negative))


def _affine_maps(positive: Tensor, negative: Tensor) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """w and b of every neuron, by least squares on the sorted pairs."""
    levels = min(len(positive), len(negative))
    x, y = (_sorted(sample, levels) for sample in (negative, positive))
    dx, dy = x - x.mean(0), y - y.mean(0)
    spread = dx.square().sum(0)
    weight = torch.where(spread > 0, (dx * dy).sum(0) / spread.where(spread > 0, 1.0), 1.0)
    return weight, y.mean(0) - weight * x.mean(0)


def _sorted(x: Float[Tensor, "n d"], levels: int) -> Float[Tensor, "levels d"]:
    """Each column's quantiles at the midpoints of `levels` equal parts: for levels = n the sorted column."""
    at = (np.arange(levels) + 0.5) / levels
    return torch.from_numpy(np.quantile(x.double().numpy(), at, axis=0, method="hazen"))
