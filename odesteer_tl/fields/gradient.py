"""The plain gradient of a barrier, at its own speed."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from odesteer_tl.barriers import Barrier
from odesteer_tl.fields.barrier import BarrierField
from odesteer_tl.fields.base import VectorField


class GradientField(VectorField):
    """`v(a) = ∇h(a)`, not normalised: K Euler steps of time Kη are K steps of gradient ascent of size η.

    At a strength in `angle` or `relative` the speed is taken out and this is `BarrierField`.

    Args:
        barrier: fitted.
    """

    unit_speed = False

    def __init__(self, barrier: Barrier) -> None:
        self.barrier = barrier
        self.tangent = barrier.spherical

    @property
    def d_model(self) -> int:
        return self.barrier.d_model

    @property
    def median_norm(self) -> float | None:
        return self.barrier.median_norm

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """∇h(a), in units of 1/activation."""
        return self.barrier.gradient(a)

    def _made_of(self) -> dict[str, object]:
        return {"barrier": self.barrier}

    def dump(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The barrier's, as `BarrierField` keeps it."""
        return BarrierField(self.barrier).dump()

    @classmethod
    def load(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> GradientField:
        return cls(BarrierField.load(settings, tensors).barrier)
