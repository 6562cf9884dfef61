"""A layer for every prompt, foretold from how the prompt stands before it is steered, and the steer that does so.

As reconstructed from the abstract of W2S (arXiv 2604.03867): ridge regression on a prompt's state in the middle layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.effects.arms import Arm, several
from analyses.effects.matching import Matched
from analyses.effects.material import Material
from analyses.effects.spending import spending
from analyses.effects.steer import Steer
from analyses.effects.tables import groups
from analyses.effects.writing import left_padded
from odesteer_tl._words import warn

#: behind the label of a way to steer
LABEL = "a layer per prompt"
#: what tells ways to steer, and levels, apart
WAY = ["label", "budget", "level"]
#: parts of the prompts that are learned from, each left out once; and prompts that are too few to learn from
FOLDS, LEAST = 10, 4


@dataclass(frozen=True, eq=False)
class LayerPerPrompt:
    """Which of some layers a prompt is steered at.

    Attributes:
        layers: that there are to choose from.
        middle: the layer whose state tells.
        foretell: from a state, what steering at each of `layers` does.
        chosen: of the study's prompts, by their number.
    """

    layers: tuple[int, ...]
    middle: int
    foretell: Pipeline
    chosen: tuple[int, ...]

    @classmethod
    def of(cls, seen: pd.DataFrame, states: Float[np.ndarray, "prompts d"], middle: int) -> LayerPerPrompt:
        """Learn it from a few prompts, and choose for all.

        A prompt that is learned from is itself chosen for by what is learned from others: otherwise the choice would
        look better on the prompts that it was learned from than it is on new ones.

        Args:
            seen: what steering does, a row a prompt that was looked at (its number the index), a column a layer.
            states: of all prompts in layer `middle`, at their last token.
        """
        known, layers = states[seen.index.to_numpy()], np.array([int(layer) for layer in seen.columns])
        foretell = ridge().fit(known, seen.to_numpy())
        chosen = layers[foretell.predict(states).argmax(1)]
        left_out: Any = cross_val_predict(ridge(), known, seen.to_numpy(), cv=KFold(min(FOLDS, len(seen))))
        chosen[seen.index.to_numpy()] = layers[np.argmax(left_out, axis=1)]
        return cls(tuple(layers.tolist()), middle, foretell, tuple(chosen.tolist()))

    def choose(self, model: TransformerBridge, prompts: Sequence[str]) -> list[int]:
        """The layer for each of other prompts."""
        states = prompt_states(model, prompts, self.middle).to_numpy()
        return [self.layers[i] for i in self.foretell.predict(states).argmax(1)]


def ridge() -> Pipeline:
    """What foretells, from a prompt's state, how far steering gets at each layer; how smooth it is, it finds itself."""
    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 6, 13)))


def middle_layer(model: TransformerBridge) -> int:
    """The layer whose state tells."""
    return int(model.cfg.n_layers) // 2


def prompt_states(model: TransformerBridge, prompts: Sequence[str], layer: int) -> pd.DataFrame:
    """The unsteered stream at the last token of every prompt, a row a prompt and a column a dimension."""
    tokens, mask = left_padded(model, prompts)
    return last_states(ode.collect_prefix(model, tokens, mask, start=-1), layer)


def last_states(prefix: ode.Prefix, layer: int) -> pd.DataFrame:
    """The same of prompts that were read already."""
    return pd.DataFrame(prefix.residuals[layer][:, -1].float().cpu().numpy()).rename(columns=str)


def candidates(
    configs: Sequence[Mapping[str, Any]],
    looks: pd.DataFrame,
    states: Float[np.ndarray, "prompts d"],
    middle: int,
    select: int,
) -> list[tuple[dict[str, Any], LayerPerPrompt, pd.DataFrame]]:
    """Every way to steer, at every level, with a layer for every prompt out of those that it was looked at.

    One that would have the same layer for all prompts to choose on is no other than that layer's, and left out.

    Args:
        configs: of its cells.
        looks: theirs, a row a cell and prompt, `words` among them.
        states: of all prompts in layer `middle`, at their last token.
        select: prompts to choose on, which are the first.

    Returns:
        Of each its config, which layer it chooses, and the looks of the prompts at the layers chosen for them.

    Raises:
        ValueError: the looks say nothing.
    """
    if not looks["words"].to_numpy().any():
        raise ValueError("per_prompt=True learns from words that tell the contrast's classes apart, and none does; "
                         "leave it out, or give more pairs")  # fmt: skip
    found, same = list[tuple[dict[str, Any], LayerPerPrompt, pd.DataFrame]](), list[str]()
    single = pd.DataFrame(looks[looks["layers"].isna()]) if "layers" in looks else looks
    for way, rows in groups(single, WAY):
        own = next(c for c in configs if not several(c) and tuple(c[name] for name in WAY) == way)
        words = rows.pivot(index="prompt", columns="layer", values="words")
        rule = LayerPerPrompt.of(words, states, middle) if words.shape[1] > 1 else None
        if rule is None or len({*rule.chosen[:select]}) == 1:
            only = words.columns[0] if rule is None else rule.chosen[0]
            same.append(f"{own['label']}, {own['budget']} {own['level']:g} (layer {only})")
            continue
        layers = {"layer": rule.layers[-1], "layers": "+".join(map(str, rule.layers)), "per_prompt": True}
        picked = rows[rows["layer"].to_numpy() == np.array(rule.chosen)[rows["prompt"].to_numpy()]]
        found.append(({**own, **layers, "label": f"{own['label']}, {LABEL}"}, rule, pd.DataFrame(picked)))
    if same:
        warn(
            f"A layer per prompt is no candidate of its own where one is foretold to be best for all: {'; '.join(same)}"
        )
    return found


def steered_apart(material: Material, config: Mapping[str, Any]) -> tuple[Matched, Steer]:
    """The steer that acts on every prompt at its own layer, matched to the budget there, and not at the others.

    All prompts go through the model together, so that what is drawn for one is what would be drawn for it were all of
    them steered at its layer.

    Args:
        config: of `candidates`, with `chosen`: the layer of each prompt of the material, `12+16+12`.
    """
    chosen = np.array([int(layer) for layer in config["chosen"].split("+")])
    one, layers = replace(Arm.in_cell(config), layers=()), np.unique(chosen).tolist()
    strength = torch.zeros(len(chosen), len(layers), dtype=torch.float64)
    reached = torch.zeros(len(chosen), dtype=torch.bool)
    for k, layer in enumerate(layers):
        rows = np.flatnonzero(chosen == layer).tolist()
        passage, highest = material.states.passage.rows(rows), material.plan.settings.highest
        found = spending(material.layer(layer), one, passage, highest).match(config["budget"], config["level"])
        strength[rows, k], reached[rows] = found.strength, found.reached
    steer = Steer(material.layer(layers[-1]), replace(one, layers=tuple(layers)), strength)
    return Matched(strength.sum(1), reached), steer
