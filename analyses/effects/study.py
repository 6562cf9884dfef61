"""Studies of effects: which cells, and a hash of everything that determines them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from analyses.effects.arms import Arm
from analyses.effects.cell import measure
from analyses.effects.material import Material
from analyses.effects.settings import EffectSettings
from analyses.sources import load_contrast
from analyses.sweep import Study
from odesteer_tl import organism

#: of `measure` and `Material`: raise it when their code changes results
VERSION = "2"
UNSTEERED = {"layer": -1, "label": "unsteered", "method": "none", "solver": "none", "steps": 0, "budget": "none",
             "level": 0.0}  # fmt: skip


def effect_study(
    name: str,
    settings: EffectSettings,
    layers: Sequence[int],
    arms: Sequence[Arm],
    budgets: Mapping[str, Sequence[float]],
    group: str = "layer",
) -> Study:
    """Every arm at every layer and level of every budget, and once nothing at all.

    Args:
        name: of the results folder.
        budgets: levels by budget: "angle" (radians turned), "displacement" (share of the norm), "kl" (nats).
        group: "layer" or "label"; cells that share it run in one process, which makes their fits once.

    Raises:
        ValueError: an unknown budget, or a level that is not positive or above the largest strength.
    """
    for budget, levels in budgets.items():
        if budget not in ("angle", "displacement", "kl") or not levels or min(levels) <= 0:
            raise ValueError(f"budgets={dict(budgets)} must give positive levels of angle, displacement or kl")
        if budget == "angle" and max(levels) > settings.highest:
            raise ValueError(f"budgets: an angle of {max(levels)} is above highest={settings.highest}; raise that")
    cells = [UNSTEERED] + [
        {"layer": layer, "label": arm.label, "method": arm.method, "solver": arm.solver, "steps": arm.steps,
         "budget": budget, "level": float(level), **({"in_turn": True} if arm.in_turn else {})}
        for layer in layers for arm in arms for budget, levels in budgets.items() for level in levels
    ]  # fmt: skip
    texts = load_contrast(settings.contrast, settings.pairs, settings.seed)
    inputs = {"model_digest": model_digest(settings.model), "contrast_digest": texts.digest}
    # threads do not determine results beyond rounding
    described = {key: x for key, x in asdict(settings).items() if key != "threads"}
    # a path differs from machine to machine, what it holds does not
    described |= {key: Path(described[key]).name for key in ("model", "contrast")}
    return Study(name, measure, partial(Material, settings), {**described, **inputs}, VERSION, tuple(cells), group)


def model_digest(name: str) -> str:
    """Hash of a model's files; a hub name is taken at its word."""
    folder = organism.PATH if name == "organism" else Path(name)
    if not folder.is_dir():
        return name
    found = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors")):
        found.update(file.name.encode())
        with file.open("rb") as content:
            found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()[:16]
