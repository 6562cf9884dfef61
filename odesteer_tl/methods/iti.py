"""Inference-time intervention on the residual stream (Li et al., NeurIPS 2023)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from odesteer_tl.barriers.linear import fit_logistic
from odesteer_tl.fields import ConstantField, VectorField
from odesteer_tl.methods.registry import median_norm, register


@register("iti", solver="euler", source="ITI, NeurIPS 2023, its residual-stream form")
def iti(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0) -> VectorField:
    """The weight of a logistic probe (C = 1, standardised to unit median norm), added. No randomness.

    The residual-stream form that ODESteer compares with; the head-wise original is another method.

    Args:
        positive, negative: activations of the two classes, [n, d] and [m, d].
        seed: taken for the signature; nothing here is random.

    Returns:
        The field of this method at this layer; steer with it through `Steerer`.
    """
    norm = median_norm(positive, negative)
    direction, _ = fit_logistic(positive.double() / norm, negative.double() / norm, C=1.0)
    return ConstantField(direction, norm)
