"""The wrapped field: another field, let through or changed by whatever wraps it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields.base import Seen, VectorField


class WrappedField(VectorField):
    """A field made of another one, `field`, whose width and unit it keeps; subclasses give the velocity.

    What the inner field is told of other tokens and of time is passed on to it: subclasses say how another field is
    wrapped as this one is, and give `at_time`.
    """

    field: VectorField

    @abstractmethod
    def around(self, field: VectorField) -> VectorField:
        """Another field, wrapped as `field` is."""

    def after(self, previous: Float[Tensor, "*batch d"]) -> VectorField:
        return self.around(self.field.after(previous)) if self.context else self

    def within(self, seen: Seen) -> VectorField:
        return self.around(self.field.within(seen)) if self.context else self

    @property
    def d_model(self) -> int:
        return self.field.d_model

    @property
    def median_norm(self) -> float | None:
        return self.field.median_norm

    @property
    def own_length(self) -> float:
        return self.field.own_length

    def dump_field(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The inner field's settings and tensors, to stand beside the wrapper's own."""
        settings, tensors = self.field.dump()
        inner = {f"field.{name}": x for name, x in tensors.items()}
        return {"field": type(self.field).__name__, "settings": settings}, inner

    @staticmethod
    def load_field(settings: dict[str, Any], tensors: dict[str, Tensor]) -> VectorField:
        """The inner field, from what `dump_field` gave."""
        from odesteer_tl.fields import FIELDS  # the registry holds wrapped fields too

        inner = {name.removeprefix("field."): x for name, x in tensors.items() if name.startswith("field.")}
        return FIELDS[settings["field"]].load(settings["settings"], inner)
