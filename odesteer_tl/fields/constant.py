"""The constant field: one direction everywhere, as in CAA, RepE and ITI."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import require_finite, require_width
from odesteer_tl.fields.base import VectorField


class ConstantField(VectorField):
    """`v(a) = direction/‖direction‖`: under Euler, `a + T·v`, T in activation units.

    Args:
        direction: any nonzero vector [d]; its length is kept as `length`, so that an additive method's own
            strength α is `T = α · length`.
        median_norm: of the fitting activations, for `Flow(relative=…)`.

    Raises:
        ValueError: the direction is zero or not finite (the two classes coincide).
    """

    def __init__(self, direction: Float[Tensor, " d"], median_norm: float | None = None) -> None:
        require_finite("direction", direction)
        self.length = float(direction.double().norm())
        if self.length == 0:
            raise ValueError("direction is zero: positive and negative activations have no difference at this layer")
        self.given = direction.detach().double().cpu()
        self.direction = self.given / self.length
        self._median_norm = median_norm

    @property
    def d_model(self) -> int:
        return self.direction.shape[0]

    @property
    def median_norm(self) -> float | None:
        return self._median_norm

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The same unit vector for every activation."""
        require_width("a", a, self.d_model)
        return self.direction.to(device=a.device, dtype=a.dtype).expand_as(a)

    def dump(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The direction as given: dividing it again gives the same bits."""
        return {"median_norm": self._median_norm}, {"direction": self.given}

    @classmethod
    def load(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> ConstantField:
        return cls(tensors["direction"], settings["median_norm"])
