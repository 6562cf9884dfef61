"""Spherical steering: rotation toward a direction (arXiv 2602.08169; used by 2602.01716)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields import RotationField, VectorField
from odesteer_tl.methods.registry import median_norm, register


@register(
    "rotation",
    solver="geodesic",
    source="spherical steering, arXiv 2602.08169; formula read",
    idea="rotate towards the mean direction",
)
def rotation(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0) -> VectorField:
    """Rotate in span(x̂, v̂) by `φ = α·arccos(x̂·v̂)`, α the time T; the norm is kept. No randomness.

    Reconstructed: v̂ is the direction of the difference of the classes' mean unit activations.
    """
    directions = [(x.double() / x.double().norm(dim=-1, keepdim=True)).mean(0) for x in (positive, negative)]
    return RotationField(directions[0] - directions[1], median_norm(positive, negative))
