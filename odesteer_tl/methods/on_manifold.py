"""On-manifold minimal intervention: the least push toward h* that never makes the activation less likely."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from odesteer_tl._groups import Groups, row_labels
from odesteer_tl.densities import Density, select_density
from odesteer_tl.fields import OnManifoldField, VectorField
from odesteer_tl.methods.minimal_intervention import controller
from odesteer_tl.methods.registry import register


@register(
    "on_manifold",
    solver="midpoint",
    steps=10,
    T=1.0,
    source="this project: h raised, log p₊ never lowered",
    idea="raise h, never lower log p₊",
    climbs=True,
)
def on_manifold(
    positive: Float[Tensor, "n d"],
    negative: Float[Tensor, "m d"],
    seed: int = 0,
    *,
    quantile: float = 0.5,
    rate: float = 5.0,
    density: Density | None = None,
    groups: Groups | None = None,
) -> VectorField:
    """The least v with `∇h·v ≥ α(h* − h)₊` and `∇log p₊·v ≥ 0`: "minimal_intervention" that stays likely.

    h and h* are those of "minimal_intervention". p₊ is a density of the positive activations, their norm included, so
    the integrator is one that may leave the sphere.

    Args:
        quantile: of h over the positives, which gives h*.
        rate: α.
        density: unfitted; None chooses one by held-out likelihood.
        groups: which rows come from one text, as in `KernelBarrier.fit`; held out together in both choices.

    Raises:
        ValueError: the quantile is not in [0, 1], the rate is not positive, or too few positives for a density.
    """
    control = controller(positive, negative, seed, quantile, rate, groups)
    if density is None:
        texts = row_labels(positive, negative, groups)[: len(positive)].tolist()
        return OnManifoldField(control, select_density(positive, texts, seed=seed).density)
    return OnManifoldField(control, density.fit(positive))
