"""The placebo: a random direction."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields import ConstantField, VectorField
from odesteer_tl.methods.registry import median_norm, register


@register("random", solver="euler", source="placebo control", idea="a random direction: the placebo")
def random_direction(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0) -> VectorField:
    """A uniformly random unit direction from `seed`; the data give only the width and the norm's unit.

    Args:
        seed: of the direction.
    """
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(positive.shape[1], generator=generator, dtype=torch.float64)
    return ConstantField(direction, median_norm(positive, negative))
