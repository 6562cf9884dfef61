"""The learned flow: a small network that gives a velocity at an activation and a time."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields.mlp import Layers, forward
from odesteer_tl.fields.neural import NeuralField

#: the latest time a flow is trained for; later it keeps the velocity of then
LATEST = 2.0
#: what a network sees of a time
CLOCK = 4


class LearnedFlowField(NeuralField):
    """`v(a, t) = gate ⊙ network(a, t)`, in units of an activation's coordinate; with gates of 0 the identity.

    Args:
        layers: of a tanh network from d + `CLOCK` numbers to d.
        gate: [d].
        median_norm: of the fitting activations.
    """

    timed = True

    def __init__(self, layers: Layers, gate: Float[Tensor, " d"], median_norm: float) -> None:
        super().__init__(layers, gate.shape[0], median_norm, {"gate": gate})

    def at_time(self, a: Float[Tensor, "*batch d"], t: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch d"]:
        """The velocity, in activation units."""
        seen = torch.cat([self.scaled(a), clock(t.to(a.dtype), CLOCK).expand(*a.shape[:-1], CLOCK)], dim=-1)
        return self.on("gate", a) * forward(self.layers(a), seen) / self.scale

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The velocity at the start."""
        return self.at_time(a, torch.zeros_like(a[..., :1]))


def clock(t: Float[Tensor, "*batch 1"], n: int) -> Float[Tensor, "*batch n"]:
    """Cosines of a time, of n frequencies from 0 up to n − 1 half turns in `LATEST`."""
    turns = torch.arange(n, dtype=t.dtype, device=t.device) * (torch.pi / LATEST)
    return torch.cos(t.clamp(0, LATEST) * turns)
