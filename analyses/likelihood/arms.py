"""What the likelihood study compares: its arms, and their fields."""

from __future__ import annotations

import odesteer_tl as ode
from analyses.effects.arms import KNOWN, Arm
from analyses.effects.arms import PLACEBO as PLACEBO

#: those of one step go to every strength at once, and the others take the steps of the study's grid
ARMS = (
    Arm(PLACEBO, "random", "geodesic", 10),
    Arm("CAA", "caa", "geodesic", 10),
    KNOWN["ODESteer as published"],
    Arm("kernel flow", "odesteer_kernel", "geodesic", 10),
    KNOWN["one geodesic step"],
    KNOWN["optimal cap"],
)
BARRIER_ARM = "odesteer_kernel"
#: labels of texts that no arm steered: behind the starts, and behind real positives
UNSTEERED, POSITIVES = "unsteered", "real positives"


def fitted_fields(acts: ode.LayerActivations, seed: int) -> dict[str, ode.VectorField]:
    """The field of every method in `ARMS`, each fitted once."""
    names = dict.fromkeys(arm.method for arm in ARMS)
    return {name: ode.METHODS[name].fit_activations(acts, seed) for name in names}
