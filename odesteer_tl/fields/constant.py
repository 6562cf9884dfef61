"""The constant field: one direction everywhere, as in CAA, RepE and ITI."""

from __future__ import annotations

from numbers import Real
from typing import Any

from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import require_finite, require_width
from odesteer_tl.fields.base import VectorField


class ConstantField(VectorField):
    """`v(a) = direction/‖direction‖`: under Euler, `a + T·v`, T in activation units.

    Fields add up in their own units, those of the directions given: `v + w`, `v − w`, `−v`, `2 * v`, `v / 2`. Of a sum
    the median norm is the one both agree on; where they differ, or one has none, it is None, and `relative` is refused.

    Args:
        direction: any nonzero vector [d]; kept as `given`, and its length as `length`, so that an additive method's
            own strength α, `Flow(multiplier=α)`, is `T = α · length`.
        median_norm: of the fitting activations, for `Flow(relative=…)`.

    Raises:
        ValueError: the direction is zero or not finite (the two classes coincide).
    """

    def __init__(self, direction: Float[Tensor, " d"], median_norm: float | None = None) -> None:
        require_finite("direction", direction)
        self.length = float(direction.double().norm())
        if self.length == 0:
            raise ValueError("direction is zero: the two sides it is the difference of have none at this layer")
        self.given = direction.detach().double().cpu()
        self.direction = self.given / self.length
        self._median_norm = median_norm

    @property
    def d_model(self) -> int:
        return self.direction.shape[0]

    @property
    def median_norm(self) -> float | None:
        return self._median_norm

    @property
    def own_length(self) -> float:
        """‖direction‖: `Flow(multiplier=α)` adds α times the direction as it was given."""
        return self.length

    def __add__(self, other: ConstantField) -> ConstantField:
        """What adding both adds; the lengths count.

        Raises:
            ValueError: the widths differ, or the sum is zero.
        """
        if not isinstance(other, ConstantField):  # pyright: ignore[reportUnnecessaryIsInstance]
            return NotImplemented
        require_width("the other direction", other.given, self.d_model)
        same = self._median_norm == other.median_norm
        return ConstantField(self.given + other.given, self._median_norm if same else None)

    def __neg__(self) -> ConstantField:
        return ConstantField(-self.given, self._median_norm)

    def __sub__(self, other: ConstantField) -> ConstantField:
        if not isinstance(other, ConstantField):  # pyright: ignore[reportUnnecessaryIsInstance]
            return NotImplemented
        return self + -other

    def __mul__(self, factor: int | float) -> ConstantField:
        """The field of `factor · direction`.

        Raises:
            ValueError: the factor is zero or not finite.
        """
        if not isinstance(factor, Real):  # pyright: ignore[reportUnnecessaryIsInstance]
            return NotImplemented
        return ConstantField(self.given * float(factor), self._median_norm)

    __rmul__ = __mul__

    def __truediv__(self, factor: int | float) -> ConstantField:
        if not isinstance(factor, Real):  # pyright: ignore[reportUnnecessaryIsInstance]
            return NotImplemented
        if factor == 0:
            raise ValueError("factor=0: a direction divided by zero is none; leave the field out")
        return ConstantField(self.given / float(factor), self._median_norm)

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The same unit vector for every activation."""
        require_width("a", a, self.d_model)
        return self.direction.to(device=a.device, dtype=a.dtype).expand_as(a)

    def _made_of(self) -> dict[str, object]:
        return {"width": self.d_model, "length": self.length, "median norm": self._median_norm}

    def dump(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The direction as given: dividing it again gives the same bits."""
        return {"median_norm": self._median_norm}, {"direction": self.given}

    @classmethod
    def load(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> ConstantField:
        return cls(tensors["direction"], settings["median_norm"])
