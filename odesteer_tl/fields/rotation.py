"""The rotation field: toward one direction along great circles."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields.base import tangential
from odesteer_tl.fields.stored import StoredField


class RotationField(StoredField):
    """`v(a) = ‖a‖ θ(a) e(a)`: θ the angle to `direction`, e the unit tangent toward it. Keeps ‖a‖.

    One geodesic step of time s rotates by s·θ within span(a, direction); s = 1 arrives there.

    Args:
        direction: the direction rotated toward [d], of any nonzero length.
        median_norm: of the fitting activations, for `Flow(relative=…)`.

    Raises:
        ValueError: the direction is zero, NaN or infinite.
    """

    tangent = True

    def __init__(self, direction: Float[Tensor, " d"], median_norm: float | None) -> None:
        length = direction.norm()
        if length == 0:
            raise ValueError("direction is zero: positive and negative activations have no difference at this layer")
        super().__init__(direction.shape[0], median_norm, {"direction": direction / length})

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Speed ‖a‖θ along the great circle."""
        a = self.require(a)
        direction = self.on("direction", a)
        norm = a.norm(dim=-1, keepdim=True)
        u = a / norm
        along = (u @ direction).unsqueeze(-1)
        across = torch.linalg.vector_norm(direction - along * u, dim=-1, keepdim=True)
        return norm * torch.atan2(across, along) * tangential(u, direction.expand_as(u))
