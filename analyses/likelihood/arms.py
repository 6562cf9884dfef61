"""What the likelihood study compares: its arms, and their fields."""

from __future__ import annotations

import odesteer_tl as ode
from analyses.effects.arms import KNOWN, ONE_STEP, Arm, field_of
from analyses.effects.arms import PLACEBO as PLACEBO
from analyses.refusal import fitted, unless_refused
from analyses.sweep import Refused

ON_MANIFOLD, CAA = "on_manifold", "caa, geodesic"
#: those of one step go to every strength at once, and the others take the steps of the study's grid
ARMS = (
    Arm(PLACEBO, "random", "geodesic", 10),
    # along a great circle: the method `caa` adds, and so lengthens
    Arm(CAA, "caa", "geodesic", 10),
    KNOWN["odesteer"],
    KNOWN["odesteer_kernel"],
    KNOWN[ONE_STEP],
    KNOWN["optimal_cap"],
    # rests where h is that of half the positives, or where h and log p₊ are opposed: it may stop short of a strength
    Arm.of(ON_MANIFOLD),
)
BARRIER_ARM = "odesteer_kernel"
#: labels of texts that no arm steered: behind the starts, and behind real positives
UNSTEERED, POSITIVES = "unsteered", "real positives"


def fitted_fields(acts: ode.LayerActivations, seed: int) -> dict[str, ode.VectorField]:
    """The field of every method in `ARMS`, each fitted once; without the one that fits a density, where few positives
    carry none."""
    names = [arm.method for arm in ARMS if arm.method != ON_MANIFOLD]
    each = {name: ode.METHODS[name].fit_activations(acts, seed) for name in dict.fromkeys(map(field_of, names))}
    found = {name: each[field_of(name)] for name in names}
    own = unless_refused(lambda: fitted(ON_MANIFOLD, lambda: ode.METHODS[ON_MANIFOLD].fit_activations(acts, seed)))
    return found if isinstance(own, Refused) else {**found, ON_MANIFOLD: own}
