"""The gated field: any field, at rest unless a condition holds."""

from __future__ import annotations

from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._check import require_finite
from odesteer_tl.fields.base import VectorField
from odesteer_tl.fields.wrapped import WrappedField


class GatedField(WrappedField):
    """`v(a) = field(a)` where the cosine of a with `condition` is at least `threshold`, else 0.

    The gate is asked at every point of a path, so a path that leaves the condition stops there.

    Args:
        field: what acts; its speed and tangency are kept.
        condition: the direction that opens the gate [d], of any nonzero length.
        threshold: a cosine; above 1 the gate never opens, at −1 always.

    Raises:
        ValueError: the condition is zero, NaN, infinite, or not of the field's width.
    """

    def __init__(self, field: VectorField, condition: Float[Tensor, " d"], threshold: float) -> None:
        require_finite("condition", condition)
        if condition.shape != (field.d_model,) or not bool(condition.any()):
            raise ValueError(
                f"condition has shape {tuple(condition.shape)} and norm {float(condition.norm()):.3g}; it must be a "
                f"nonzero vector of the field's width {field.d_model}"
            )
        self.field, self.threshold = field, threshold
        self.given = condition.detach().double().cpu()
        self.condition = self.given / self.given.norm()
        self.tangent, self.unit_speed = field.tangent, field.unit_speed
        self.context, self.timed = field.context, field.timed

    def open(self, a: Float[Tensor, "*batch d"]) -> Bool[Tensor, "*batch"]:
        """Where the gate is open."""
        cosine = a @ self.condition.to(device=a.device, dtype=a.dtype) / a.norm(dim=-1)
        return cosine >= self.threshold

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The field's velocity where the gate is open."""
        return self.field(a).where(self.open(a).unsqueeze(-1), 0.0)

    def at_time(self, a: Float[Tensor, "*batch d"], t: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch d"]:
        return self.field.at_time(a, t).where(self.open(a).unsqueeze(-1), 0.0)

    def around(self, field: VectorField) -> GatedField:
        return GatedField(field, self.given, self.threshold)

    def _made_of(self) -> dict[str, object]:
        return {"field": self.field, "threshold": self.threshold}

    def dump(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The inner field's, beside the condition as given: dividing it again gives the same bits."""
        settings, tensors = self.dump_field()
        return {**settings, "threshold": self.threshold}, {**tensors, "condition": self.given}

    @classmethod
    def load(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> GatedField:
        return cls(cls.load_field(settings, tensors), tensors["condition"], settings["threshold"])
