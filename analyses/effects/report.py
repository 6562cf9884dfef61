"""What a layer study found: its tables for reading, and the folder that figures are drawn from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.effects import tables
from analyses.effects.prediction import layer_picks
from analyses.runs import save_run
from odesteer_tl import stats

#: declared before looking: does a path of many steps, or the best possible point, do more than one step, or than CAA?
PAIRS = (("Euler-10", "one geodesic step"), ("flow", "one geodesic step"), ("certified", "flow"),
         ("optimal cap", "one geodesic step"), ("flow", "CAA"), ("flow", "random direction"))  # fmt: skip
#: in units of success, declared: a smaller difference does not matter
MARGIN = 0.05
PICKED_FOR = ("CAA", "flow")


@dataclass(frozen=True, eq=False)
class LayerReport:
    """Tables of a layer study, all of the test prompts.

    Attributes:
        layers: success and cost, an arm × layer × budget × level a row (`method` is the arm's label).
        frontier: the same at the middle layer alone, where the outcome also says whether texts parse; else empty.
        chosen: layer and level chosen on the select prompts, with the naive figure beside it.
        areas: area under success over log KL, by layer. contrasts: declared differences, Holm over all of them.
        differences: `contrasts` summed up over layers and levels.
        anti_steerable: by layer and arm. picks: what picking the layer by an indicator costs. survival: gain by layer.
    """

    layers: pd.DataFrame
    frontier: pd.DataFrame
    chosen: pd.DataFrame
    areas: pd.DataFrame
    contrasts: pd.DataFrame
    differences: pd.DataFrame
    anti_steerable: pd.DataFrame
    picks: pd.DataFrame
    survival: pd.DataFrame

    @classmethod
    def of(cls, table: pd.DataFrame, concept: str) -> LayerReport:
        """Summarise a finished study; the level of a budget that stands for it is the middle one."""
        steered = table.query("label != 'unsteered'")
        layers = sorted(int(layer) for layer in set(steered["layer"]))
        labels = set(steered["label"])
        pairs = [pair for pair in PAIRS if labels.issuperset(pair)]
        level = middle(steered, "kl")
        central = table.loc[table["layer"] == layers[len(layers) // 2]]
        area = [tables.areas(table, layer, "one geodesic step", MARGIN).assign(layer=layer) for layer in layers]
        picks = [layer_picks(table, label, "kl", level).assign(arm=label) for label in PICKED_FOR if label in labels]
        budgets = dict.fromkeys(str(budget) for budget in steered["budget"])
        declared = pd.concat([tables.contrasts(table, b, pairs, MARGIN).assign(budget=b) for b in budgets])
        declared = declared.assign(p_holm=stats.holm(declared["p"]))
        survived = tables.survival(table, "flow", "kl", level)
        return cls(
            tables.profile(table).rename(columns={"label": "method"}),
            tables.frontier(central, concept) if "parses" in table else pd.DataFrame(),
            tables.choices(table),
            pd.concat(area, ignore_index=True),
            declared,
            differences(declared),
            tables.anti_steerable(table, "kl"),
            pd.concat(picks, ignore_index=True),
            survived.rename(columns=str).reset_index(),
        )

    def save(self, folder: Path, run: Mapping[str, Any]) -> Path:
        """Write the tables as parquet beside `run.json`, in the place of an earlier report."""
        if folder.exists():
            shutil.rmtree(folder)
        return save_run(folder, {name: table for name, table in vars(self).items() if len(table)}, run)

    def __str__(self) -> str:
        parts = {
            "Success by layer, at the middle level of KL": self._profile(),
            "Layer and level chosen on other prompts": self._chosen(),
            "Area under success over log KL": self._areas(),
            f"Declared differences (Holm over all; equivalent within {MARGIN:g})": self.differences.set_index("budget"),
            "Share of prompts whose score falls": _wide(self.anti_steerable, "anti_steerable"),
            "Picking the layer by one indicator": self._picks(),
            "Calibrated gain of the flow by layer looked at (nats, median)": self.survival.set_index("layer"),
        }
        return "\n\n".join(f"{title}\n\n{found.to_markdown(floatfmt='.3f')}" for title, found in parts.items())

    def _profile(self) -> pd.DataFrame:
        rows = self.layers.loc[self.layers["level"] == middle(self.layers, "kl")].query("budget == 'kl'")
        names = {"method": "label", "success_low": "low", "success_high": "high"}
        return _wide(rows.rename(columns=names), "success")

    def _chosen(self) -> pd.DataFrame:
        rows = self.chosen
        bands = zip(rows["band_low"], rows["band_high"], strict=True)
        return pd.DataFrame({
            "arm": rows["label"], "budget": rows["budget"], "layer": rows["layer"], "level": rows["level"],
            "success and parses, on test": _intervals(rows, "success", "low", "high"),
            "max-t band": [f"[{a:.2f}, {b:.2f}]" for a, b in bands],
            "naive": rows["naive"], "naive layer": rows["naive_layer"], "N": rows["n"],
        }).set_index("arm")  # fmt: skip

    def _areas(self) -> pd.DataFrame:
        return _wide(self.areas, "area")

    def _picks(self) -> pd.DataFrame:
        rows = self.picks
        return pd.DataFrame({
            "arm": rows["arm"], "picked by": rows["picked by"], "layer": rows["layer"],
            "success": _intervals(rows, "success", "low", "high"),
            "regret": _intervals(rows, "regret", "regret_low", "regret_high"),
            "rank correlation over layers": rows["rank_correlation"],
        }).set_index("arm")  # fmt: skip


def differences(contrasts: pd.DataFrame) -> pd.DataFrame:
    """A row a budget and pair of arms: range and median of the differences over layers and levels, and how many cells
    are significant after Holm's correction and how many equivalent."""
    rows = contrasts.assign(significant=contrasts["p_holm"] < 0.05)
    found = rows.groupby(["budget", "first", "second"], sort=False).agg(
        cells=("n", "size"), least=("difference", "min"), median=("difference", "median"),
        most=("difference", "max"), significant=("significant", "sum"), equivalent=("equivalent", "sum"),
    )  # fmt: skip
    return found.reset_index()


def middle(table: pd.DataFrame, budget: str) -> float:
    """The middle level of a budget (the lower of two)."""
    levels = sorted(float(level) for level in set(table.query("budget == @budget")["level"]))
    return levels[(len(levels) - 1) // 2]


def _intervals(rows: pd.DataFrame, value: str, low: str, high: str) -> list[str]:
    return [f"{v:.3f} [{a:.3f}, {b:.3f}]" for v, a, b in zip(rows[value], rows[low], rows[high], strict=True)]


def _wide(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Arms × layers, each with its interval."""
    shown = rows.assign(shown=_intervals(rows, value, "low", "high"))
    wide = shown.pivot(index="label", columns="layer", values="shown")
    return wide.loc[list(dict.fromkeys(rows["label"]))].rename(columns=lambda layer: f"layer {layer}")
