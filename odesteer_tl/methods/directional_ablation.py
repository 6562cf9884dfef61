"""Directional ablation: a direction is taken out of every activation (Arditi et al., NeurIPS 2024)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields import AffineField, VectorField
from odesteer_tl.methods.registry import median_norm, register


@register(
    "directional_ablation",
    solver="euler",
    T=1.0,
    source="directional ablation, arXiv 2406.11717, eq. 4; formula read",
    idea="take the mean difference's direction out",
)
def directional_ablation(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0) -> VectorField:
    """`a − T·(a·v̂)v̂`, v̂ the direction of the mean difference: at T = 1 nothing of it is left. No randomness.

    It removes what a direction says and adds nothing, so that a negative is moved towards the positives only as far as
    it stood on the other side of 0. Reconstructed: the original ablates at every layer and token, which is
    `layer=range(n)` with `steer_position="all_and_bos"` here, each layer with a direction of its own.

    Raises:
        ValueError: the classes have the same mean.
    """
    difference = positive.double().mean(0) - negative.double().mean(0)
    length = difference.norm()
    if length == 0:
        raise ValueError(
            "positive and negative have the same mean, so that no direction tells them apart; use another layer"
        )
    v = difference / length
    weight = torch.eye(len(v), dtype=v.dtype) - torch.outer(v, v)
    return AffineField(weight, torch.zeros_like(v), median_norm(positive, negative))
