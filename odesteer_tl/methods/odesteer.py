"""ODESteer (arXiv 2602.17560) and its variants: every one a barrier's normalised gradient."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from odesteer_tl._groups import Groups
from odesteer_tl.barriers import FourierBarrier, KernelBarrier, SketchBarrier
from odesteer_tl.fields import BarrierField, VectorField
from odesteer_tl.methods.registry import register

PAPER = "ODESteer, arXiv 2602.17560"


@register(
    "odesteer",
    solver="euler",
    steps=10,
    source=f"{PAPER}, as published: count sketch, Euler, 10 steps",
    idea="follow the gradient of a sketched barrier",
    climbs=True,
)
@register(
    "odesteer_one_step",
    solver="euler",
    steps=1,
    source=f"{PAPER}, the one-step ablation",
    idea="follow a sketched barrier in one step",
    climbs=True,
)
def odesteer(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0) -> VectorField:
    """The published barrier: γ = 0.1, c₀ = 1, degree 2, 8000 sketch features, C = 1.

    Args:
        seed: of the sketch.
    """
    return BarrierField(SketchBarrier(seed=seed).fit(positive, negative))


@register(
    "odesteer_rff",
    solver="euler",
    steps=10,
    source=f"{PAPER}, the random-Fourier variant",
    idea="follow a random-Fourier barrier's gradient",
    climbs=True,
)
def odesteer_rff(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0) -> VectorField:
    """Random Fourier features, bandwidth σ = m/√2 with m the median distance, as its authors' (see `FourierBarrier`).

    Args:
        seed: of the random features.
    """
    return BarrierField(FourierBarrier(seed=seed).fit(positive, negative))


@register(
    "odesteer_kernel",
    solver="geodesic",
    steps=10,
    source="this project: exact kernel, geodesic steps",
    idea="follow an exact barrier along great circles",
    climbs=True,
)
@register(
    "odesteer_certified",
    solver="certified",
    steps=10,
    source="this project: steps cut where h stops rising",
    idea="follow an exact barrier, every step proved",
    climbs=True,
)
@register(
    "optimal_cap",
    solver="optimal",
    source="this project: the best point within the angle, no ODE",
    idea="the highest h within an angle",
    climbs=True,
)
def odesteer_kernel(
    positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0, *, groups: Groups | None = None
) -> VectorField:
    """The exact degree-2 kernel barrier, γ and C by cross-validation.

    Args:
        seed: of the cross-validation's shuffle.
        groups: which rows come from one text, as in `KernelBarrier.fit`.
    """
    return BarrierField(KernelBarrier(gamma="cv", C="cv", seed=seed).fit(positive, negative, groups))
