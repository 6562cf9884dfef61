"""Profiles: what every arm does at every layer, budget and level, and how far that is from nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analyses.effects.tables.rows import CELL, PROBE, UNSTEERED, groups
from analyses.effects.units import by_unit
from odesteer_tl import stats

#: summarised over a cell's prompts by the median, and by the mean
MEDIANS = ("kl", "kl_all_positions", "kl_neutral", "nbf", "perplexity", "log_likelihood",
           "angle", "displacement", "norm_ratio", "gain",
           "efficiency", "ceiling_share", "slack", "curvature_angle", "log_positive_change", "log_ratio_change",
           "gain_all_positions")  # fmt: skip
SHARES = ("reached", "parses", "outside", "certified", "empty", "repetition", "score")
#: prompts that the interval of a mean takes
LEAST = 5


def profile(table: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """One row an arm × layer × budget × level: success with its exact interval, and medians over prompts.

    Returns:
        `CELL`, `success`, `success_low`, `success_high`, `n`; means of `score`, and of texts' `repetition` and the
        share that is `empty`; `parses` (share, where the outcome says so); medians of cost and geometry; `reached`
        (share of prompts that could spend the budget); the probe's figures. What was not measured is left out.
    """
    rows: list[dict[str, Any]] = []
    for key, cell in groups(table.query("split == @split"), CELL):
        success = stats.share(cell["success"], groups=cell.get("unit"))
        last = [c for c in cell if str(c).startswith("gain_at_")][-1:]
        rows.append(
            {
                **dict(zip(CELL, key, strict=True)),
                "success": success.value, "success_low": success.low, "success_high": success.high, "n": success.n,
                **{name: by_unit(cell.set_index("prompt")[name].astype(float), cell).mean() for name in SHARES
                   if name in cell},
                **{name: cell[name].median() for name in [*MEDIANS, *last] if name in cell},
                **{name: cell[name].iloc[0] for name in PROBE if name in cell},
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """How much each arm changes the score of the test prompts, prompt by prompt, against the unsteered model.

    Where success is at its end the score, such as log-odds, may still have.

    Returns:
        `CELL`, `change` (mean) with its interval `low` to `high`, and `n`; nothing where unsteered was not measured, or
        on fewer prompts than an interval takes.
    """
    rows = table.query("split == 'test'")
    plain = rows.loc[rows["label"] == UNSTEERED].set_index("prompt")["score"].astype(float)
    found: list[dict[str, Any]] = []
    for key, cell in groups(rows.loc[rows["label"] != UNSTEERED], CELL) if len(plain) >= LEAST else ():
        score = cell.set_index("prompt")["score"].astype(float)
        change = stats.paired_difference(score, plain.loc[score.index], groups=cell.get("unit"))
        found.append({**dict(zip(CELL, key, strict=True)), "change": change.value, "low": change.low,
                      "high": change.high, "n": change.n})  # fmt: skip
    return pd.DataFrame(found)


def with_score_intervals(cells: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """`profile` with the interval of the mean score, `score_low` to `score_high`; NaN: nothing is known of that end.

    As it is where the score is success, whose exact interval it has.
    """
    rows = table.query("split == 'test'").astype({"score": float})
    if rows["score"].equals(rows["success"].astype(float)):
        return cells
    means = [stats.mean(cell["score"], groups=cell.get("unit")) for _, cell in groups(rows, CELL)]
    known = [[end if np.isfinite(end) else np.nan for end in (mean.low, mean.high)] for mean in means]
    return cells.join(pd.DataFrame(known, cells.index, ["score_low", "score_high"]))


def frontier(table: pd.DataFrame, concept: str) -> pd.DataFrame:
    """`profile` of the test prompts with `method`, `concept`, and the median KL with its exact interval.

    Unsteered stands first, with a KL of 0.
    """
    steered = table.query("label != 'unsteered'")
    cells = steered.query("split == 'test'").groupby(CELL, sort=False)["kl"]
    kl = [stats.median(values) for _, values in cells]
    found = profile(steered).rename(columns={"label": "method"})
    spent = {"kl": [e.value for e in kl], "kl_low": [e.low for e in kl], "kl_high": [e.high for e in kl]}
    found = found.assign(concept=concept, **spent)
    plain = table.loc[table["label"] == UNSTEERED]
    if not len(plain):
        return found
    first = profile(plain).rename(columns={"label": "method"}).assign(concept=concept, kl=0.0, kl_low=0.0, kl_high=0.0)
    return pd.concat([first, found], ignore_index=True)


def survival(table: pd.DataFrame, label: str, budget: str, level: float) -> pd.DataFrame:
    """Median calibrated gain by layer steered (rows) and layer looked at (columns), nats; test prompts."""
    rows = table.query("split == 'test' and label == @label and budget == @budget and level == @level")
    columns = [c for c in rows if str(c).startswith("gain_at_")]
    found = {int(str(c).removeprefix("gain_at_")): rows.groupby("layer")[c].median() for c in columns}
    return pd.DataFrame(found)
