"""Selective rotation: within a fixed plane, at the layers where the classes stand on opposite sides."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields import PlaneField, VectorField
from odesteer_tl.methods.layers import CollectFn, FitFn, fit_activations
from odesteer_tl.methods.registry import median_norm, register


def opposed(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"]) -> bool:
    """Whether the class means project with opposite signs on the direction of their difference."""
    means = [x.double().mean(0) for x in (positive, negative)]
    direction = means[0] - means[1]
    return bool(means[0] @ direction > 0) and bool(means[1] @ direction < 0)


def at_opposed_layers(fit: FitFn, collect: CollectFn, layers: Sequence[int], seed: int) -> dict[int, VectorField]:
    """Fit every layer where the classes are opposed, nothing being steered meanwhile; the others are left out.

    Raises:
        ValueError: there is no such layer.
    """
    acts = collect(layers, {})
    chosen = [n for n in layers if opposed(acts[n].positive, acts[n].negative)]
    if not chosen:
        raise ValueError(f"layer={list(layers)}: at none of them do the class means project with opposite signs")
    return {n: fit_activations(fit, acts[n], seed) for n in chosen}


@register(
    "selective_rotation",
    solver="rk4",
    steps=10,
    T=1.0,
    layers=at_opposed_layers,
    source="selective steering, arXiv 2601.19375; reconstructed from its abstract",
    idea="turn within a fixed plane",
)
def selective_rotation(
    positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0, *, rate: float = 5.0
) -> VectorField:
    """Turn an activation's part in a fixed plane toward the mean difference; the norm is kept. No randomness.

    Only at layers where the class means project with opposite signs on the mean difference: over several layers the
    others are left out, and alone such a layer is refused. By time 1 the exact flow has gone 1 − e^{−rate} of the way.
    A reconstruction: the plane is that of the mean difference and of the activations' first principal direction beside
    it, and the way is followed as a flow, so that every angle between can be asked for.

    Args:
        rate: how much of the way by time 1.

    Raises:
        ValueError: the class means project with one sign, there is one dimension, or the rate is not positive.
    """
    if not opposed(positive, negative):
        raise ValueError(
            "positive and negative have means that project with one sign on their difference: this method leaves such "
            "a layer alone; use another layer, or 'rotation'"
        )
    difference = positive.double().mean(0) - negative.double().mean(0)
    first = difference / difference.norm()
    both = torch.cat([positive, negative]).double()
    beside = both - both.mean(0)
    beside = beside - torch.outer(beside @ first, first)
    second = torch.linalg.svd(beside, full_matrices=False).Vh[0]
    second = second - (second @ first) * first
    if len(first) < 2 or second.norm() == 0:
        raise ValueError("positive and negative lie on one line, and a plane needs two directions; use 'caa'")
    return PlaneField(torch.stack([first, second / second.norm()]), median_norm(positive, negative), rate)
