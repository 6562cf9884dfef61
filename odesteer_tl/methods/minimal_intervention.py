"""Minimal intervention: a control-barrier-function controller on the exact kernel barrier."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from odesteer_tl._groups import Groups
from odesteer_tl.barriers import KernelBarrier
from odesteer_tl.fields import ControlField, VectorField
from odesteer_tl.methods.registry import register


@register(
    "minimal_intervention",
    solver="geodesic",
    steps=10,
    T=1.0,
    source="this project: acts only where h < h*",
    idea="move only where h is low",
    climbs=True,
)
def minimal_intervention(
    positive: Float[Tensor, "n d"],
    negative: Float[Tensor, "m d"],
    seed: int = 0,
    *,
    quantile: float = 0.5,
    rate: float = 5.0,
    groups: Groups | None = None,
) -> VectorField:
    """The least v with `∇h·v ≥ α(h* − h)`, on the exact degree-2 kernel barrier (γ and C by cross-validation).

    h* is a quantile of h over the positive fitting activations; by time 1 the exact flow has gone 1 − e^{−α} of
    the way to it, and an activation that is there already is left bitwise as it is.

    Args:
        quantile: of h over the positives, which gives h*.
        rate: α.
        groups: which rows come from one text, as in `KernelBarrier.fit`.

    Raises:
        ValueError: the quantile is not in [0, 1], or the rate is not positive.
    """
    return controller(positive, negative, seed, quantile, rate, groups)


def controller(
    positive: Float[Tensor, "n d"],
    negative: Float[Tensor, "m d"],
    seed: int,
    quantile: float,
    rate: float,
    groups: Groups | None,
) -> ControlField:
    """The controller whose h* is a quantile of h over the positives."""
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile={quantile} must lie between 0 and 1")
    barrier = KernelBarrier(gamma="cv", C="cv", seed=seed).fit(positive, negative, groups)
    return ControlField(barrier, float(barrier.value(positive.double()).quantile(quantile)), rate)
