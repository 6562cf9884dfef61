"""Tables of a layer study as they are read: numbers with their intervals as text, methods × layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from analyses.effects import tables
from analyses.intervals import interval, with_intervals

#: levels of strength of which each has its rows in the tables by layer; of more, the middle one alone
SHOWN = 3
#: significant cells that are named; of more, how many
LISTED = 6
#: a budget in words, and the unit behind a level
NAMED = {"kl": ("KL", " nats"), "angle": ("angle", " rad"), "displacement": ("displacement", "")}


class Levels(NamedTuple):
    """The budget of the tables by layer, its levels that are shown, and among which where not all are."""

    budget: str
    levels: list[float]
    among: str

    @classmethod
    def of(cls, layers: pd.DataFrame) -> Levels:
        """Of a report's `layers`."""
        steered = layers.query("method != 'unsteered'")
        budget = "kl" if "kl" in set(steered["budget"]) else str(steered["budget"].iloc[0])
        levels = sorted(set(steered.loc[steered["budget"] == budget, "level"]))
        if len(levels) <= SHOWN:
            return cls(budget, levels, "")
        return cls(budget, [middle(steered, budget)], f" (of the levels {', '.join(map('{:g}'.format, levels))})")


def middle(table: pd.DataFrame, budget: str, upper: bool = True) -> float:
    """The middle level of a budget; of an even number of levels the upper of the two in the middle, or the lower."""
    levels = sorted(float(level) for level in set(table.query("budget == @budget")["level"]))
    return levels[(len(levels) - (not upper)) // 2]


def success(layers: pd.DataFrame, refused: pd.DataFrame) -> pd.DataFrame:
    """Success with its interval; what was refused says so."""
    rows = layers.assign(shown=with_intervals(layers, "success"))
    steered, (budget, levels, _) = rows.query("method != 'unsteered'"), Levels.of(layers)
    seen = set(steered["layer"])
    missing = [{"method": row["label"], "layer": row["layer"], "budget": budget, "level": level, "shown": "refused"}
               for row in refused.to_dict("records") if row["layer"] in seen for level in levels]  # fmt: skip
    plain = rows.query("method == 'unsteered'")["shown"]
    return by_layer(pd.concat([steered, pd.DataFrame(missing)]), "shown", plain, Levels.of(layers)).fillna("–")


def means(layers: pd.DataFrame, name: str) -> pd.DataFrame:
    """A column of the profile; empty where it was not measured."""
    if name not in layers:
        return pd.DataFrame()
    steered, plain = (layers.query(f"method {sign} 'unsteered'") for sign in ("!=", "=="))
    return by_layer(steered, name, plain[name], Levels.of(layers))


def changed(changes: pd.DataFrame, levels: Levels) -> pd.DataFrame:
    """Of the unsteered model, of which this is the change, it is 0."""
    if not len(changes):
        return changes
    rows = changes.assign(shown=with_intervals(changes, "change"))
    return by_layer(rows.rename(columns={"label": "method"}), "shown", ["0"], levels).fillna("–")


def by_layer(rows: pd.DataFrame, value: str, plain: Iterable[object], at: Levels) -> pd.DataFrame:
    """Arms × layers at the levels shown, each a row where there are several; first what unsteered has."""
    rows = rows.loc[(rows["budget"] == at.budget) & rows["level"].isin(at.levels)]
    # an arm on several layers stands at the last of them alone
    wide = rows.pivot(index=["method", "level"], columns="layer", values=value)
    order = [(name, level) for name in dict.fromkeys(rows["method"]) for level in at.levels]
    wide = wide.reindex(pd.MultiIndex.from_tuples(order)).rename(columns=lambda layer: f"layer {layer}")
    first = [pd.DataFrame(each, index=["unsteered"], columns=wide.columns) for each in plain]
    found = pd.concat([*first, wide.droplevel(1)]).rename_axis("method")
    if len(at.levels) > 1:
        found.insert(0, NAMED[at.budget][0], ["–"] * len(first) + [f"{level:g}" for _, level in order])
    return found


def chosen(rows: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """What was chosen on other prompts, and what was not."""
    plain = layers.query("method == 'unsteered'")
    success = "success and parses, on test" if "parses" in layers else "success, on test"
    bands = zip(rows["band_low"], rows["band_high"], strict=True)
    select = zip(rows["on_select"], rows["tied"], strict=True)
    naive = rows[["naive", "naive_layer", "naive_level"]].itertuples(index=False)
    lost, aside = rows["lost"].notna().to_numpy().any(), rows["aside_layer"].notna().to_numpy().any()
    found = pd.DataFrame({
        "method": rows["label"], "budget": rows["budget"],
        "layer": rows["layer"].map(str), "level": rows["level"].map("{:g}".format),
        "on select": [f"{x:.3f}" + (f", as {n} other{'s' * (n > 1)}" if n else "") for x, n in select],
        **({"lost on select": [nats(x) for x in rows["lost"]]} if lost else {}),
        "next on select": _cells(rows, "next"),
        **({"set aside, as it loses more": _cells(rows, "aside")} if aside else {}),
        success: with_intervals(rows, "success"),
        **({"lost on test": [nats(x) for x in rows["lost_on_test"]]} if lost else {}),
        "max-t band": [interval(*ends, ".2f") for ends in bands],
        "naive": [f"{x:.3f}, layer {layer} at {level:g}" for x, layer, level in naive], "N": rows["n"],
    }).set_index("method")  # fmt: skip
    shown = with_intervals(plain, "success")
    first = pd.DataFrame({success: shown, "N": plain["n"].tolist()}, index=["unsteered"] * len(plain))
    return pd.concat([first, found]).loc[:, list(found)].astype(object).fillna("–").rename_axis("method")


def _cells(rows: pd.DataFrame, name: str) -> list[str]:
    """What `tables.choices` says of a cell: its success on the select prompts, where it is, and what it loses."""
    each = rows[[f"{name}_on_select", f"{name}_layer", f"{name}_level", f"{name}_lost"]].itertuples(index=False)
    return [
        f"{x:.3f}, layer {layer:.0f} at {level:g}" + (f", lost {nats(lost)}" if pd.notna(lost) else "")
        if pd.notna(x) else "–" for x, layer, level, lost in each
    ]  # fmt: skip


def at_chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """Of `tables.at_chosen`: how much more succeeds than unsteered and than the placebo, and whether that is shown."""
    if not len(rows):
        return rows
    return pd.DataFrame({
        "method": rows["label"], "budget": rows["budget"],
        "cell": [f"layer {layer} at {level:g}" for layer, level in zip(rows["layer"], rows["level"], strict=True)],
        "less": rows["second"],
        "difference": with_intervals(rows, "difference", "+.3f"),
        "p": [pvalue(p) for p in rows["p_holm"]],
        "more": [verdict(*row) for row in zip(rows["difference"], rows["p_holm"], strict=True)],
        "N": rows["n"],
    }).set_index("method")  # fmt: skip


def differences(contrasts: pd.DataFrame) -> pd.DataFrame:
    """A row a budget and pair of arms: range and median of the differences over layers and levels, and how many cells
    are significant after Holm's correction, which (up to `LISTED`), and how many equivalent."""
    if not len(contrasts):
        return pd.DataFrame()
    rows = contrasts.assign(significant=contrasts["p_holm"] < tables.ALPHA)
    pairs = rows.groupby(["budget", "first", "second"], sort=False)
    found = pairs.agg(
        cells=("n", "size"), least=("difference", "min"), median=("difference", "median"),
        most=("difference", "max"), significant=("significant", "sum"), equivalent=("equivalent", "sum"),
    )  # fmt: skip
    found.insert(5, "where", [_where(cells.loc[cells["significant"]]) for _, cells in pairs])
    return found.reset_index()


def _where(cells: pd.DataFrame) -> str:
    """Layers and levels, if they are not too many to be read."""
    if not 0 < len(cells) <= LISTED:
        return "–"
    by = cells.assign(level=cells["level"].map("{:g}".format)).groupby("layer")["level"].agg(", ".join)
    return "; ".join(f"layer {layer} at {levels}" for layer, levels in by.items())


def picked(rows: pd.DataFrame) -> pd.DataFrame:
    """The layer by each indicator, and what that costs."""
    return pd.DataFrame({
        "method": rows["arm"], "picked by": rows["picked by"], "layer": rows["layer"],
        "success": with_intervals(rows, "success"),
        "regret": with_intervals(rows, "regret"),
        "rank correlation over layers": rows["rank_correlation"],
    }).set_index("method")  # fmt: skip


def wide(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Arms × layers, each with its interval."""
    if not len(rows):
        return rows
    shown = rows.assign(shown=with_intervals(rows, value))
    found = shown.pivot(index="label", columns="layer", values="shown")
    # an arm on several layers stands at the last of them alone
    found = found.loc[list(dict.fromkeys(rows["label"]))].fillna("–").rename_axis("method")
    return found.rename(columns=lambda layer: f"layer {layer}")


def verdict(difference: float, p: float) -> str:
    """Whether a difference is shown."""
    return "not shown" if p >= tables.ALPHA else "yes" if difference > 0 else "below"


def pvalue(p: float) -> str:
    """Three digits, or that it is smaller."""
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"


def unless_zero(found: pd.DataFrame) -> pd.DataFrame:
    """A table that says more than 0."""
    return found if found.select_dtypes("number").to_numpy().any() else pd.DataFrame()


def nats(lost: float) -> str:
    """Of fluency: two digits, or a dash."""
    return f"{lost:.2f}" if pd.notna(lost) else "–"
