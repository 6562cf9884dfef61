"""The likelihood study's tables, from the files that its commands wrote: as Markdown, and as numbers beside them.

`python -m analyses.likelihood.report results/likelihood`
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro

from analyses.command import from_command_line
from analyses.labels import current_labels
from analyses.runs import save_report

Rows = list[dict[str, Any]]
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
    return current_labels(pd.read_parquet(result / "summary.parquet")).loc[:, ["method", *columns(*names)]]


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
                         if c["predictor"] in PREDICTORS
                         and (c["of"], c["place"], c["scope"]) == ("score", place, scope)])  # fmt: skip


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
    """An estimate and its 95 % interval; the estimate alone where it has none."""
    if np.isnan(row[f"{name}_low"]):
        return number(row[name], digits)
    return f"{number(row[name], digits)} [{number(row[f'{name}_low'], digits)}, {number(row[f'{name}_high'], digits)}]"


def show_t_star(table: pd.DataFrame) -> Rows:
    """One row a layer, a method a column; the gap is the mean log p₊ of positives less that of negatives, nats."""
    rows = table.to_dict("records")
    return [{"gap to real positives": number(rows[0]["gap"], 0), **{r["method"]: interval(r, "t_star") for r in rows}}]


def show_declared(table: pd.DataFrame) -> Rows:
    """A row a method; changes in nats, the rest shares of prompts."""
    return [{"method": r["method"], "rad": r["rad"], "Δ log p₊": interval(r, "log_positive_change", 0),
             "Δ log p₋": interval(r, "log_negative_change", 0), "log p₊ rises": interval(r, "rises"),
             "off the data at the start": interval(r, "outside_at_start"), "off the data": interval(r, "outside"),
             "over-steered at the end": interval(r, "over_steered")}
            for r in table.to_dict("records")]  # fmt: skip


def show_prediction(table: pd.DataFrame) -> Rows:
    """A row a predictor: rank correlations over prompts; what the files lack is said."""
    found = {(r["predictor"], r["column"]): interval(r, "value") for r in table.to_dict("records")}
    return [{"predictor": label, **{column: found.get((predictor, column), "not in the file") for column in RANKS}}
            for predictor, label in PREDICTORS.items()]  # fmt: skip


#: title: the numbers of a layer, and how its rows are shown
TABLES = {
    "T*: the strength (radians) at which the mean of log p₊ peaks": (t_star, show_t_star),
    "At the declared strength": (declared, show_declared),
    "Does the likelihood of a steered state predict the text?": (prediction, show_prediction),
}  # fmt: skip


def report(folder: tyro.conf.Positional[Path]) -> str:
    """Every table of the results below `folder`, as Markdown; layers whose files hold no such rows are named, and first
    those at which nothing tells the classes apart. The numbers go to `folder`/report, in the place of an earlier
    report."""
    every, kept = find(folder), dict[str, pd.DataFrame]()
    runs: dict[Path, dict[str, Any]] = {result: json.loads((result / "run.json").read_text()) for result in every}
    parts = [f"{result.parent.name} {layer(result)}: nothing is fitted there: {run['nothing']}."
             for result, run in runs.items() if "nothing" in run]  # fmt: skip
    results = [result for result in every if "nothing" not in runs[result]]
    for title, (measured, shown) in TABLES.items():
        found = {(result.parent.name, layer(result)): measured(result) for result in results}
        some = {name: table for name, table in found.items() if len(table)}
        if some:
            named = [table.assign(model=model, layer=n) for (model, n), table in some.items()]
            kept[measured.__name__] = pd.concat(named)
        rows = [{"model, layer": "{} {}".format(*name), **row} for name, table in some.items() for row in shown(table)]
        parts += [f"**{title}**", pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True) if rows else ""]
        if missing := ["{} {}".format(*name) for name in found if name not in some]:
            parts.append(f"No such rows in the files of {', '.join(missing)}.")
    studies = {str(result): run.get("commit") for result, run in runs.items()}
    save_report(folder / "report", kept, {"commits of the studies": studies})
    return "\n\n".join(part for part in parts if part)


@dataclass(frozen=True)
class ReportConfig:
    """Of what the tables are."""

    folder: tyro.conf.Positional[Path]
    """of results, as the likelihood study writes them; the tables go to `report` in it"""


def main(config: ReportConfig) -> None:
    """Write the tables and print them.

    Raises:
        ValueError: there are no results.
    """
    if not config.folder.is_dir() or not find(config.folder):
        raise ValueError(f"folder={str(config.folder)!r} holds no results of the likelihood study; run that first")
    print(report(config.folder))


if __name__ == "__main__":
    sys.exit(from_command_line(ReportConfig, main, __doc__))
