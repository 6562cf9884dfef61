"""The Householder pseudo-rotation field (HPR)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields.base import tangential
from odesteer_tl.fields.mlp import Layers, forward
from odesteer_tl.fields.neural import NeuralField


class PseudoRotationField(NeuralField):
    """`v(a) = ‖a‖ γ(a) e(a)` where the probe says negative (w·a < 0), else 0. Keeps ‖a‖.

    e is the unit tangent at a toward its reflection `a′ = a − 2(w·a)w/‖w‖²`, and γ = π·sigmoid(network) the
    learned angle; so one geodesic step of time 1 is the pseudo-rotation by γ within span(a, a′).

    Args:
        normal: w [d], the normal of the bias-free probe.
        layers: of the angle network, on `scaled` activations.
        median_norm: of the fitting activations.

    Raises:
        ValueError: the normal is zero, NaN or infinite.
    """

    tangent = True

    def __init__(self, normal: Float[Tensor, " d"], layers: Layers, median_norm: float) -> None:
        length = normal.norm()
        if length == 0:
            raise ValueError("normal is zero: a probe finds no difference between the classes at this layer")
        super().__init__(layers, normal.shape[0], median_norm, {"normal": normal / length})

    def reflected(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The Householder reflection of a in the probe's hyperplane."""
        normal = self.on("normal", a)
        return a - 2 * (a @ normal).unsqueeze(-1) * normal

    def angle(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """γ(a) in (0, π), radians."""
        return torch.pi * torch.sigmoid(forward(self.layers(a), self.scaled(a)).squeeze(-1))

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Speed ‖a‖γ toward the reflection, on the negative side of the probe."""
        a, normal = self.require(a), self.on("normal", a)
        norm = a.norm(dim=-1, keepdim=True)
        # on the negative side the reflection lies toward +w
        toward = tangential(a / norm, normal.expand_as(a))
        return norm * (self.angle(a) * (a @ normal < 0)).unsqueeze(-1) * toward
