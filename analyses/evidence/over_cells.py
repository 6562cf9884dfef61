"""Totals over cells and rank correlations, from tables of the real models that are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from analyses.effects.tables import UNSTEERED
from analyses.evidence import contrasts, plan
from analyses.measured.__main__ import kept
from odesteer_tl import stats

#: barriers whose log loss is compared, and the arms that climb them
LOSS, ARMS = "log loss, kernel − published", ("odesteer_kernel", "odesteer")
DRAWS = 4000
ENDS = ("low", "high")


def totals(compared: pd.DataFrame) -> pd.DataFrame:
    """A row a pair of barriers, of the concepts written here and of all: in how many (model, concept, layer) cells the
    first has the lower held-out log loss, the higher, and neither.

    `difference` is the median over layers, averaged over the models of a concept and then over concepts, nats, with
    Student's t interval over `concepts`.
    """
    own = compared["concept"].isin([concept for model in plan.MODELS for concept in model.concepts])
    rows: list[dict[str, Any]] = []
    for scope, part in (("written here", compared.loc[own]), ("all", compared)):
        pairs: Any = part.groupby(["first", "second"], sort=False)
        for (first, second), of in pairs:
            means = of.groupby("concept")["median"].mean()
            found = contrasts.mean_of_few(means)
            rows.append({"concepts of": scope, "first": first, "second": second, "cells": of["layers"].sum(),
                         "better": of["better"].sum(), "worse": of["worse"].sum(), "neither": of["neither"].sum(),
                         "difference": found["value"], "low": found["low"], "high": found["high"],
                         "concepts": len(means)})  # fmt: skip
    return pd.DataFrame(rows)


def ranks(readers: pd.DataFrame, layers: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Does a lower log loss go with a higher score at the middle level of KL? Spearman's ρ over cells.

    A cell is a model, concept and layer; what is ranked is by how much the kernel barrier's held-out log loss is less
    than the published one's, and by how much more the kernel's flow changes the score. Positive where they go together.

    Returns:
        A row a model and concept (`n` layers; its interval takes them for independent), one of the mean of these (first
        over models; Student's t over `n` concepts), and one of all cells ranked together (a bootstrap that draws `n`
        concepts, and of so few is narrow).
    """
    read = readers.loc[readers["what"] == LOSS].rename(columns={"value": "loss"})
    level: Any = layers.loc[layers["level"] == plan.LEVEL]
    wide = level.pivot(index=[*contrasts.KEY, "layer"], columns="label", values="change")
    score = (wide[ARMS[0]] - wide[ARMS[1]]).rename("score").reset_index()
    cells = read.merge(score, on=[*contrasts.KEY, "layer"]).assign(gain=lambda x: -x["loss"])
    rows: list[dict[str, Any]] = []
    for (model, concept), of in cells.groupby(contrasts.KEY, sort=False):
        own = stats.rank_correlation(of["gain"], of["score"])
        rows.append({"model": model, "concept": concept, "rho": own.value, "low": own.low, "high": own.high,
                     "n": own.n})  # fmt: skip
    each: Any = pd.DataFrame(rows).groupby("concept")["rho"].mean()
    mean = contrasts.mean_of_few(each)
    rows.append({"model": "both", "concept": "mean within", "rho": mean["value"], "low": mean["low"],
                 "high": mean["high"], "n": len(each)})  # fmt: skip
    of_concept = [x[["gain", "score"]].to_numpy() for _, x in cells.groupby("concept")]
    random = np.random.default_rng(seed)
    drawn = [_rho(np.concatenate([of_concept[i] for i in random.integers(len(of_concept), size=len(of_concept))]))
             for _ in range(DRAWS)]  # fmt: skip
    low, high = np.quantile(drawn, (0.025, 0.975))
    rows.append({"model": "both", "concept": "all cells", "rho": _rho(np.concatenate(of_concept)), "low": low,
                 "high": high, "n": len(of_concept)})  # fmt: skip
    return pd.DataFrame(rows)


def steered_concepts(steering: pd.DataFrame) -> pd.DataFrame:
    """The declared comparisons over AxBench's concepts: `of` all, those added to the plan later, and each model alone.

    Beside them the same of fluency (`measure`; the log-likelihood of what is written, nats a token), of which no margin
    was declared.
    """
    later = steering["concept"].isin(plan.LATER)
    parts = {"all": steering, "added later": steering.loc[later]}
    parts |= {str(model): part for model, part in steering.groupby("model", sort=False)}
    found: list[pd.DataFrame] = []
    for of, part in parts.items():
        effect = contrasts.over_concepts(part, plan.TEXT_NATS).assign(of=of, measure="effect")
        fluency = contrasts.over_concepts(part.assign(change=part["log_likelihood"]))
        found += [effect, fluency.assign(of=of, measure="fluency", equivalent=None)]
    both: Any = pd.concat(found)
    # of one model alone a model and concept is a concept
    return both.loc[(both["unit"] == "concept") | both["of"].isin(["all", "added later"])]


def steered_means(steering: pd.DataFrame) -> pd.DataFrame:
    """A row a model, layer and way to steer: means over AxBench's concepts with Student's t intervals.

    Returns:
        Each with `_low` and `_high`: `change` of the log-odds, nats a text; `fluency`, nats a token (log-likelihood of
        the written text less that of the unsteered one); `angle` that spends the KL, radians; `kl_neutral`, nats; and
        `cosine_seeds` of the fields that two seeds fit. `n` concepts; unsteered first, with changes of 0.
    """
    of_unsteered = steering.loc[steering["label"] == UNSTEERED, [*contrasts.KEY, "log_likelihood"]]
    own = steering.merge(of_unsteered, on=contrasts.KEY, suffixes=("", "_unsteered"))
    own["fluency"] = own["log_likelihood"] - own["log_likelihood_unsteered"]
    rows: list[dict[str, Any]] = []
    groups: Any = own.groupby(["model", "layer", "label"], sort=False)
    for (model, layer, label), cell in groups:
        row: dict[str, Any] = {"model": model, "layer": layer, "label": label}
        for name in ("change", "fluency", "angle", "kl_neutral", "cosine_seeds"):
            mean = contrasts.mean_of_few(cell[name]) if label != UNSTEERED else dict.fromkeys(("value", *ENDS), 0.0)
            row |= {name: mean["value"]} | {f"{name}_{end}": mean[end] for end in ENDS}
        rows.append({**row, "n": len(cell)})
    return pd.DataFrame(rows)


def steered_counts(steering: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """In how many (AxBench's concept, layer) cells of a model an interval is above zero, below it, or holds it.

    Of a way to steer against the unsteered model, and of the declared comparisons, with in how many the two are
    equivalent.
    """
    steered = steering.loc[steering["label"] != UNSTEERED]
    against = steered.assign(first=steered["label"], second=UNSTEERED, equivalent=False)
    names = ["model", "first", "second", "low", "high", "equivalent"]
    groups: Any = pd.concat([against[names], cells[names]]).groupby(names[:3], sort=False)
    rows = [
        (*key, len(of), (of["low"] > 0).sum(), (of["high"] < 0).sum(), of["equivalent"].sum()) for key, of in groups
    ]
    found = pd.DataFrame(rows, columns=[*names[:3], "cells", "above", "below", "equivalent"])
    return found.assign(neither=found["cells"] - found["above"] - found["below"])


def _rho(pairs: Any) -> float:
    return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)  # pyright: ignore[reportAttributeAccessIssue]


#: by the name under which it is kept: what makes it, and of which kept tables
TABLES: dict[str, tuple[Callable[..., pd.DataFrame], tuple[str, ...]]] = {
    "evidence-totals": (totals, ("evidence-compared",)),
    "evidence-ranks": (ranks, ("evidence-readers", "evidence-layers")),
    "evidence-concepts": (contrasts.over_concepts, ("evidence-layers",)),
    "evidence-steering-concepts": (steered_concepts, ("evidence-steering",)),
    "evidence-steering-means": (steered_means, ("evidence-steering",)),
    "evidence-steering-counts": (steered_counts, ("evidence-steering", "evidence-cells-steering")),
}


def text(name: str) -> str:
    """A table as it is kept, below a line that names its sources."""
    make, sources = TABLES[name]
    files = ", ".join(f"analyses/measured/{source}.csv" for source in sources)
    said = f"# {files}: python -m analyses.evidence.together"
    return "\n".join([said, make(*map(kept, sources)).to_csv(index=False, float_format="%.6g")])
