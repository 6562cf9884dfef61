"""Studies of effects: which cells, and a hash of everything that determines them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

import odesteer_tl as ode
from analyses.effects.arms import Arm
from analyses.effects.cell import measure
from analyses.effects.grid import layers_meant, require_grid
from analyses.effects.material import Material
from analyses.effects.plan import Given, Plan
from analyses.effects.settings import EffectSettings
from analyses.effects.trained import takes_concept
from analyses.models import model_digest
from analyses.sweep import Study

#: of `measure` and `Material`: raise it when their code changes results
VERSION = "4"
UNSTEERED = {"layer": -1, "label": "unsteered", "method": "none", "solver": "none", "steps": 0, "budget": "none",
             "level": 0.0}  # fmt: skip


def effect_study(
    name: str,
    settings: EffectSettings,
    layers: Sequence[int],
    arms: Sequence[Arm],
    budgets: Mapping[str, Sequence[float]],
    group: str = "layer",
    given: Given | None = None,
    together: Sequence[Sequence[int]] = (),
) -> Study:
    """Every arm at every layer and level of every budget, and once nothing at all.

    Args:
        name: of the results folder.
        budgets: levels by budget: "angle" (radians turned), "displacement" (share of the norm), "kl" (nats).
        group: "layer" or "label"; cells that share it run in one process, which makes their fits once.
        given: contrast, prompts or outcome as objects, in the place of what `settings` names.
        together: layers that each arm also acts on at once.

    Raises:
        ValueError: what `require_grid` and `Plan.of` refuse.
    """
    budgets, layers = require_grid(settings, layers, budgets, given), layers_meant(settings, layers, given)
    placed = [(layer, arm) for layer in layers for arm in arms]
    placed += [(max(some), arm.together(some)) for some in together for arm in arms]
    cells = [UNSTEERED] + [
        arm.cell(layer, budget, level)
        for layer, arm in placed for budget, levels in budgets.items() for level in levels
    ]  # fmt: skip
    if settings.concept:
        told = {"concept": settings.concept}
        cells = [{**cell, **told} if takes_concept(str(cell["method"])) else cell for cell in cells]
    plan = Plan.of(settings, given)
    loaded = None if given is None else given.model
    model = {"model_digest": model_digest(settings.model)}
    if loaded is not None:
        identity = asdict(ode.ModelIdentity.of(loaded))
        model = {"model": identity["name"], "model_digest": identity}
    inputs = {**plan.described(), **model}
    highest = {name: max(levels) for name, levels in budgets.items()}
    return Study(name, measure, partial(Material, settings, given, highest), inputs, VERSION, tuple(cells), group)
