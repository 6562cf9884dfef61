"""The tables of what is read on real models: a function each, of the folder of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analyses.evidence import contrasts, plan
from analyses.evidence.found import found, joined
from analyses.evidence.lensing import layer_per_prompt
from analyses.evidence.plan import INDICATED, LEVEL
from analyses.evidence.predictors import BEST, BRANCHING, RANDOM, predictors
from odesteer_tl import stats

#: findings of a certification, and the columns they become
FINDINGS = {
    "held-out AUC of h (texts)": "auc",
    "prompts with every step certified": "certified",
    "κθ": "bend",
    "quadratic share of ∇h": "quadratic_share",
    "efficiency: gain / best possible gain at the angle": "efficiency",
    "gain in the other half's h per gain in one's own": "other_half",
    "prompts whose certified radius exceeds bf16's bound": "bf16",
    "prompts whose every end, written in float32, is proved no lower in h": "written_float32",
    "prompts whose every end, written in bfloat16, is proved no lower in h": "written_bfloat16",
    "random: whole path certified": "random_certified",
}
#: the integrator of the published method
PUBLISHED = "euler"
#: whose best layer is to be predicted
ARM = INDICATED


def certification(results: Path) -> pd.DataFrame:
    """A row a model, concept and layer: what the certificates say, and how well the h that they are about reads."""
    parts = []
    for rows in found(results, "certification", "findings"):
        known = rows.loc[rows["what"].isin(list(FINDINGS))].replace({"what": FINDINGS}).rename(columns={"what": "name"})
        wide = known.pivot(index=["model", "concept", "layer"], columns="name", values=["value", "low", "high", "n"])
        wide.columns = [name if part == "value" else f"{name}_{part}" for part, name in wide.columns]
        parts.append(wide.reset_index())
    return joined(parts)


def angles(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer and angle: the share of prompts on whose published path h falls somewhere."""
    parts = [rows.query("integrator == @PUBLISHED") for rows in found(results, "certification", "strengths")]
    names = ["model", "concept", "layer", "angle", "violating", "violating_low", "violating_high", "steps_undecided",
             "saturation", "norm_ratio", "n"]  # fmt: skip
    return joined(parts).reindex(columns=names)


def certified(results: Path) -> pd.DataFrame:
    """A row a model and concept: the worst of all layers at which h is shown to read anything.

    `climbs` is the largest angle up to which no prompt's path falls at any layer, `falls` the smallest at which
    some do.
    """
    layers, every = certification(results), angles(results)
    rows: list[dict[str, Any]] = []
    runs: Any = layers.groupby(contrasts.KEY, sort=False) if len(layers) else ()
    for (model, concept), of in runs:
        reads = of.loc[of["auc_low"] > 0.5]
        own = every.query("model == @model and concept == @concept")
        falling: Any = own.groupby("angle")["violating"].max()
        falls = falling[falling > 0].index.min()
        row = {"model": model, "concept": concept, "layers": len(of), "reads": len(reads),
               "auc": reads["auc"].median(), "certified": reads["certified"].min(),
               "bend": reads["bend"].max(), "quadratic_share": reads["quadratic_share"].max(),
               "efficiency": reads["efficiency"].min(), "bf16": reads["bf16"].min(),
               "written_float32": reads["written_float32"].min(),
               "written_bfloat16": reads["written_bfloat16"].min(),
               "random_least": reads["random_certified"].min(), "random_most": reads["random_certified"].max(),
               "other_least": reads["other_half"].min(), "other_most": reads["other_half"].max(),
               "climbs": falling[~(falling.index >= falls)].index.max(), "falls": falls,
               "n": own["n"].min()}  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows)


def readers(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer and what: AUC and log loss of each barrier, and their differences."""
    parts = list(found(results, "readers", "readers"))
    names = ["model", "concept", "layer", "what", "value", "low", "high", "n"]
    return joined(parts).reindex(columns=names)


def compared(results: Path) -> pd.DataFrame:
    """A row a model, concept and pair of barriers: at how many layers the first reads better, worse, and neither."""
    read = readers(results)
    rows: list[dict[str, Any]] = []
    pairs: Any = (
        read.loc[read["what"].str.contains("−")].groupby([*contrasts.KEY, "what"], sort=False) if len(read) else ()
    )
    for (model, concept, what), of in pairs:
        better, worse = int((of["high"] < 0).sum()), int((of["low"] > 0).sum())
        first, _, second = str(what).removeprefix("log loss, ").partition(" − ")
        rows.append({"model": model, "concept": concept, "first": first, "second": second, "layers": len(of),
                     "better": better, "worse": worse, "neither": len(of) - better - worse,
                     "median": of["value"].median(), "least": of["value"].min(), "most": of["value"].max(),
                     "n": of["n"].min()})  # fmt: skip
    return pd.DataFrame(rows)


def lenses(results: Path) -> pd.DataFrame:
    """A row a model, concept and layer: the AUC of what the unembedding reads there."""
    return joined(found(results, "lenses", "lenses"))


def detection(results: Path) -> pd.DataFrame:
    """A row a model, layer, score and kind of negative: the mean area over AxBench's concepts."""
    return joined(found(results, "detection", "table"))


def likelihood(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer and arm: T*, changes of log p₊ and log p₋, and the share off the data."""
    return joined(found(results, "likelihood", "summary"))


def families(results: Path) -> pd.DataFrame:
    """A row a model, concept and layer: the family of each class's density, chosen on held-out groups of texts, and how
    many bits a dimension it needs of other held-out texts (less is better)."""
    rows: list[dict[str, Any]] = []
    for model in plan.MODELS:
        for file in sorted((results / model.name).glob("*/likelihood/layer-*/run.json")):
            chosen = json.loads(file.read_text())["densities"]["ambient"]
            own: dict[str, Any] = {"model": model.name, "concept": file.parts[-4],
                                   "layer": int(file.parent.name.removeprefix("layer-"))}  # fmt: skip
            for side in ("positive", "negative"):
                own |= {side: chosen[side], f"{side}_bits": chosen[f"fit_{side}"]["bits_per_dimension"]}
            rows.append({**own, "n": chosen["fit_positive"]["n"]})
    return pd.DataFrame(rows)


def along(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer, arm and place, at the middle angle: what a rotation does to log p₊ of a token.

    Places are a prompt's last token, at which densities are fitted, and what is `written` behind it. `change` is from
    the same token before it is turned, a prompt's the mean of its tokens; `outside_before` and `outside` are the shares
    off p₊'s data. Of prompts of a group's near copies one counts, and is what `n` counts.
    """
    rows: list[dict[str, Any]] = []
    for tokens in found(results, "likelihood", "tokens"):
        # state 0 is a token before it is turned, 1 after
        turned = tokens.loc[tokens["strength"].isin([0.0, plan.STRENGTHS[1]])].assign(written=tokens["token"] >= 0)
        key = [*contrasts.KEY, "layer", "method", "written"]
        each: Any = turned.groupby([*key, "group", "prompt", "state"], sort=False)
        wide = each[["log_positive", "outside"]].mean().unstack("state")
        for at, of in wide.groupby(key, sort=False):
            groups = of.index.get_level_values("group").to_numpy()
            share = (0.0, 1.0)
            columns = {"change": (of["log_positive", 1] - of["log_positive", 0], None),
                       "outside_before": (of["outside", 0], share), "outside": (of["outside", 1], share)}  # fmt: skip
            row = dict(zip(key, at, strict=True))
            for name, (x, bounds) in columns.items():
                if name != "change" or x.any():  # what is not turned does not change
                    estimate = stats.mean(x.to_numpy(dtype=float), groups=groups, bounds=bounds)
                    row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            rows.append({**row, "n": len(np.unique(groups))})
    return pd.DataFrame(rows)


def foretold(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer, scope, outcome and score of the steered tokens: how well it ranks the texts."""
    parts = [rows for rows in found(results, "likelihood", "prediction") if len(rows)]
    names = [*contrasts.KEY, "layer", "of", "predictor", "scope", "rho", "rho_low", "rho_high",
             "auc", "auc_low", "auc_high", "cells", "n"]  # fmt: skip
    known = joined(parts).reindex(columns=["place", *names])
    return known.loc[(known["place"] == "tokens") & known["predictor"].isin(["log_positive", "h_calibrated"]), names]


def predicted(results: Path) -> pd.DataFrame:
    """A row a model, concept and indicator of the layer: what picking by it costs."""
    read = pd.concat([readers(results), lenses(results).assign(what="LAP")], ignore_index=True)
    parts = []
    for rows in found(results, "layers", "table"):
        own = {name: rows[name].iloc[0] for name in contrasts.KEY}
        beside = read.query("model == @own['model'] and concept == @own['concept']") if len(read) else read
        parts.append(predictors(rows, beside, ARM, LEVEL).assign(**own))
    return joined(parts)


def densities(results: Path) -> pd.DataFrame:
    """What picking the layer by the gain in log p₊ or by NBF costs, beside the best and one at random of that study."""
    parts = [predictors(rows, pd.DataFrame(), ARM, LEVEL).assign(**{name: rows[name].iloc[0] for name in contrasts.KEY})
             for rows in found(results, "densities", "table")]  # fmt: skip
    rows = joined(parts)
    return rows.loc[rows["picked by"].isin([BEST, "log_positive_change", BRANCHING, RANDOM])] if len(rows) else rows


def per_prompt(results: Path) -> pd.DataFrame:
    """A row a model, concept and rule: what a layer for every prompt gains on one layer for all."""
    states = {tuple(x[name].iloc[0] for name in contrasts.KEY): x for x in found(results, "lenses", "states")}
    parts = []
    for rows in found(results, "layers", "table"):
        own = {name: rows[name].iloc[0] for name in contrasts.KEY}
        of = states.get(tuple(own.values()))
        if of is not None:
            parts.append(layer_per_prompt(rows, of.drop(columns=contrasts.KEY), ARM, LEVEL).assign(**own))
    return joined(parts)


#: in the order in which they are written
TABLES = (certification, angles, certified, readers, compared, lenses, detection, likelihood, families,
          along, foretold, predicted, densities, per_prompt)  # fmt: skip
