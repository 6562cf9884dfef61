"""What the likelihood study compares: its arms, and their fields."""

from __future__ import annotations

import odesteer_tl as ode
from analyses.effects.arms import KNOWN, Arm
from analyses.effects.arms import PLACEBO as PLACEBO
from analyses.refusal import fitted, unless_refused
from analyses.sweep import Refused

ON_MANIFOLD = "on_manifold"
#: those of one step go to every strength at once, and the others take the steps of the study's grid
ARMS = (
    Arm(PLACEBO, "random", "geodesic", 10),
    Arm("CAA", "caa", "geodesic", 10),
    KNOWN["ODESteer as published"],
    Arm("kernel flow", "odesteer_kernel", "geodesic", 10),
    KNOWN["one geodesic step"],
    KNOWN["optimal cap"],
    # rests where h is that of half the positives, or where h and log p₊ are opposed: it may stop short of a strength
    Arm.of(ON_MANIFOLD),
)
BARRIER_ARM = "odesteer_kernel"
#: labels of texts that no arm steered: behind the starts, and behind real positives
UNSTEERED, POSITIVES = "unsteered", "real positives"


def fitted_fields(acts: ode.LayerActivations, seed: int) -> dict[str, ode.VectorField]:
    """The field of every method in `ARMS`, each fitted once; without the one that fits a density, where few positives
    carry none."""
    names = dict.fromkeys(arm.method for arm in ARMS)
    found = {name: ode.METHODS[name].fit_activations(acts, seed) for name in names if name != ON_MANIFOLD}
    own = unless_refused(lambda: fitted(ON_MANIFOLD, lambda: ode.METHODS[ON_MANIFOLD].fit_activations(acts, seed)))
    return found if isinstance(own, Refused) else {**found, ON_MANIFOLD: own}
