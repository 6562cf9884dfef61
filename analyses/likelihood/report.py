"""The likelihood study's tables as Markdown, from the files that its commands wrote; it computes and writes nothing.

`python -m analyses.likelihood.report results/likelihood`
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import tyro

from analyses.likelihood.arms import PLACEBO
from analyses.likelihood.decoding import POSITIVES, UNSTEERED
from analyses.likelihood.study import LESS_DISTINCT, LESS_LIKELY

Rows = list[dict[str, Any]]
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


def find(folder: Path) -> list[Path]:
    """The folder of every layer's result below `folder`, by contrast and layer.

    Raises:
        ValueError: there is none.
    """
    found = [run.parent for run in folder.rglob("layer-*/run.json")]
    if not found:
        raise ValueError(f"folder={str(folder)!r} holds no layer-N/run.json; run analyses.trajectory_likelihood first")
    return sorted(found, key=lambda result: (result.parent, layer(result)))


def number(x: Any, digits: int = 2) -> str:
    """Rounded, with the signs of print."""
    return f"{x:.{digits}f}".replace("-", "−").replace("inf", "∞")


def interval(row: Any, name: str, digits: int = 2) -> str:
    """An estimate and its 95 % interval."""
    return f"{number(row[name], digits)} [{number(row[f'{name}_low'], digits)}, {number(row[f'{name}_high'], digits)}]"


def mean(x: Any, digits: int) -> str:
    """Mean ± 1.96 standard errors."""
    return f"{number(x.mean(), digits)} ± {number(1.96 * x.sem(), digits)}"


def t_star(result: Path) -> Rows:
    """Where log p₊ peaks, and how much more of it real positives have."""
    references = pd.read_parquet(result / "references.parquet").query("quantity == 'log_positive'")
    log_p: Any = references.set_index("side")["mean"]
    peaks = {s["method"]: interval(s, "t_star") for s in pd.read_parquet(result / "summary.parquet").to_dict("records")}
    return [{"gap to real positives": number(log_p["positive"] - log_p["negative"], 0), **peaks}]


def declared(result: Path) -> Rows:
    """The methods at the strength declared beforehand; over-steering at the end of the grid."""
    rad = json.loads((result / "run.json").read_text())["settings"]["declared"]
    return [{"method": s["method"], "rad": rad, "Δ log p₊": interval(s, "log_positive_change", 0),
             "Δ log p₋": interval(s, "log_negative_change", 0), "log p₊ rises": interval(s, "rises"),
             "off the data": interval(s, "outside"), "over-steered at the end": interval(s, "over_steered")}
            for s in pd.read_parquet(result / "summary.parquet").to_dict("records")]  # fmt: skip


def prediction(result: Path) -> Rows:
    """How well states rank the texts that come from them; none without a judge."""
    cells = pd.read_parquet(result / "prediction.parquet").to_dict("records")
    found = {(c["predictor"], c["place"], c["scope"], x): interval(c, x) for c in cells for x in ("rho", "auc")}
    return [{"predictor": label, **{column: found.get((predictor, *where), "not in the file")
                                    for column, where in RANKS.items()}}
            for predictor, label in PREDICTORS.items() if found]  # fmt: skip


def posterior(result: Path) -> Rows:
    """What the judge says of the texts; none without a judge."""
    texts = pd.read_parquet(result / "texts.parquet")
    at_rest = texts["method"].isin([UNSTEERED, POSITIVES])
    rows: Rows = []
    for strength, steered in texts[~at_rest].groupby("strength") if "posterior" in texts else ():
        cells = pd.concat([texts[at_rest], steered]).groupby("method", sort=False)["posterior"]
        rows.append({"rad": strength, **{str(method): mean(x, 2) for method, x in cells}})
    return rows


def degeneration(result: Path) -> Rows:
    """Where texts degenerate, beside T*."""
    likely, various = (pd.read_parquet(result / "degeneration.parquet").query(f"quantity == '{q}'").set_index("method")
                       for q in ("log_likelihood", "distinct_2"))  # fmt: skip
    texts = pd.read_parquet(result / "texts.parquet")
    repeated = texts[texts["strength"] == texts["strength"].max()].groupby("method")["repetition"]
    return [{"method": m, "T*": interval(s, "t_star"),
             f"{LESS_LIKELY:g} nat a token less likely at": interval(likely.loc[m], "crossing"),
             f"distinct-2 down by {LESS_DISTINCT:.0%} at": interval(various.loc[m], "crossing"),
             "repetition at the end": mean(repeated.get_group(m), 3)}
            for m, s in pd.read_parquet(result / "summary.parquet").set_index("method").iterrows()]  # fmt: skip


def agreement(result: Path) -> Rows:
    """Correlation / slope of calibrated h on the log-ratio of densities of the direction, all points of all paths."""
    pairs = pd.read_parquet(result / "agreement.parquet").groupby("pair")
    return [{"pair": pair, **{str(a["method"]): f"{number(a['overall_correlation'])} / {number(a['overall_slope'])}"
                              for a in rows.to_dict("records")}} for pair, rows in pairs]  # fmt: skip


def families(result: Path) -> Rows:
    """Lowest and highest T* over the families that p₊ could have been, and how often which method loses least."""
    file = result.parent / "families.csv"
    every: Any = pd.read_csv(file) if file.exists() else pd.DataFrame({"layer": [], "method": []})
    table: Any = every[(every["layer"] == layer(result)) & (every["method"] != PLACEBO)]
    if table.empty:
        return []
    peaks = {m: f"{number(x.min())}–{number(x.max())}" for m, x in table.groupby("method", sort=False)["t_star"]}
    best = table.loc[table.groupby("family")["change"].idxmax(), "method"].value_counts()
    least = ", ".join(f"{method} ({n})" for method, n in best.items())
    return [{"families": table["family"].nunique(), **peaks, "least loss of log p₊, declared strength": least}]


TABLES = {
    "T*: the strength (radians) at which the mean of log p₊ peaks": t_star,
    "At the declared strength": declared,
    "Does the likelihood of a steered state predict the text?": prediction,
    "Mean posterior of the texts ± 1.96 standard errors": posterior,
    "T* against the strength at which text degenerates (radians; ∞: not on the grid)": degeneration,
    "Calibrated h against the directional log-ratio (Pearson correlation / slope)": agreement,
    "T* over the families that p₊ could have been": families,
}


def report(folder: tyro.conf.Positional[Path]) -> str:
    """Every table of the results below `folder`, as Markdown; layers whose files hold no such rows are named."""
    results, parts = find(folder), list[str]()
    for title, rows_of in TABLES.items():
        found = {f"{result.parent.name} {layer(result)}": rows_of(result) for result in results}
        rows = pd.DataFrame([{"model, layer": name, **row} for name, rows in found.items() for row in rows])
        parts += [f"**{title}**", "" if rows.empty else rows.to_markdown(index=False, disable_numparse=True)]
        if missing := [name for name, rows in found.items() if not rows]:
            parts.append(f"No such rows in the files of {', '.join(missing)}.")
    return "\n\n".join(part for part in parts if part)


if __name__ == "__main__":
    print(tyro.cli(report, description=__doc__))
