"""The router field: a library of vectors, mixed for each activation by a small network (RISER)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl.fields.mlp import Layers, forward
from odesteer_tl.fields.neural import NeuralField

#: a vector acts where its gate is more probable than this
GATE = 0.7
#: the greatest weight of a vector
MOST = 2.0


@dataclass(frozen=True)
class Routing:
    """What the router says of activations, for each vector of the library.

    Attributes:
        gate: the probability that the vector acts.
        weight: α in (0, 2), how much of it where it does.
    """

    gate: Float[Tensor, "*batch k"]
    weight: Float[Tensor, "*batch k"]

    @property
    def chosen(self) -> Bool[Tensor, "*batch k"]:
        """Which vectors act."""
        return self.gate > GATE


class RouterField(NeuralField):
    """`v(a) = Σᵢ 1[gateᵢ(a) > 0.7] αᵢ(a) vᵢ`: one Euler step of time 1 adds the mixture, and one of time s its share s.

    Args:
        layers: of the router, on `scaled` activations; 2k outputs, the gates' logits before those of α/2.
        library: vᵢ as rows [k, d], each of the length that a weight of 1 adds.
        median_norm: of the fitting activations.

    Raises:
        ValueError: the router has not two outputs for each vector.
    """

    def __init__(self, layers: Layers, library: Float[Tensor, "k d"], median_norm: float) -> None:
        if len(layers[-1][1]) != 2 * len(library):
            raise ValueError(
                f"layers end in {len(layers[-1][1])} outputs for {len(library)} vectors; a router needs two for each"
            )
        super().__init__(layers, library.shape[1], median_norm, {"library": library})

    def routing(self, a: Float[Tensor, "*batch d"]) -> Routing:
        """The gates and weights at a."""
        gates, weights = forward(self.layers(a), self.scaled(a)).chunk(2, dim=-1)
        return Routing(torch.sigmoid(gates), MOST * torch.sigmoid(weights))

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The mixture."""
        routing = self.routing(a)
        return (routing.chosen * routing.weight) @ self.on("library", a)
