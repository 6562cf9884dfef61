"""Agreement read and brought about: one table each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.agreement import AgreementConfig
from analyses.behaviour import behaviour, summary
from analyses.reading.parts import of_every
from odesteer_tl import organism, stats


def reading(acts: ode.Activations, held_out: ode.Activations, test: ode.ContrastSet) -> Iterator[dict[str, Any]]:
    """AUC by layer and barrier on texts that took no part in the fit, with its interval over texts."""
    n = len(test.positive)

    def row(layer: int, barrier: str, scores: np.ndarray, **chosen: float) -> dict[str, Any]:
        area = stats.auc(scores, np.repeat([True, False], n))
        return {"layer": layer, "barrier": barrier, "n": area.n, "auc": area.value, "low": area.low,
                "high": area.high, **chosen}  # fmt: skip

    yield row(-1, "Bayes ceiling", organism.judge([*test.positive, *test.negative])["agreement"].to_numpy())
    for layer in acts:
        for kind, degree in (("linear", 1), ("quadratic", 2)):
            barrier = ode.KernelBarrier(degree=degree, gamma="cv", C="cv").fit_activations(acts[layer])
            texts = torch.cat([held_out[layer].positive, held_out[layer].negative])
            chosen = {f"chosen_{name}": barrier.chosen[name] for name in ("gamma", "C")}
            yield row(layer, kind, barrier.value(texts.double()).numpy(), **chosen)


def field_of(label: str, acts: ode.LayerActivations, seed: int) -> ode.VectorField:
    """The field of a method, or of the linear barrier that shares everything with the quadratic but its degree."""
    if label == "linear barrier":
        return ode.BarrierField(ode.KernelBarrier(degree=1, gamma="cv", seed=seed).fit_activations(acts))
    return ode.METHODS[label].fit_activations(acts, seed)


def steering(model: Any, acts: ode.Activations, config: AgreementConfig) -> Iterator[dict[str, Any]]:
    """Success of every method at every angle on test prompts, at the layer chosen for it on validation prompts."""
    drawn = organism.prompts(config.select + config.test, config.seed)
    validation, test = drawn[: config.select], drawn[config.select :]
    settings: dict[str, Any] = {"concept": "agreement", "temperature": config.temperature,
                                "max_new_tokens": config.max_new_tokens}  # fmt: skip
    yield {"method": "unsteered", **summary(behaviour(model, test, None, seed=1, **settings))}
    for label in config.methods:
        fields = {layer: field_of(label, acts[layer], config.seed) for layer in (1, 2, 3)}
        for angle in config.angles:
            # geodesic for all: the angle asked for is the angle turned
            flow = ode.Flow(angle=angle, steps=10, solver="geodesic")
            options = [ode.Steerer(field, flow, layer, model=acts.model) for layer, field in fields.items()]
            tried = [behaviour(model, validation, option, **settings)["success"].mean() for option in options]
            best = options[int(np.argmax(tried))]
            outcome = summary(behaviour(model, test, best, seed=1, **settings))
            yield {"method": label, "angle": angle, "layer": best.layer, **outcome}


def run(config: AgreementConfig) -> None:
    """Run the study for every organism, write two tables and print them."""
    fit = organism.contrast("agreement", config.pairs, config.seed)
    test = organism.contrast("agreement", config.test_pairs, config.seed + 1000)

    def studies(model: TransformerBridge) -> dict[str, Iterator[dict[str, Any]]]:
        acts, held_out = (ode.collect_activations(model, texts) for texts in (fit, test))
        return {"reading": reading(acts, held_out, test), "steering": steering(model, acts, config)}

    tables = of_every(config, studies)
    print(tables["reading"].round(3).to_string(index=False, na_rep="–"))
    columns = ["model", "method", "angle", "layer", "success", "success_low", "success_high", "parses", "n"]
    print(tables["steering"][columns].round(3).to_string(index=False, na_rep="–"))
