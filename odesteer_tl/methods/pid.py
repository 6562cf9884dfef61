"""PID steering: a feedback loop over the layers (arXiv 2510.04309)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields import VectorField
from odesteer_tl.methods.act import mean_act
from odesteer_tl.methods.additive import added, adding
from odesteer_tl.methods.layers import InTurn
from odesteer_tl.methods.registry import register


@dataclass(frozen=True)
class PID:
    """`u(k) = K_p·r(k) + K_i·Σ_{j<k} r(j) + K_d·(r(k) − r(k−1))`, for `InTurn(control=PID(…))`.

    r(k) is what an additive method adds as it was fitted at the k-th layer, the layers before it already steered by
    their u; u(k) replaces it. At the first layer there is no history: the sum and the difference are 0. With
    `PID(1, 0, 0)` every method is itself.

    Under a method whose T is a length (a `ConstantField`: "caa", "iti", …) the gains shape u's direction alone; where
    T multiplies what is added ("mean_act") they set its size too.

    Args:
        proportional, integral, derivative: K_p, K_i, K_d.
    """

    proportional: float
    integral: float
    derivative: float

    def __call__(self, fitted: Sequence[VectorField]) -> VectorField:
        """The field of u(k), of the same kind as r(k)'s.

        Raises:
            ValueError: a field is not additive, or u(k) is zero where it needs a direction.
        """
        errors = [added(field) for field in fitted]
        last, before = errors[-1], errors[:-1]
        past = torch.stack(before).sum(0) if before else torch.zeros_like(last)
        change = last - before[-1] if before else torch.zeros_like(last)
        control = self.proportional * last + self.integral * past + self.derivative * change
        return adding(control, fitted[-1])


@register(
    "pid",
    solver="euler",
    T=1.0,
    layers=InTurn(PID(1.0, 0.1, 0.1)),
    source="PID steering, arXiv 2510.04309, around the mean difference; read in part",
    idea="add the mean shift, controlled across layers",
)
def pid(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0) -> VectorField:
    """`a + T·u(k)`, r(k) the mean difference at layer k with the layers before it steered. No randomness.

    At one layer there is no history, and u = r(0) is Mean-AcT's shift. Reconstructed: which texts are steered while
    r(k) is measured (the negative ones, the positive ones being the set point), K_i = K_d = 0.1, which the paper tunes,
    and no history before the first layer. For other gains or around another method register it:
    `register("mine", solver="euler", source="…", layers=InTurn(PID(1, 0.2, 0)))(caa)`.
    """
    return mean_act(positive, negative, seed)
