"""One cell of an effect study: an arm at a layer and a budget, one row a prompt, with `unit` where some share one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analyses.effects.arms import Arm
from analyses.effects.expense import expense
from analyses.effects.judging import fluency
from analyses.effects.material import Material
from analyses.effects.measures import GROUPS, Seen
from analyses.effects.path import path
from analyses.effects.per_prompt import steered_apart
from analyses.effects.steer import Steer
from analyses.effects.trained import takes_concept
from analyses.effects.writing import Written, write
from analyses.refusal import unless_refused
from analyses.sweep import Refused, require_numbers
from odesteer_tl.indicators import STATISTICS, branching_factor, entropy, summarise

#: by the names that settings know
ASKED = {**GROUPS, "path": path, "expense": expense}


def measure(material: Material, config: Mapping[str, Any]) -> pd.DataFrame | Refused:
    """Match the arm's strength to the budget prompt by prompt, steer, and say what happened.

    Where nothing tells the contrast's classes apart, or the method refuses, the arm cannot be fitted.

    Args:
        config: `layer`; `label`, `method`, `solver`, `steps` and `in_turn` (the arm); `budget` ("angle",
            "displacement" or "kl") and `level`; where prompts have layers of their own, `chosen` (`steered_apart`);
            what a method is told of in words, `concept`.
            With the label "unsteered" nothing is steered, and only text and next token are measured.

    Raises:
        ValueError: something that is reported is NaN or infinite.
    """
    plan, states = material.plan, material.states
    base = {"prompt": range(len(plan.prompts)), "split": plan.split, **({"unit": plan.units} if plan.units else {})}
    if config["label"] == "unsteered":
        statistics = [lambda z, _: entropy(z), lambda z, _: branching_factor(z)]
        spread, branching = states.passage.plain.compare(None, statistics)
        columns = {"entropy": states.passage.mean(spread), "branching": states.passage.mean(branching),
                   **_outcome(material, states.text if plan.writes else None, None)}  # fmt: skip
        return require_numbers(pd.DataFrame({**base, **columns}), config)
    if takes_concept(config["method"]):  # studies that differ in this alone share a process's material
        material.tell(config.get("concept", ""))
    found = unless_refused(lambda: _steered(material, config))
    return found if isinstance(found, Refused) else require_numbers(pd.DataFrame({**base, **found}), config)


def _steered(material: Material, config: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of an arm at a layer and a budget.

    Raises:
        NoDifference, Refusal: it cannot be fitted.
    """
    plan, states = material.plan, material.states
    if "chosen" in config:
        matched, steer = steered_apart(material, config)
    else:
        arm = Arm.in_cell(config)
        matched = material.scan(config["layer"], arm).match(config["budget"], config["level"])
        steer = Steer(material.layer(config["layer"]), arm, matched.strength)
    seen = Seen(steer, states, material.layer)
    written = write(states.prompt, steer, plan.settings) if plan.writes else None
    columns = {"strength": matched.strength, "reached": matched.reached}
    for name in plan.settings.measures:
        columns |= ASKED[name](seen) if name in ASKED else {}
    return {**columns, **_outcome(material, written, steer)}


def _outcome(material: Material, written: Written | None, steer: Steer | None) -> dict[str, Any]:
    """Success and score; of texts their fluency, and the ten statistics of each indicator along them."""
    judged = material.judging.frame(written, steer)
    columns: dict[str, Any] = {str(name): judged[name].to_numpy() for name in judged}
    if written is None:
        return columns
    columns |= fluency(written)
    if "text" in material.plan.settings.measures:
        for name, series in (("kl", written.kl), ("bf", written.branching), ("nbf", written.normalised)):
            statistics = summarise(series, written.counted)
            columns |= {f"text_{name}_{s}": statistics[:, i] for i, s in enumerate(STATISTICS)}
    return {**columns, "text": written.texts}
