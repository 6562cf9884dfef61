"""What a cell of the layer study costs on a real model, beside what it cannot do without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

import odesteer_tl as ode
from analyses import concepts
from analyses.cost.material import Row, row
from analyses.cost.timing import spent
from analyses.effects import Arm, EffectSettings, Given, Material, measure
from analyses.effects.steer import Steer
from analyses.outcomes import Completions
from odesteer_tl.blocks import unembed

LAYER, KL, PROMPTS, NEW = 15, (0.03, 0.1, 0.3), 32, 12
#: where texts are written: the unsteered model's opinion of them takes the blocks behind the layer once more
WRITTEN_AT = (3, 9, LAYER, 24)
ARM = Arm("caa", "caa", "euler", 1)


def layer_study_rows() -> Iterator[Row]:
    """SmolLM2, 30 layers, a level a cell: the levels of an arm share a scan, which is charged to them all."""
    concept = concepts.sentiment(64)
    model = ode.load_model("smollm2")
    judges = {"text": lambda prompts, texts: [len(text) for text in texts], "log-odds": concept.words}
    for kind, outcome in judges.items():
        settings = EffectSettings(measures=(), cross_fit=True, select=0, test=PROMPTS, max_new_tokens=NEW)
        given = Given(model, concept.contrast(), concept.prompts[:PROMPTS], outcome)
        material = Material(settings, given, {"kl": max(KL)})
        if kind == "text":
            for layer in WRITTEN_AT:
                steer = _steer(material, layer)
                texts = spent(lambda: _generate(material, steer))  # noqa: B023
                what = (
                    f"a text cell at equal KL, layer {layer}, against generating its {PROMPTS} × {NEW} tokens, SmolLM2"
                )
                yield _ratio(what, "≤ 1.4×", _spent(material, layer), texts)
            continue
        steer, ours = _steer(material, LAYER), _spent(material, LAYER)
        assert isinstance(outcome, Completions)
        alone, options = list(_alone(material, outcome)), material.judging.options
        passes: dict[str, tuple[str, Callable[[], Any]]] = {
            "": ("≤ 1.2×", lambda: [_read(prefix) for prefix in alone]),  # noqa: B023
            ", what they share run once": ("", lambda: options.log_likelihoods(steer)),  # noqa: B023
        }
        for which, (target, call) in passes.items():
            what = f"a log-odds cell at equal KL against one pass of the later blocks over its completions{which}"
            yield _ratio(f"{what}, SmolLM2", target, ours, spent(call))


def _steer(material: Material, layer: int) -> Steer:
    material.layer(layer).field(ARM.method)
    return Steer(material.layer(layer), ARM, torch.full((PROMPTS,), 0.2, dtype=torch.float64))


def _spent(material: Material, layer: int) -> float:
    """Seconds a cell, without what all cells of a layer share."""
    measure(material, _cell(layer, "angle", 0.1))
    return spent(lambda: [measure(material, _cell(layer, "kl", level)) for level in KL]) / len(KL)


def _cell(layer: int, budget: str, level: float) -> dict[str, Any]:
    return {"layer": layer, "label": ARM.label, "method": ARM.method, "solver": ARM.solver, "steps": ARM.steps,
            "budget": budget, "level": level}  # fmt: skip


def _generate(material: Material, steer: Steer) -> list[str]:
    settings: dict[str, Any] = {"temperature": 0.7, "max_new_tokens": NEW, "batch_size": PROMPTS}
    return ode.generate(material.model, list(material.plan.prompts), steer.steerer_for(slice(None)).hooks, **settings)


def _alone(material: Material, outcome: Completions) -> Iterator[ode.Prefix]:
    """The prompts with each completion behind them, by itself, up to the layer."""
    prompt, n = material.states.prompt, len(material.plan.prompts)
    for completion in (*outcome.positive[0], *outcome.negative[0]):
        # from the last token nothing is asked
        tail = material.model.to_tokens(completion, prepend_bos=False)[:, :-1].expand(n, -1)
        yield prompt.followed_by(tail, torch.ones_like(tail), LAYER)


def _read(prefix: ode.Prefix) -> Tensor:
    """The blocks behind the layer and the unembedding."""
    return unembed(prefix.model, prefix.final(LAYER, prefix.residuals[LAYER]))


def _ratio(what: str, target: str, ours: float, reference: float) -> Row:
    return {**row(what, target, reference, ours), "ratio": ours / reference}
