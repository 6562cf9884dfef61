"""A certification as a resumable study: a cell a layer, and the tables of all of them put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import pandas as pd

from analyses.certification.layer import certified_layer
from analyses.certification.material import Material
from analyses.certification.plan import Plan
from analyses.certification.result import BarrierCertification
from analyses.costing import Cost, step_seconds, text_tokens, token_rate
from analyses.sweep import Config, Study
from analyses.sweep.packed import packed, unpacked
from odesteer_tl.certify import rate_bound
from odesteer_tl.plain import Model

#: of `certify_cell` and `Material`: raise it when their code changes results
VERSION = "2"
#: what a certified step costs with everything that is said of it, and what a layer's fits and audits cost in steps
ALL_OF_A_STEP, ALL_OF_A_LAYER = 5.0, 3000.0


def certification_study(
    model: Model | str, identity: Any, plan: Plan, layers: Sequence[int], threads: int | None = None
) -> Study:
    """A cell a layer.

    Args:
        model: loaded, which no other process can be sent, or its name.
        identity: what the model is, JSON-able.
    """
    # what is later than a layer audits it, whatever else is certified: more layers recompute none
    settings = {**plan.described(), "model": identity}
    cells = tuple({"layer": layer} for layer in layers)
    return Study("certification", certify_cell, partial(Material, model, plan, threads), settings, VERSION, cells)


def certify_cell(material: Material, config: Config) -> pd.DataFrame:
    """One layer's tables as one cell's rows."""
    found, bounds = certified_layer(material, config["layer"])
    return packed(found, {**material.record(), "population": bounds})


def assembled(rows: pd.DataFrame) -> BarrierCertification:
    """The result, from the rows of all layers."""
    layers: dict[int, Mapping[str, pd.DataFrame]] = {}
    runs: dict[int, dict[str, Any]] = {}
    for layer, cell in rows.groupby("layer", sort=False):
        layers[int(str(layer))], runs[int(str(layer))] = unpacked(cell)
    run = next(iter(runs.values()))
    alpha = run["settings"]["alpha"]
    bounds = {layer: x["population"] for layer, x in runs.items()}
    for layer, tables in layers.items():
        if "steps" in tables:
            bounds[layer] = {"violation rate": _violations(tables["steps"], alpha, len(runs)), **bounds[layer]}
    return BarrierCertification.of(layers, {**run, "population": bounds})


def _violations(steps: pd.DataFrame, alpha: float, looks: int) -> dict[str, Any]:
    """A bound of the share of prompts with a refuted step, that holds at so many layers together."""
    return asdict(rate_bound(steps.groupby("prompt")["refuted"].any(), alpha, looks))


def estimate(material: Any, left: Sequence[Config], of: int, workers: int) -> Cost:
    """What so many layers will cost."""
    assert isinstance(material, Material)
    plan, model = material.plan, material.model
    n, new, n_layers = len(plan.prompts), plan.settings.max_new_tokens, int(model.cfg.n_layers)
    texts = [text for part in plan.parts.values() for text in (*part.positive, *part.negative)]
    layers = [config["layer"] for config in left]
    shared = text_tokens(model, texts) + material.prompted.n_tokens + n * new * (1 if plan.writes else 2)
    behind = sum((n_layers - layer) / (n_layers + 1) for layer in layers)
    tokens = workers * shared + n * behind + (len(layers) * n * new if plan.writes else 0)
    along = plan.settings.flow().steps
    steps = n * (new * along + 3 * len(plan.settings.strengths) * along / ALL_OF_A_STEP) + ALL_OF_A_LAYER
    done = "" if len(left) == of else f" of {of} (the others are done)"
    what = f"{len(left)} layers{done}, {n * new * along:,} certified steps each"
    other = len(layers) * steps * ALL_OF_A_STEP * step_seconds(int(model.cfg.d_model), along)
    return Cost(what, tokens, token_rate(material.prompted), other, workers)
