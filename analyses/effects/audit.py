"""The audit of a comparison: all that was measured of every method, one estimate a row, trained beside fitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import odesteer_tl as ode
from analyses.effects.tables import UNSTEERED, groups
from analyses.intervals import with_interval
from odesteer_tl import stats
from odesteer_tl.stats.units import joined

#: what made a method: gradients through the model, or activations alone
TRAINED, FITTED = "trained", "fitted"
#: of one number a prompt, and the unit of each, where prompts are none by themselves
Estimator = Callable[[Any, Any], stats.Estimate]


def _mean(values: Any, units: Any) -> stats.Estimate:
    return stats.mean(values, groups=units, bounds=(0.0, 1.0))


def _share(values: Any, units: Any) -> stats.Estimate:
    return stats.share(values.astype(bool), groups=units)


def _median(values: Any, units: Any) -> stats.Estimate:
    return stats.median(joined(values, units))


#: by name: column, estimator, and whether it is of moved states alone
ESTIMATED: dict[str, tuple[str, Estimator, bool]] = {
    "success": ("success", _share, False),
    "score": ("score", _median, False),
    "parses": ("parses", _share, False),
    "log-likelihood of the text, nats a token": ("log_likelihood", _median, False),
    "repetition": ("repetition", _mean, False),
    "empty": ("empty", _share, False),
    "budget reached": ("reached", _share, False),
    "KL, nats": ("kl", _median, False),
    "KL along the text, nats a token": ("text_kl_mean", _median, False),
    "angle, rad": ("angle", _median, True),
    "curvature of the path, 1/rad": ("path_curvature", _median, True),
    "bend of the path, rad": ("path_bend", _median, True),
    "share explained by the chord": ("chord_share", _median, True),
    "steps admissible for h": ("certified", _mean, True),
    "change of log p+, nats": ("log_positive_change", _median, True),
    "change of log p-, nats": ("log_negative_change", _median, True),
    "off the data": ("outside", _share, True),
    "off the data before": ("outside_before", _share, True),
    "gain at the layer, nats": ("gain_at_layer", _median, True),
    "gain one layer later, nats": ("gain_at_next", _median, True),
    "gain at the last layer, nats": ("gain_at_last", _median, True),
}
#: judged by texts that other prompts may be judged by as well
JUDGED = ("success", "score")
#: the same in all rows of a cell, with no interval; of a fit the median over a method's cells
CONSTANT = {
    "steps taken": "path_steps",
    "processor time of a token": "token_cost",
    "tokens of training data": "data_tokens",
    "tokens read in fitting": "read_tokens",
    "seconds of fitting": "fit_seconds",
}
#: how well the h reads by which steps are admitted
READS = "AUC of h"
#: mean over prompts, each beside itself unsteered
CHANGE = "change of the score from unsteered"
COLUMNS = ("method", "made", "layer", "budget", "level", "measure", "value", "low", "high", "n")


def audit(table: pd.DataFrame) -> pd.DataFrame:
    """What is known of every method, of the test prompts.

    Args:
        table: rows of a comparison at one layer; `unit`, where it is there, says which prompts are judged by the same
            texts: what is judged is then of units.

    Returns:
        A row a method × budget × level × measure: `value` with its 95 % interval `low` to `high` and the number `n` of
        prompts, `made` "trained" (through the model) or "fitted" (on activations alone). What was not measured, or has
        no meaning for a method (the path of one that acts on heads), is left out. Path, densities and gains are of
        prompts whose state is moved. The unsteered model has the budget "none".
    """
    rows = table.query("split == 'test'")
    unsteered = rows.query("label == @UNSTEERED")
    plain = unsteered.set_index("prompt")["score"].astype(float) if len(unsteered) >= stats.LEAST else None
    found: list[dict[str, Any]] = []
    for (label, budget, level), cell in groups(rows, ["label", "budget", "level"]):
        first: dict[str, Any] = cell.iloc[0].to_dict()
        layer = int(first["layer"])
        key = {"method": label, "made": made(str(first["method"])), "layer": layer, "budget": budget,
               "level": level}  # fmt: skip
        found += [{**key, **one} for one in _estimates(_with_gains(cell, layer))]
        if label != UNSTEERED and plain is not None:
            score = cell.set_index("prompt")["score"].astype(float)
            change = stats.paired_difference(score, plain.loc[score.index], groups=cell.get("unit"))
            found.append({**key, "measure": CHANGE, **vars(change)})
    return pd.DataFrame(found, columns=list(COLUMNS))


def made(method: str) -> str:
    """How a method is made; "" of no method."""
    return ode.METHODS[method].made if method in ode.METHODS else ""


def summary(found: pd.DataFrame, budget: str, level: float, refused: pd.DataFrame | None = None) -> pd.DataFrame:
    """A row a method for reading, in order of success: value and interval of every measure at one level.

    Costs of fits, which have no level, are their medians over all cells. What `refused` (`label`, `method`, `why`)
    stands last.
    """
    at = found.query("(budget == @budget and level == @level) or method == @UNSTEERED")
    costs: dict[Any, float] = (
        found[found["measure"].isin(list(CONSTANT))].groupby(["method", "measure"])["value"].median().to_dict()
    )
    said: dict[str, dict[str, str]] = {}
    records: list[dict[str, Any]] = at.to_dict("records")
    # the best first, then those of equal success in the order of the study
    best = {row["method"]: -row["value"] for row in records if row["measure"] == "success"}
    for row in sorted(records, key=lambda row: best[row["method"]]):
        cost = costs.get((row["method"], row["measure"]))
        cells = said.setdefault(row["method"], {"method": row["method"], "made": row["made"]})
        cells[row["measure"]] = _said(row) if cost is None else f"{cost:,.3g}" if cost < 1e3 else f"{cost:,.0f}"
    for row in () if refused is None else refused.to_dict("records"):
        own = {"method": row["label"], "made": made(row["method"]), "success": f"refused: {row['why']}"}
        said.setdefault(row["label"], own)
    names = dict.fromkeys(("method", "made", "success", CHANGE, *ESTIMATED, READS, *CONSTANT))
    wide = pd.DataFrame(list(said.values()))
    return wide[[name for name in names if name in wide]].fillna("").set_index(["method", "made"])


def equal_budget(found: pd.DataFrame) -> str:
    """Whether all methods were given the same texts, in a sentence; empty where it was not measured."""
    data = found.query("measure == 'tokens of training data'")["value"].to_numpy(dtype=float)
    if not len(data):
        return ""
    if data.min() < data.max():
        return f"WARNING: methods were given {data.min():,.0f} to {data.max():,.0f} tokens of training data"
    read = found.query("measure == 'tokens read in fitting' and made == @TRAINED")["value"].to_numpy(dtype=float)
    more = f"; trained methods read them {np.median(read) / data[0]:.1f} times (median)" if len(read) else ""
    return f"Equal budget: every method, trained or fitted, was given the same {data[0]:,.0f} tokens of texts{more}"


def _estimates(cell: pd.DataFrame) -> list[dict[str, Any]]:
    # (of an arm that has no path at this layer it is not known which states moved)
    known = _measured(cell, "displacement")
    moved = cell.query("displacement > 0") if known else cell
    found: list[dict[str, Any]] = []
    for name, (column, estimator, of_moved) in ESTIMATED.items():
        rows = moved if of_moved else cell
        if _measured(rows, column):
            values = rows[column].dropna()
            units = rows.loc[values.index, "unit"] if column in JUDGED and "unit" in rows else None
            found.append({"measure": name, **vars(estimator(values.to_numpy(dtype=float), units))})
    first: dict[str, Any] = cell.iloc[0].to_dict()
    if _measured(cell, "probe_auc"):
        low, high = first["probe_auc_low"], first["probe_auc_high"]
        found.append({"measure": READS, "value": first["probe_auc"], "low": low, "high": high})
    for name, column in CONSTANT.items():
        if first["label"] != UNSTEERED and _measured(cell, column):
            middle = float(np.nanmedian(cell[column].to_numpy(dtype=float)))
            found.append({"measure": name, "value": middle, "low": np.nan, "high": np.nan})
    return found


def _measured(rows: pd.DataFrame, column: str) -> bool:
    return column in rows and bool(rows[column].notna().to_numpy().any())


def _with_gains(cell: pd.DataFrame, layer: int) -> pd.DataFrame:
    """The gains in the layers that every study has: the steered one, the next and the last."""
    last = max((int(str(c).removeprefix("gain_at_")) for c in cell if str(c).startswith("gain_at_")), default=-1)
    if last < 0 or layer < 0:
        return cell
    names = {"layer": layer, "next": min(layer + 1, last), "last": last}
    # (a layer with nothing to read has no barrier, and no gain)
    found = {f"gain_at_{name}": cell[f"gain_at_{j}"] for name, j in names.items() if f"gain_at_{j}" in cell}
    return cell.assign(**found)


def _said(row: dict[str, Any]) -> str:
    if np.isnan(row["low"]):
        return f"{row['value']:.3g}"
    return with_interval(row["value"], row["low"], row["high"], ".3g")
