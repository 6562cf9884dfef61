"""The common part of fields with a network inside: it sees activations in units of the fitting data."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields.mlp import Layers, pack, unpack
from odesteer_tl.fields.stored import StoredField


class NeuralField(StoredField):
    """A field with a small tanh network, which sees `scaled(a) = √d · a / median_norm`: entries of about one.

    Args:
        layers: the network (see `mlp.py`).
        d_model: width of the activations.
        median_norm: of the fitting activations.
        tensors: what the field keeps beside the network.
    """

    def __init__(
        self, layers: Layers, d_model: int, median_norm: float, tensors: dict[str, Tensor] | None = None
    ) -> None:
        settings: dict[str, Any] = {"layers": len(layers)}
        super().__init__(d_model, median_norm, {**pack(layers), **(tensors or {})}, settings)

    @property
    def scale(self) -> float:
        """√d / median norm."""
        assert self.median_norm is not None
        return self.d_model**0.5 / self.median_norm

    def scaled(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """What the network sees of `a`."""
        return self.require(a) * self.scale

    def layers(self, like: Tensor) -> Layers:
        """The network in the dtype and on the device of `like`."""
        return unpack(self.settings["layers"], lambda name: self.on(name, like))
