"""What three barriers say of texts that they were not fitted on, layer by layer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.costing import duration
from analyses.crossfit import FOLDS, folds_of, left_out
from analyses.effects.looks import layer_navigator
from analyses.sweep import Config, Study
from odesteer_tl import stats
from odesteer_tl.barriers.calibration import Calibration, ScoresAlike

#: of `read_cell`: raise it when its code changes results
VERSION = "1"
#: the linear one's stiffness by cross-validation, so that what is curved and what is merely stiff are told apart
BARRIERS: dict[str, Callable[[], ode.Barrier]] = {
    "published": ode.SketchBarrier,
    "linear": lambda: ode.KernelBarrier(degree=1, C="cv"),
    "kernel": lambda: ode.KernelBarrier(gamma="cv", C="cv"),
}
PAIRS = (("kernel", "published"), ("kernel", "linear"), ("linear", "published"))


@dataclass(frozen=True)
class Reading:
    """What a barrier says of texts left out, positives first.

    Attributes:
        score: h.
        loss: nats, of its calibrated log-ratio.
    """

    score: Float[np.ndarray, " texts"]
    loss: Float[np.ndarray, " texts"]


def reading(acts: ode.LayerActivations, make: Callable[[], ode.Barrier], seed: int) -> Reading:
    """A barrier's reading of every text by fits that have not seen its group.

    The map from h to a log-ratio is fitted on what is said of all other folds' texts.
    """
    groups = acts.groups
    assert groups is not None
    sides = left_out(lambda x: make().fit_activations(x), acts, groups, seed)
    loss = [torch.full_like(side, float(np.log(2))) for side in sides]
    folds, labels = folds_of(groups, seed), [np.asarray(side) for side in groups]
    for fold in range(FOLDS):
        other = [side != fold for side in folds]
        known = [side[mask] for side, mask in zip(sides, other, strict=True)]
        n, m = (len({*side[mask.numpy()]}) for side, mask in zip(labels, other, strict=True))
        try:
            ratio = Calibration.of(known[0], known[1], (n, m))
        except ScoresAlike:  # h is one number for all texts: it says ½ of each, which costs log 2
            continue
        for side, mask, sign, into in zip(sides, other, (-1, 1), loss, strict=True):
            into[~mask] = torch.nn.functional.softplus(sign * ratio(side[~mask]))
    return Reading(torch.cat(sides).numpy(), torch.cat(loss).numpy())


def read_layer(acts: ode.LayerActivations, seed: int) -> pd.DataFrame:
    """A row a barrier (AUC and log loss), a row a pair of them (difference of log loss), intervals over groups; and
    LayerNavigator's score."""
    assert acts.groups is not None
    groups = [label for side in acts.groups for label in side]
    truth = np.repeat([True, False], [len(acts.positive), len(acts.negative)])
    said = {name: reading(acts, make, seed) for name, make in BARRIERS.items()}
    rows: list[dict[str, Any]] = []
    for name, of in said.items():
        area = stats.auc(of.score, truth, groups=groups)
        rows.append({"what": f"AUC, {name}", **asdict(area)})
        rows.append({"what": f"log loss, {name}", **asdict(stats.mean(of.loss, groups=groups))})
    for first, second in PAIRS:
        apart = stats.paired_difference(said[first].loss, said[second].loss, groups=groups)
        rows.append({"what": f"log loss, {first} − {second}", **asdict(apart)})
    rows.append({"what": "LayerNavigator", "value": layer_navigator(acts), "n": len(acts.positive)})
    return pd.DataFrame(rows)


@dataclass(frozen=True, eq=False)
class Read:
    """What the readings of a model's layers share.

    Attributes:
        acts: of the contrast's texts at every layer.
        seed: of the folds.
    """

    acts: ode.Activations
    seed: int

    @classmethod
    def of(cls, model: TransformerBridge, contrast: ode.ContrastSet, seed: int) -> Read:
        """The texts read once."""
        return cls(ode.collect_activations(model, contrast, "all"), seed)


def reading_study(model: TransformerBridge, contrast: ode.ContrastSet, seed: int) -> Study:
    """`read_layer` at every layer; its cells are the layers."""
    settings = {"model": asdict(ode.ModelIdentity.of(model)), "contrast": contrast.digest, "seed": seed}
    cells = tuple({"layer": layer} for layer in range(int(model.cfg.n_layers)))
    return Study("readers", read_cell, partial(Read.of, model, contrast, seed), settings, VERSION, cells)


def read_cell(read: Read, config: Config) -> pd.DataFrame:
    """One layer's rows."""
    return read_layer(read.acts[config["layer"]], read.seed)


def estimate(read: Any, left: Sequence[Config], of: int, workers: int) -> str:
    """What so many layers will cost, by one fit of each barrier in the middle of them."""
    assert isinstance(read, Read)
    acts, start = read.acts[left[len(left) // 2]["layer"]], time.perf_counter()
    for make in BARRIERS.values():
        make().fit_activations(acts)
    seconds = len(left) * FOLDS * (time.perf_counter() - start)
    done = "" if len(left) == of else f" of {of} (the others are done)"
    return f"{len(left)} layers{done}, {len(BARRIERS)} barriers fitted {FOLDS} times each: {duration(seconds)} here"
