"""The value field: the gradient of a learned value, as in RE-Control."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields.mlp import Layers, forward, input_gradient
from odesteer_tl.fields.neural import NeuralField


class ValueField(NeuralField):
    """`v(a) = ∇V(a)`, V a small network with one output: gradient ascent on a value under Euler.

    Args:
        layers: of V, on `scaled` activations.
        d_model: width of the activations.
        median_norm: of the fitting activations.
    """

    def __init__(self, layers: Layers, d_model: int, median_norm: float) -> None:
        super().__init__(layers, d_model, median_norm)

    def value(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """V(a), in units of the reward."""
        return forward(self.layers(a), self.scaled(a)).squeeze(-1)

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """∇V(a), in units of reward/activation."""
        return self.scale * input_gradient(self.layers(a), self.scaled(a))
