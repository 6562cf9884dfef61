"""The detector field: one unit direction that reads a concept and, times a magnitude, writes it (ReFT-r1)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import require_positive
from odesteer_tl.fields.stored import StoredField


class DetectorField(StoredField):
    """`v(a) = m·w`: the same vector everywhere, beside the score `relu(a·w)` of every activation.

    Args:
        direction: w [d], of any nonzero length; kept at length 1.
        magnitude: m > 0, in activation units.
        median_norm: of the fitting activations.

    Raises:
        ValueError: the direction is zero, NaN or infinite, or m ≤ 0.
    """

    def __init__(self, direction: Float[Tensor, " d"], magnitude: float, median_norm: float | None) -> None:
        require_positive("magnitude", magnitude, remedy="no detection is above 0 on the texts it is trained on")
        if not direction.norm() > 0:
            raise ValueError("direction is zero or NaN: nothing was learned at this layer")
        own = {"magnitude": magnitude}
        super().__init__(direction.shape[0], median_norm, {"direction": direction / direction.norm()}, own)

    def score(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """relu(a·w), in activation units; a text's score is the greatest of its tokens'."""
        return (self.require(a) @ self.on("direction", a)).clamp_min(0)

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """m·w."""
        return (self.settings["magnitude"] * self.on("direction", a)).expand_as(self.require(a))
