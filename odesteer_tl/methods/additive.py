"""Additive methods: fields that add one vector to every activation, and what that vector is."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields import AffineField, ConstantField, VectorField


def added(field: VectorField) -> Float[Tensor, " d"]:
    """The vector an additive method adds at its own strength 1, that of `Flow(multiplier=1)`.

    Raises:
        ValueError: the field does not add the same vector to every activation.
    """
    if isinstance(field, ConstantField):
        return field.given
    if isinstance(field, AffineField) and field.is_shift:
        return field.tensors["bias"]
    raise ValueError(
        f"field={type(field).__name__} is not additive: it moves every activation differently; use a method whose "
        "field adds one vector, such as 'caa' or 'mean_act'"
    )


def adding(vector: Float[Tensor, " d"], like: VectorField) -> VectorField:
    """An additive field of the same kind (a `ConstantField`, or else one whose T multiplies the vector).

    Raises:
        ValueError: the vector is not finite, or zero for a `ConstantField`, which has no direction then.
    """
    if isinstance(like, ConstantField):
        return ConstantField(vector, like.median_norm)
    return AffineField(torch.ones_like(vector), vector, like.median_norm)
