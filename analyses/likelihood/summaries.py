"""What the likelihood report says of a layer, as numbers: a function a table, from the files that the study wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.likelihood.decoding import POSITIVES, UNSTEERED
from analyses.likelihood.tables import mean, spread

#: predictor of `prediction.parquet` and its name in print
PREDICTORS = {"log_positive": "log p₊", "h_calibrated": "h", "directional_log_ratio": "directional ratio"}
#: column of the report: place, scope and statistic of `prediction.parquet`
RANKS = {
    "ρ, prompt end": ("prompt_end", "within, all methods", "rho"),
    "ρ, tokens": ("tokens", "within, all methods", "rho"),
    "AUC, tokens": ("tokens", "within, all methods", "auc"),
    "ρ between cells": ("tokens", "between, no placebo", "rho"),
    "ρ at equal strength": ("tokens", "between, equal strength", "rho"),
}


def layer(folder: Path) -> int:
    """The layer of a result's folder, CONTRAST/layer-N."""
    return int(folder.name.removeprefix("layer-"))


def columns(*names: str) -> list[str]:
    """Those of estimates and their intervals."""
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]


def summary(result: Path, *names: str) -> pd.DataFrame:
    """Estimates by method."""
    return pd.read_parquet(result / "summary.parquet").loc[:, ["method", *columns(*names)]]


def t_star(result: Path) -> pd.DataFrame:
    """Where log p₊ peaks by method, and how much more of it real positives have."""
    references = pd.read_parquet(result / "references.parquet").query("quantity == 'log_positive'")
    log_p: Any = references.set_index("side")["mean"]
    return summary(result, "t_star").assign(gap=log_p["positive"] - log_p["negative"])


def declared(result: Path) -> pd.DataFrame:
    """The methods at the strength declared beforehand; over-steering at the end of the grid."""
    rad = json.loads((result / "run.json").read_text())["settings"]["declared"]
    names = ("log_positive_change", "log_negative_change", "rises", "outside_at_start", "outside", "over_steered")
    return summary(result, *names).assign(rad=rad)


def prediction(result: Path) -> pd.DataFrame:
    """How well states rank the texts that come from them, a row a predictor and column of `RANKS`; none without a
    judge."""
    cells = pd.read_parquet(result / "prediction.parquet").to_dict("records")
    return pd.DataFrame([{"predictor": c["predictor"], "column": column,
                          **dict(zip(columns("value"), (c[x] for x in columns(statistic)), strict=True))}
                         for column, (place, scope, statistic) in RANKS.items() for c in cells
                         if c["predictor"] in PREDICTORS and (c["place"], c["scope"]) == (place, scope)])  # fmt: skip


def posterior(result: Path) -> pd.DataFrame:
    """What the judge says of the texts: mean with its interval; none without a judge."""
    texts = pd.read_parquet(result / "texts.parquet")
    if "posterior" not in texts:
        return pd.DataFrame()
    at_rest = texts["method"].isin([UNSTEERED, POSITIVES])
    return pd.concat([means(pd.concat([texts[at_rest], steered]), "posterior").assign(rad=strength)
                      for strength, steered in texts[~at_rest].groupby("strength")])  # fmt: skip


def means(texts: Any, quantity: str) -> pd.DataFrame:
    """The mean of a quantity by method, with its interval over prompts."""
    return pd.DataFrame([{"method": method, **spread(quantity, mean(x))}
                         for method, x in texts.groupby("method", sort=False)[quantity]])  # fmt: skip


def degeneration(result: Path) -> pd.DataFrame:
    """Where texts degenerate, beside T*; none where no text was written under steering."""
    if pd.read_parquet(result / "degeneration.parquet").empty:
        return pd.DataFrame()
    crossings = pd.read_parquet(result / "degeneration.parquet").set_index(["quantity", "method"])[columns("crossing")]
    likely, various = (crossings.loc[q].set_axis(columns(q), axis=1) for q in ("log_likelihood", "distinct_2"))
    texts = pd.read_parquet(result / "texts.parquet")
    repetition = means(texts[texts["strength"] == texts["strength"].max()], "repetition").set_index("method")
    return summary(result, "t_star").set_index("method").join([likely, various, repetition]).reset_index()


def agreement(result: Path) -> pd.DataFrame:
    """Correlation and slope of calibrated h on the log-ratio of densities of the direction, all points of all paths."""
    found = pd.read_parquet(result / "agreement.parquet")
    return found.loc[:, ["pair", "method", "overall_correlation", "overall_slope"]]
