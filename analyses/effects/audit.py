"""The audit of a comparison: all that was measured of every method, one estimate a row, trained beside fitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import odesteer_tl as ode
from analyses.effects.tables import UNSTEERED
from odesteer_tl import stats

#: what made a method: gradients through the model, or activations alone
TRAINED, FITTED = "trained", "fitted"
PLACEBO = "random"
#: of one number a prompt
Estimator = Callable[[Any], stats.Estimate]


def _mean(values: Any) -> stats.Estimate:
    return stats.mean(values, bounds=(0.0, 1.0))


#: by name: column, estimator, and whether it is of moved states alone
ESTIMATED: dict[str, tuple[str, Estimator, bool]] = {
    "success": ("success", stats.share, False),
    "score": ("score", stats.median, False),
    "parses": ("parses", stats.share, False),
    "log-likelihood of the text, nats a token": ("log_likelihood", stats.median, False),
    "repetition": ("repetition", _mean, False),
    "empty": ("empty", stats.share, False),
    "budget reached": ("reached", stats.share, False),
    "KL, nats": ("kl", stats.median, False),
    "KL along the text, nats a token": ("text_kl_mean", stats.median, False),
    "angle, rad": ("angle", stats.median, True),
    "curvature of the path, 1/rad": ("path_curvature", stats.median, True),
    "bend of the path, rad": ("path_bend", stats.median, True),
    "share explained by the chord": ("chord_share", stats.median, True),
    "steps admissible for h": ("certified", _mean, True),
    "change of log p+, nats": ("log_positive_change", stats.median, True),
    "change of log p-, nats": ("log_negative_change", stats.median, True),
    "off the data": ("outside", stats.share, True),
    "off the data before": ("outside_before", stats.share, True),
    "gain at the layer, nats": ("gain_at_layer", stats.median, True),
    "gain one layer later, nats": ("gain_at_next", stats.median, True),
    "gain at the last layer, nats": ("gain_at_last", stats.median, True),
}
#: the same in all rows of a cell, with no interval; of a fit the median over a method's cells
CONSTANT = {
    "steps taken": "path_steps",
    "processor time of a token": "token_cost",
    "tokens of training data": "data_tokens",
    "tokens read in fitting": "read_tokens",
    "seconds of fitting": "fit_seconds",
}
COLUMNS = ("method", "made", "layer", "budget", "level", "measure", "value", "low", "high", "n")


def audit(table: pd.DataFrame) -> pd.DataFrame:
    """What is known of every method, of the test prompts.

    Args:
        table: rows of a comparison at one layer.

    Returns:
        A row a method × budget × level × measure: `value` with its 95 % interval `low` to `high` and the number `n` of
        prompts, `made` "trained" (through the model) or "fitted" (on activations alone). What was not measured, or has
        no meaning for a method (the path of one that acts on heads), is left out. Path, densities and gains are of
        prompts whose state is moved. The unsteered model has the budget "none".
    """
    rows = table.query("split == 'test'")
    found: list[dict[str, Any]] = []
    for (label, budget, level), cell in rows.groupby(["label", "budget", "level"], sort=False):
        layer = int(cell["layer"].iloc[0])
        key = {"method": label, "made": made(str(cell["method"].iloc[0])), "layer": layer, "budget": budget,
               "level": level}  # fmt: skip
        found += [{**key, **one} for one in _estimates(_with_gains(cell, layer))]
    return pd.DataFrame(found, columns=list(COLUMNS))


def made(method: str) -> str:
    """How a method is made; "" of no method."""
    if method not in ode.METHODS:
        return ""
    return FITTED if ode.METHODS[method].train is None else TRAINED


def summary(found: pd.DataFrame, budget: str, level: float) -> pd.DataFrame:
    """A row a method for reading, in order of success: value and interval of every measure at one level.

    Costs of fits, which have no level, are their medians over all cells.
    """
    at = found.query("(budget == @budget and level == @level) or method == @UNSTEERED")
    text = [_said(row) for row in at.to_dict("records")]
    wide = at.assign(text=text).pivot(index=["method", "made"], columns="measure", values="text")
    costs = found[found["measure"].isin(list(CONSTANT))].groupby(["method", "measure"])["value"].median()
    for (method, measure), value in costs.items():  # pyright: ignore[reportGeneralTypeIssues]
        wide.loc[wide.index.get_level_values(0) == method, measure] = (
            f"{value:,.3g}" if value < 1e3 else f"{value:,.0f}"
        )
    order = at[at["measure"] == "success"].sort_values("value", ascending=False, kind="stable")
    known = [name for name in (*ESTIMATED, "AUC of h", *CONSTANT) if name in wide]
    return wide.loc[[(row.method, row.made) for row in order.itertuples()], known].fillna("")


def equal_budget(found: pd.DataFrame) -> str:
    """Whether all methods were given the same texts, in a sentence; empty where it was not measured."""
    data = found.loc[found["measure"] == "tokens of training data", "value"].unique()
    if not len(data):
        return ""
    read = found.loc[(found["measure"] == "tokens read in fitting") & (found["made"] == TRAINED), "value"]
    more = f"; trained methods read them {read.median() / data[0]:.1f} times (median)" if len(read) else ""
    if len(data) > 1:
        return f"WARNING: methods were given {min(data):,.0f} to {max(data):,.0f} tokens of training data"
    return f"Equal budget: every method, trained or fitted, was given the same {data[0]:,.0f} tokens of texts{more}"


def _estimates(cell: pd.DataFrame) -> list[dict[str, Any]]:
    # (of an arm that has no path at this layer it is not known which states moved)
    known = "displacement" in cell and cell["displacement"].notna().any()
    moved = cell[cell["displacement"] > 0] if known else cell
    found: list[dict[str, Any]] = []
    for name, (column, estimator, of_moved) in ESTIMATED.items():
        rows = moved if of_moved else cell
        values = rows[column].dropna() if column in rows else pd.Series(dtype=float)
        if len(values):
            one = estimator(values.astype(bool if estimator is stats.share else float).to_numpy())
            found.append({"measure": name, "value": one.value, "low": one.low, "high": one.high, "n": one.n})
    if "probe_auc" in cell and cell["probe_auc"].notna().any():
        ends = cell[["probe_auc", "probe_auc_low", "probe_auc_high"]].iloc[0]
        found.append(dict(zip(("measure", "value", "low", "high"), ("AUC of h", *ends), strict=True)))
    steered = cell["label"].iloc[0] != UNSTEERED
    for name, column in CONSTANT.items():
        if steered and column in cell and cell[column].notna().any():
            found.append({"measure": name, "value": float(cell[column].median()), "low": np.nan, "high": np.nan})
    return found


def _with_gains(cell: pd.DataFrame, layer: int) -> pd.DataFrame:
    """The gains in the layers that every study has: the steered one, the next and the last."""
    last = max((int(str(c).removeprefix("gain_at_")) for c in cell if str(c).startswith("gain_at_")), default=-1)
    if last < 0 or layer < 0:
        return cell
    names = {"layer": layer, "next": min(layer + 1, last), "last": last}
    return cell.assign(**{f"gain_at_{name}": cell[f"gain_at_{j}"] for name, j in names.items()})


def _said(row: dict[str, Any]) -> str:
    if np.isnan(row["low"]):
        return f"{row['value']:.3g}"
    return f"{row['value']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"
