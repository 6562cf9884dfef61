"""Where agreement is read, where steering by it acts, and what follows what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

import odesteer_tl as ode
from analyses.behaviour import behaviour, last_activations, summary
from analyses.reading import planes as lp
from analyses.reading.effects import ablation, exchange, steps
from analyses.reading.states import AgreementStates
from analyses.reading_and_steering import ReadingSteeringConfig
from analyses.runs import refuse_existing, save_run
from odesteer_tl import organism, stats


def reading(states: AgreementStates) -> Iterator[dict[str, Any]]:
    """AUC on test texts of agreement, read linearly and quadratically, and of the latents, in every part of a layer.

    First of what the heads of block 0 write, before its MLP.
    """
    heads = [ode.collect_activations(states.model, x, [0], site="attn.hook_z")[0] for x in (states.fit, states.test)]
    fit, test = (lp.directions_of(torch.cat([x.positive, x.negative]).flatten(1)) for x in heads)
    yield from _areas(states, fit, test, {"layer": -1, "plane": "heads of block 0", "part": "whole"})
    for layer in states.config.layers:
        fit, test = (states.rows(acts[layer])[0] for acts in (states.fit_acts, states.test_acts))
        yield from _areas(states, fit, test, {"layer": layer, "plane": "everything", "part": "whole"})
        for name, Q in states.planes(layer).items():
            if layer != states.config.layer and name != "means":
                continue
            for side in ("inside", "outside"):
                x, y = (lp.part(u, Q, side == "inside") for u in (fit, test))
                yield from _areas(states, x, y, {"layer": layer, "plane": name, "part": side})


def _areas(
    states: AgreementStates, fit: Float[Tensor, "n d"], test: Float[Tensor, "m d"], where: dict[str, int | str]
) -> Iterator[dict[str, Any]]:
    """Areas under the curve of one part, with where it is.

    The latents' probes are fitted on every other test text and judged on the rest: on the fitting texts a plane may
    have been chosen to leave them nothing.
    """
    labels, truth = (np.repeat([1, 0], len(u) // 2) for u in (fit, test))
    groups = np.array([*states.fit.positive_groups, *states.fit.negative_groups])
    found = {f"agreement, degree {k}": stats.auc(lp.read(fit, labels, test, k, groups), truth == 1) for k in (1, 2)}
    judged = np.arange(len(truth)) % 2 == 1
    for latent, odds in zip(lp.LATENTS, states.test_odds.T, strict=True):
        learned = lp.probe(test[~judged], odds[~judged])
        found[latent] = stats.auc(learned.decision_function(test[judged].numpy()), odds[judged] > 0)
    for what, area in found.items():
        yield {**where, "read": what, "auc": area.value, "low": area.low, "high": area.high, "n": area.n}


def fields(states: AgreementStates) -> dict[str, ode.VectorField]:
    """Everything that is followed at equal angle at the layer steered: barriers, their parts, constant directions."""
    whole = {name: ode.BarrierField(barrier) for name, barrier in states.barriers.items()}
    planes = states.planes(states.config.layer)
    weather, place = (x / x.norm() for x in states.differences(states.config.layer).T)
    noise = lp.random_plane(len(weather), states.config.seed + 1)[:, 0]
    parts = {
        f"{name}, {side} {plane}": lp.PartField(whole[name], planes[plane], side == "inside")
        for name, plane in (("linear", "means"), ("quadratic", "means"), ("quadratic", "probes"))
        for side in ("inside", "outside")
    }  # fmt: skip
    constants = {"weather": weather, "place": place, "both high": weather + place, "both low": -weather - place,
                 "weather high, place low": weather - place, "random direction": noise}  # fmt: skip
    parts["quadratic, inside random"] = lp.PartField(whole["quadratic"], planes["random"], inside=True)
    return {**whole, **parts, **{name: ode.ConstantField(x) for name, x in constants.items()}}


def shares(states: AgreementStates, prompts: list[str]) -> Iterator[dict[str, Any]]:
    """Share of the squared length of each barrier's step in each plane, at prompts and at test texts; medians."""
    layer = states.config.layer
    places = {"prompts": last_activations(states.model, prompts, layer).double(),
              "texts": states.rows(states.test_acts[layer])[0]}  # fmt: skip
    for name, barrier in states.barriers.items():
        for where, a in places.items():
            step = ode.BarrierField(barrier)(a)
            for plane, Q in states.planes(layer).items():
                share = stats.median((step @ Q).square().sum(-1).numpy())
                yield {"barrier": name, "at": where, "plane": plane, "share": share.value, "low": share.low,
                       "high": share.high, "of_a_random_direction": Q.shape[1] / len(Q), "n": share.n}  # fmt: skip


def steering(states: AgreementStates, prompts: list[str]) -> Iterator[dict[str, Any]]:
    """Success of every field at the angle on prompts, unsteered first; the share of texts judged sunny and seaside."""
    config = states.config
    flow = ode.Flow(angle=config.angle, steps=10, solver="geodesic")
    steerers: dict[str, ode.Steerer | None] = {"unsteered": None}
    steerers |= {name: ode.Steerer(field, flow, config.layer) for name, field in fields(states).items()}
    for name, steerer in tqdm(steerers.items(), desc="steering", leave=False):
        rows = behaviour(states.model, prompts, steerer, concept="agreement", temperature=config.temperature,
                         max_new_tokens=config.max_new_tokens, seed=config.seed + 1)  # fmt: skip
        sunny, seaside = (lp.log_odds(rows["text"].tolist()) > 0).mean(0)
        yield {"field": name, **summary(rows), "sunny": sunny, "seaside": seaside}


def run(config: ReadingSteeringConfig) -> None:
    """Run the study for every organism, save the tables and print them."""
    refuse_existing(config.out)
    torch.set_num_threads(config.threads)
    prompts = organism.prompts(config.prompts, config.seed)
    found: dict[str, list[dict[str, Any]]] = {}
    identities: dict[str, Any] = {}
    for name in tqdm(config.models, desc="organisms"):
        model = ode.load_model(name)
        states, label = AgreementStates(model, config), Path(name).name
        identities[label] = asdict(ode.ModelIdentity.of(model))
        studies = {
            "reading": reading(states),
            "shares": shares(states, prompts),
            "steering": steering(states, prompts),
            "exchange": exchange(states),
            "steps": steps(states, fields(states)),
            "ablation": ablation(states),
        }
        for study, rows in tqdm(studies.items(), desc=label, leave=False):
            found.setdefault(study, []).extend({"model": label, **row} for row in rows)
    tables = {study: pd.DataFrame(rows) for study, rows in found.items()}
    save_run(config.out, tables, {"settings": asdict(config), "models": identities})
    for study, table in tables.items():
        print(f"\n{study}\n{table.round(3).to_string(index=False)}")
