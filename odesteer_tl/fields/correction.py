"""The correction field: a learned rectified flow from an activation to its correction (TruthFlow)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields.mlp import Layers, forward
from odesteer_tl.fields.neural import NeuralField

#: Euler steps of the inner flow from τ = 0 to 1; a rectified flow's paths are nearly straight
INNER_STEPS = 10


class CorrectionField(NeuralField):
    """`v(a) = VₖVₖᵀ δ(a)`: δ the end of a rectified flow that starts at a, projected on a subspace.

    Args:
        layers: of the flow's velocity u(z, τ), on `scaled` activations z with the time τ appended.
        basis: Vₖ [d, k], orthonormal columns.
        median_norm: of the fitting activations.
    """

    def __init__(self, layers: Layers, basis: Float[Tensor, "d k"], median_norm: float) -> None:
        super().__init__(layers, basis.shape[0], median_norm, {"basis": basis})

    def correction(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """δ(a) before the projection, in activation units."""
        z, layers = self.scaled(a), self.layers(a)
        for i in range(INNER_STEPS):
            tau = torch.full_like(z[..., :1], i / INNER_STEPS)
            z = z + forward(layers, torch.cat([z, tau], dim=-1)) / INNER_STEPS
        return z / self.scale

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The projected correction."""
        basis = self.on("basis", a)
        return self.correction(a) @ basis @ basis.mT
