"""Fields given by a few tensors: how they are kept, cast, saved and loaded, once for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import require_finite, require_one_of, require_width
from odesteer_tl.fields.base import VectorField

# not typing.Self: beartype, which enforces the shapes in the tests, knows that only on decorated classes
FieldT = TypeVar("FieldT", bound="StoredField")


class StoredField(VectorField):
    """A field of its own speed that is fully given by named tensors and JSON-able settings.

    Args:
        d_model: width of the activations.
        median_norm: of the fitting activations, for `Flow(relative=…)`.
        tensors: kept on the CPU as given, used in the dtype and on the device of the activations.
        settings: numbers and words of the field beside them.

    Raises:
        ValueError: a tensor holds a NaN or an infinity.
    """

    unit_speed = False

    def __init__(
        self,
        d_model: int,
        median_norm: float | None,
        tensors: dict[str, Tensor],
        settings: dict[str, Any] | None = None,
    ) -> None:
        for name, x in tensors.items():
            require_finite(name, x)
        # clones: two views of one memory cannot be saved; and laid out as a file has them, so that rounding is the same
        self.tensors = {
            name: x.detach().cpu().clone(memory_format=torch.contiguous_format) for name, x in tensors.items()
        }
        self.settings: dict[str, Any] = settings or {}
        self._d_model, self._median_norm = d_model, median_norm
        self._cast: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    @property
    def d_model(self) -> int:
        return self._d_model

    @property
    def median_norm(self) -> float | None:
        return self._median_norm

    def on(self, name: str, like: Tensor) -> Tensor:
        """A tensor in the dtype and on the device of `like`, converted once (each time while it is learned)."""
        if self.tensors[name].requires_grad:
            return self.tensors[name].to(device=like.device, dtype=like.dtype)
        key = (name, like.dtype, like.device)
        if key not in self._cast:
            self._cast[key] = self.tensors[name].to(device=like.device, dtype=like.dtype)
        return self._cast[key]

    def learning(self: FieldT, names: Iterable[str]) -> tuple[FieldT, dict[str, Tensor]]:
        """A copy whose tensors of these names are float32 leaves that require a gradient, and those leaves.

        Raises:
            ValueError: a name is not one of this field's floating tensors.
        """
        settings, tensors = self.dump()
        floating = [name for name, x in tensors.items() if x.is_floating_point()]
        wanted = list(names)
        for name in wanted:
            require_one_of("only", name, floating)
        other = type(self).load(settings, tensors)
        leaves = {name: tensors[name].float().clone().requires_grad_() for name in wanted}
        other.tensors.update(leaves)
        return other, leaves

    def require(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """`a`, its width checked."""
        require_width("a", a, self._d_model)
        return a

    def _made_of(self) -> dict[str, object]:
        return {"width": self._d_model, **self.settings, **self.tensors, "median norm": self._median_norm}

    def dump(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Width, unit of norm and settings; the tensors."""
        return {"d_model": self._d_model, "median_norm": self._median_norm, "own": self.settings}, dict(self.tensors)

    @classmethod
    def load(cls: type[FieldT], settings: dict[str, Any], tensors: dict[str, Tensor]) -> FieldT:
        """Rebuild from `dump`'s output; the constructor, which takes other arguments, is passed over."""
        self = cls.__new__(cls)
        StoredField.__init__(self, settings["d_model"], settings["median_norm"], tensors, settings["own"])
        return self
