"""Representation engineering (Zou et al., arXiv 2310.01405)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._groups import Groups
from odesteer_tl.fields import ConstantField, VectorField
from odesteer_tl.methods.registry import median_norm, register, require_pairs


@register(
    "repe", solver="euler", source="RepE, arXiv 2310.01405", idea="add the differences' first principal direction"
)
def repe(
    positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0, *, groups: Groups | None = None
) -> VectorField:
    """First principal direction of the *uncentred* paired differences, signed by the training labels.

    Centring would remove the mean difference and leave the sign free. No randomness.

    Args:
        groups: which rows come from one text; those of a pair share a group.

    Raises:
        ValueError: the classes are not paired (unequal lengths, or groups that differ).
    """
    require_pairs(positive, negative, "RepE takes the differences of pairs", groups)
    difference = positive.double() - negative.double()
    _, _, directions = torch.linalg.svd(difference, full_matrices=False)
    direction = directions[0]
    return ConstantField(direction * torch.sign(direction @ difference.mean(0)), median_norm(positive, negative))
