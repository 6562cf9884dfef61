"""The control field: the least intervention that raises a barrier to a level at a given rate."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.barriers import Barrier
from odesteer_tl.fields.barrier import BarrierField
from odesteer_tl.fields.base import VectorField


class ControlField(VectorField):
    """The shortest v with `∇h(a)·v ≥ α(h* − h(a))`: `v = α(h* − h)₊ ∇h/‖∇h‖²`, and 0 where h ≥ h* already.

    The quadratic programme of a control barrier function (Ames et al., IEEE TAC 2017) with the plant da/dt = v,
    which has this closed form. Along the exact flow h* − h falls as e^{−αt}: it acts only where needed, and stops.

    Args:
        barrier: h.
        level: h*, in units of h.
        rate: α > 0, per unit of time.

    Raises:
        ValueError: the rate is not positive.
    """

    unit_speed = False

    def __init__(self, barrier: Barrier, level: float, rate: float) -> None:
        if rate <= 0:
            raise ValueError(f"rate={rate} must be positive")
        self.ascent, self.level, self.rate = BarrierField(barrier), level, rate
        self.tangent = self.ascent.tangent

    @property
    def barrier(self) -> Barrier:
        """h."""
        return self.ascent.barrier

    @property
    def d_model(self) -> int:
        return self.barrier.d_model

    @property
    def median_norm(self) -> float | None:
        return self.barrier.median_norm

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The closed form; 0 at a numerical fixed point of h, where no v of any length would do."""
        direction, gradient = self.ascent(a), self.barrier.gradient(a)
        slope = (direction * gradient).sum(-1)
        wanted = self.rate * (self.level - self.barrier.value(a)).clamp_min(0)
        speed = torch.where(slope > 0, wanted / torch.where(slope > 0, slope, 1.0), 0.0)
        return speed.unsqueeze(-1) * direction

    def _made_of(self) -> dict[str, object]:
        return {"barrier": self.barrier, "level": self.level, "rate": self.rate}

    def dump(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The barrier's, with level and rate."""
        settings, tensors = self.ascent.dump()
        return {"ascent": settings, "level": self.level, "rate": self.rate}, tensors

    @classmethod
    def load(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> ControlField:
        return cls(BarrierField.load(settings["ascent"], tensors).barrier, settings["level"], settings["rate"])
