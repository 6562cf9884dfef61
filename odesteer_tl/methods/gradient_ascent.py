"""Plain gradient ascent on the published barrier: does an ODE do more?"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from odesteer_tl.barriers import SketchBarrier
from odesteer_tl.fields import GradientField, VectorField
from odesteer_tl.methods.registry import register


@register(
    "gradient_ascent",
    solver="euler",
    steps=10,
    source="control: unnormalised ascent on ODESteer's barrier",
    idea="climb a sketched barrier at its speed",
    climbs=True,
)
def gradient_ascent(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0) -> VectorField:
    """`a ← a + η∇h(a)`, η = T/steps, on the same barrier as "odesteer".

    It differs from it in speed alone, so at a given angle the two coincide, and at a given T they do not.

    Args:
        seed: of the sketch.
    """
    return GradientField(SketchBarrier(seed=seed).fit(positive, negative))
