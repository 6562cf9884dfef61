"""What a study is asked of: layers, levels of budgets and an executor that can be had, before a model is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import odesteer_tl as ode
from analyses.effects.plan import Given, Plan
from analyses.effects.settings import EffectSettings
from analyses.models import layers_of, require_layers
from analyses.sources import load_contrast
from analyses.sweep.executors import require_executor


def require_study(
    settings: EffectSettings,
    executor: str,
    layers: Sequence[int],
    budgets: Mapping[str, Sequence[float]],
    given: Given | None = None,
) -> dict[str, tuple[float, ...]]:
    """The budgets that have levels; refuse what cannot be done, before the model's libraries are imported.

    Raises:
        ValueError: what is wrong, by argument, value and remedy.
    """
    require_sendable(executor, given)
    found = require_grid(settings, layers, budgets, given)
    Plan.of(settings, given)
    return found


def levels_meant(
    given: Mapping[str, Sequence[float]], usual: Mapping[str, Sequence[float]]
) -> dict[str, tuple[float, ...]]:
    """The levels of every budget: those that are given, and where none at all is, the usual ones."""
    return {name: tuple(levels) for name, levels in (given if any(given.values()) else usual).items()}


def require_sendable(executor: str, given: Given | None) -> None:
    """Raise `ValueError` if there is no such executor, or if it cannot have a model that is loaded here."""
    require_executor(executor)
    if given is not None and given.model is not None and executor != "local":
        raise ValueError(f"executor={executor!r} cannot send a loaded model; give the model's name or folder")


def read_and_steered(config: Any, given: Given) -> tuple[ode.ContrastSet, tuple[int, ...]]:
    """The contrast and the layers of a study whose cells are layers, made without a model.

    Args:
        config: of its command line: `model`, `contrast`, `layer`, `pairs`, `executor`, `threads`, and `settings.seed`.

    Raises:
        ValueError: what is wrong, by argument, value and remedy.
    """
    require_sendable(config.executor, given)
    if config.pairs < 1 or config.threads < 1:
        raise ValueError(f"pairs={config.pairs} and threads={config.threads} must be at least 1")
    n = layers_of(config.model) if given.model is None else int(given.model.cfg.n_layers)
    layers = require_layers(config.layer, n, config.model)
    return given.contrast or load_contrast(config.contrast, config.pairs, config.settings.seed), layers


def require_grid(
    settings: EffectSettings,
    layers: Sequence[int],
    budgets: Mapping[str, Sequence[float]],
    given: Given | None = None,
) -> dict[str, tuple[float, ...]]:
    """The budgets that have levels, if every layer and every level can be had.

    Raises:
        ValueError: no level at all, an unknown budget, a level that is not positive or an angle that is out of reach,
            one twice, or a layer that the model does not have.
    """
    found = {name: tuple(float(x) for x in levels) for name, levels in budgets.items() if levels}
    if not found:
        raise ValueError(f"budgets={dict(budgets)} has no level; give one of angle, displacement or kl")
    for name, levels in found.items():
        if name not in ("angle", "displacement", "kl") or min(levels) <= 0 or not all(map(math.isfinite, levels)):
            raise ValueError(f"budgets={dict(budgets)} must give positive levels of angle, displacement or kl")
        if name == "angle" and max(levels) > settings.highest:
            raise ValueError(f"budgets: an angle of {max(levels)} is above highest={settings.highest}; raise that")
    for name, values in ({"layers": layers_meant(settings, layers, given)} | found).items():
        if len(set(values)) < len(values):
            raise ValueError(f"{name}={list(values)} names one twice")
    return found


def layers_meant(settings: EffectSettings, layers: Sequence[int], given: Given | None = None) -> tuple[int, ...]:
    """The layers, negative ones counted from the end.

    Raises:
        ValueError: one that the model does not have, or a negative one of a model that is not at hand.
    """
    model = None if given is None else given.model
    n = layers_of(settings.model) if model is None else int(model.cfg.n_layers)
    if n is None:
        wrong = [layer for layer in layers if layer < 0]
        has = "is not at hand to count from its end"
    else:
        wrong = [layer for layer in layers if not -n <= layer < n]
        has = f"has 0 to {n - 1}"
    if wrong:
        raise ValueError(f"layers={wrong} are none of model={settings.model!r}, which {has}")
    return tuple(layer if layer >= 0 else layer + (n or 0) for layer in layers)
