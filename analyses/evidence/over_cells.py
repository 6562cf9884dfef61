"""Totals over cells and rank correlations, from tables of the real models that are kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from analyses.evidence import contrasts, plan
from analyses.measured.__main__ import kept
from odesteer_tl import stats

#: barriers whose log loss is compared, and the arms that climb them
LOSS, ARMS = "log loss, kernel − published", ("odesteer_kernel", "odesteer")
DRAWS = 4000


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


def _rho(pairs: Any) -> float:
    return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)  # pyright: ignore[reportAttributeAccessIssue]


#: by the name under which it is kept: what makes it, and of which kept tables
TABLES: dict[str, tuple[Callable[..., pd.DataFrame], tuple[str, ...]]] = {
    "evidence-totals": (totals, ("evidence-compared",)),
    "evidence-ranks": (ranks, ("evidence-readers", "evidence-layers")),
    "evidence-concepts": (contrasts.over_concepts, ("evidence-layers",)),
    "evidence-concepts-steering": (partial(contrasts.over_concepts, margin=plan.TEXT_NATS), ("evidence-steering",)),
}


def text(name: str) -> str:
    """A table as it is kept, below a line that names its sources."""
    make, sources = TABLES[name]
    files = ", ".join(f"analyses/measured/{source}.csv" for source in sources)
    said = f"# {files}: python -m analyses.evidence.together"
    return "\n".join([said, make(*map(kept, sources)).to_csv(index=False, float_format="%.6g")])
