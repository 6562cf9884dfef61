"""Contrastive activation addition (Rimsky et al., ACL 2024)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields import ConstantField, VectorField
from odesteer_tl.methods.registry import median_norm, register


@register("caa", solver="euler", source="CAA, ACL 2024", idea="add the difference of the means")
def caa(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0) -> VectorField:
    """`v = μ₊ − μ₋`, added: `a + T·v/‖v‖`. CAA's own multiplier α is `Flow(multiplier=α)`. No randomness."""
    direction = positive.double().mean(0) - negative.double().mean(0)
    return ConstantField(direction, median_norm(positive, negative))
