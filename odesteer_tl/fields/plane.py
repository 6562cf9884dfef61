"""The plane field: a rotation within one fixed plane, toward one of its axes."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import require_positive
from odesteer_tl.fields.stored import StoredField


class PlaneField(StoredField):
    """`v(a) = rate · φ(a) · Ja`: J turns the plane of two axes by a right angle, φ is a's angle to the first within it.

    What a has outside the plane stays, and ‖a‖ too. Along the exact flow φ falls as e^{−rate·t}.

    Args:
        axes: two orthonormal rows [2, d], the first the one that is turned toward.
        median_norm: of the fitting activations.
        rate: per unit of time.

    Raises:
        ValueError: the axes are not orthonormal, or the rate is not positive.
    """

    tangent = True

    def __init__(self, axes: Float[Tensor, "2 d"], median_norm: float | None, rate: float = 1.0) -> None:
        require_positive("rate", rate)
        gram = axes.double() @ axes.double().mT
        if float((gram - torch.eye(2, dtype=torch.float64)).abs().max()) > 1e-6:
            raise ValueError(f"axes have the products {gram.tolist()}; give two orthonormal rows")
        super().__init__(axes.shape[1], median_norm, {"axes": axes}, {"rate": rate})

    def angle(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """The angle from a's part in the plane to the first axis, signed, in radians."""
        x, y = (self.require(a) @ self.on("axes", a).mT).unbind(-1)
        return -torch.atan2(y, x)

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The velocity within the plane."""
        axes = self.on("axes", a)
        x, y = (self.require(a) @ axes.mT).unbind(-1)
        turned = torch.stack([-y, x], dim=-1) @ axes
        return self.settings["rate"] * self.angle(a).unsqueeze(-1) * turned
