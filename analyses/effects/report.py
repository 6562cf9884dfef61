"""What a layer study found: its tables for reading, and the folder that figures are drawn from."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from textwrap import indent
from typing import Any

import pandas as pd

from analyses.effects import tables
from analyses.effects.arms import PLACEBO
from analyses.effects.prediction import layer_picks
from analyses.intervals import with_intervals
from analyses.runs import save_run
from odesteer_tl import stats

#: declared before looking: does a path of many steps, or the best possible point, do more than one step, or than CAA?
PAIRS = (("Euler-10", "one geodesic step"), ("flow", "one geodesic step"), ("certified", "flow"),
         ("optimal cap", "one geodesic step"), ("flow", "CAA"), ("flow", "random direction"))  # fmt: skip
#: in units of success, declared: a smaller difference does not matter
MARGIN = 0.05
#: below it a corrected p is significant
ALPHA = 0.05
PICKED_FOR = ("CAA", "flow")
#: levels of strength of which each has its rows in the tables by layer; of more, the middle one alone
SHOWN = 3
#: a budget in words, and the unit behind a level
NAMED = {"kl": ("KL", " nats"), "angle": ("angle", " rad"), "displacement": ("displacement", "")}
#: above the lines that use what was chosen, and those that show its texts
USE = "To steer by what was chosen:"
READ = "To read texts, first the unsteered ones that the judge counts, then those of what was chosen:"
#: said where intervals are first shown
OVERLAP = "95 % intervals: that two overlap does not say that there is no effect; the differences, prompt by prompt, do"
#: said where the column is shown
LOST = ("Lost: by how many nats a token the unsteered model finds the texts less likely than its own, median over the "
        "select prompts; half a nat is a text that reads otherwise, one nat often a broken one")  # fmt: skip
#: arms to whose area the others' are compared: the first that was run
REFERENCES = ("one geodesic step", "flow", "CAA", "random direction")


@dataclass(frozen=True, eq=False)
class LayerReport:
    """Tables of a layer study, all of the test prompts.

    Attributes:
        layers: success, score and cost, an arm × layer × budget × level a row (`method` is the arm's label).
        frontier: the same at the middle layer alone, where the outcome also says whether texts parse; else empty.
        changes: of the score from the unsteered model's, by cell.
        chosen: layer and level chosen on the select prompts, with the naive figure beside it.
        areas: area under success over log KL, by layer. contrasts: declared differences, Holm over all of them.
        differences: `contrasts` summed up over layers and levels.
        anti_steerable: by layer and arm. picks: what picking the layer by an indicator costs. survival: gain by layer.
        room: what unsteered texts leave to be gained.
        advice: what to ask next where nothing that was chosen raises success, else empty.
        code: what was chosen as lines of Python, where something was. reading: lines that show its texts, where any
            were written.
        refused: `layer`, `label`, `method` and `why` of what could not be fitted.

    A table for which nothing was measured is empty.
    """

    layers: pd.DataFrame
    frontier: pd.DataFrame
    changes: pd.DataFrame
    chosen: pd.DataFrame
    areas: pd.DataFrame
    contrasts: pd.DataFrame
    differences: pd.DataFrame
    anti_steerable: pd.DataFrame
    picks: pd.DataFrame
    survival: pd.DataFrame
    room: str
    advice: str = ""
    code: str = ""
    reading: str = ""
    refused: pd.DataFrame = field(default_factory=pd.DataFrame)

    @classmethod
    def of(cls, table: pd.DataFrame, concept: str) -> LayerReport:
        """Summarise a finished study; the level of a budget that stands for it is the middle one (`middle`).

        Raises:
            ValueError: nothing was steered.
        """
        steered = table.query("label != 'unsteered'")
        if not len(steered):
            raise ValueError("table has no steered rows; give the study a level of some budget")
        layers = sorted(int(layer) for layer in set(steered["layer"]))
        labels = list(dict.fromkeys(map(str, steered["label"])))
        budgets = list(dict.fromkeys(str(budget) for budget in steered["budget"]))
        budget = "kl" if "kl" in budgets else budgets[0]
        level = middle(steered, budget)
        central = table.loc[table["layer"].isin([-1, layers[len(layers) // 2]])]
        reference = next((name for name in REFERENCES if name in labels), labels[0])
        # where it could not be fitted, there is nothing to compare with
        compared = set(steered.query("budget == 'kl' and label == @reference")["layer"])
        area = [tables.areas(table, layer, reference, MARGIN).assign(layer=layer) for layer in layers
                if layer in compared]  # fmt: skip
        chosen_from = PICKED_FOR if "select" in set(table["split"]) else ()
        picks = [layer_picks(table, label, budget, level).assign(arm=label) for label in chosen_from if label in labels]
        declared = _joined([tables.contrasts(table, b, _pairs(labels), MARGIN).assign(budget=b) for b in budgets])
        declared = declared.assign(p_holm=stats.holm(declared["p"])) if len(declared) else declared
        survives = "flow" in labels and any(str(name).startswith("gain_at_") for name in table)
        return cls(
            tables.with_score_intervals(tables.profile(table), table).rename(columns={"label": "method"}),
            tables.frontier(central, concept) if {"parses", "kl"} <= set(table) else pd.DataFrame(),
            tables.changes(table),
            tables.choices(table) if len(chosen_from) else pd.DataFrame(),
            _joined(area),
            declared,
            differences(declared),
            tables.anti_steerable(table, budget),
            _joined(picks),
            tables.survival(table, "flow", budget, level).rename(columns=str).reset_index() if survives
            else pd.DataFrame(),
            tables.room(table),
        )  # fmt: skip

    def save(self, folder: Path, run: Mapping[str, Any]) -> Path:
        """Write the tables as parquet beside `run.json`, in the place of an earlier report."""
        if folder.exists():
            shutil.rmtree(folder)
        found = {name: x for name, x in vars(self).items() if isinstance(x, pd.DataFrame) and len(x)}
        return save_run(folder, found, {**run, "room": self.room})

    def frame(self) -> pd.DataFrame:
        """`layers`: unsteered and every arm, one row a cell."""
        return self.layers

    def _repr_html_(self) -> str:
        parts = "".join(
            f"<h4>{title}</h4>{found.to_html(float_format='{:.3f}'.format)}" for title, found in self._shown()
        )
        advice = f"<pre>{escape(self.advice)}</pre>" if self.advice else ""
        lines = "".join(f"<h4>{title}</h4><pre>{escape(code)}</pre>" for title, code in self._lines())
        return f"<p>{self.room}</p>{advice}{parts}{lines}"

    def __str__(self) -> str:
        parts = [f"{title}\n\n{found.to_markdown(floatfmt='.3f')}" for title, found in self._shown()]
        code = [f"{title}\n\n{indent(lines, ' ' * 4)}" for title, lines in self._lines()]
        return "\n\n".join([text for text in (self.room, self.advice, *parts, *code) if text])

    def _lines(self) -> list[tuple[str, str]]:
        """Titles and lines of Python, where there are any."""
        return [(title, lines) for title, lines in ((READ, self.reading), (USE, self.code)) if lines]

    def _shown(self) -> list[tuple[str, pd.DataFrame]]:
        """Titles and tables, those for which something was measured."""
        budget, levels, among = self._levels()
        name, unit = NAMED[budget]
        test = "on the test prompts"
        at = f"{name} {levels[0]:g}{unit}{among}" if len(levels) == 1 else f"each {name}"
        same = f"{'at the same level' if len(levels) == 1 else f'at each {name}'}, {test}"
        # of a judge that says yes or no the score is the success that stands above
        scored = "score" in self.layers and not bool((self.layers["score"] == self.layers["success"]).all())
        shares = {share: self._means(share) for share in ("repetition", "empty")}
        none = [said for said, found in zip(("repeats a 4-gram", "is empty"), shares.values(), strict=True)
                if len(found) and not len(_unless_zero(found))]  # fmt: skip
        parts = {
            f"Success by layer, at {at}, {test} ({OVERLAP})": self._profile(),
            f"Score by layer, {same} (mean)": self._means("score") if scored else pd.DataFrame(),
            f"Change of the {'score' if scored else 'success'} from unsteered, {same} (mean over prompts; "
            "each interval by itself)":
                self._changes(),
            f"Fluency, {same}: log-likelihood of the text under the unsteered model (nats a token, median)"
            + "".join(f"; no text {said}" for said in none): self._means("log_likelihood"),
            f"Fluency, {same}: share of repeated 4-grams (mean)": _unless_zero(shares["repetition"]),
            f"Fluency, {same}: share of empty texts": _unless_zero(shares["empty"]),
            f"Layer and level chosen on other prompts: {tables.RULE}"
            + (f". {LOST}" if len(self.chosen) and bool(self.chosen["lost"].notna().any()) else ""):
                self._chosen() if len(self.chosen) else self.chosen,
            f"At the chosen cell: success less that of the {PLACEBO} there, prompt by prompt, {test} (each interval by "
            f"itself; p by Holm's correction over all {len(self.contrasts)} declared differences)": self._at_chosen(),
            "Area under success over log KL": self._areas() if len(self.areas) else self.areas,
            "Declared differences in success, first less second (significant: by Holm's correction; equivalent: "
            f"within {MARGIN:g})": self.differences.set_index("budget") if len(self.differences) else self.differences,
            f"Share of prompts whose {'score' if scored else 'success'} falls "
            f"{'as the strength grows' if among or len(levels) > 1 else 'from unsteered'}":
                _wide(self.anti_steerable, "anti_steerable"),
            # (of success alone the regret is 0 by definition)
            "Picking the layer by one indicator":
                self._picks() if len(self.picks) and len({*self.picks["picked by"]}) > 1 else pd.DataFrame(),
            "Calibrated gain of the flow by layer looked at (nats, median)":
                self.survival.set_index("layer") if len(self.survival) else self.survival,
        }  # fmt: skip
        return [(title, found) for title, found in parts.items() if len(found)]

    def _levels(self) -> tuple[str, list[float], str]:
        """The budget of the tables by layer, its levels that are shown, and among which where not all are."""
        steered = self.layers.query("method != 'unsteered'")
        budget = "kl" if "kl" in set(steered["budget"]) else str(steered["budget"].iloc[0])
        levels = sorted(set(steered.loc[steered["budget"] == budget, "level"]))
        if len(levels) <= SHOWN:
            return budget, levels, ""
        return budget, [middle(steered, budget)], f" (of the levels {', '.join(map('{:g}'.format, levels))})"

    def _profile(self) -> pd.DataFrame:
        """Success with its interval; what was refused says so."""
        rows = self.layers.assign(shown=with_intervals(self.layers, "success"))
        steered, (budget, levels, _) = rows.query("method != 'unsteered'"), self._levels()
        seen = set(steered["layer"])
        refused = [{"method": row["label"], "layer": row["layer"], "budget": budget, "level": level, "shown": "refused"}
                   for row in self.refused.to_dict("records") if row["layer"] in seen for level in levels]  # fmt: skip
        plain = rows.query("method == 'unsteered'")["shown"]
        return self._by_layer(pd.concat([steered, pd.DataFrame(refused)]), "shown", plain).fillna("–")

    def _means(self, name: str) -> pd.DataFrame:
        """A column of the profile; empty where it was not measured."""
        if name not in self.layers:
            return pd.DataFrame()
        steered, plain = (self.layers.query(f"method {sign} 'unsteered'") for sign in ("!=", "=="))
        return self._by_layer(steered, name, plain[name])

    def _changes(self) -> pd.DataFrame:
        """Of the unsteered model, of which this is the change, it is 0."""
        if not len(self.changes):
            return self.changes
        rows = self.changes.assign(shown=with_intervals(self.changes, "change"))
        return self._by_layer(rows.rename(columns={"label": "method"}), "shown", ["0"]).fillna("–")

    def _by_layer(self, rows: pd.DataFrame, value: str, plain: Iterable[object]) -> pd.DataFrame:
        """Arms × layers at the levels shown, each a row where there are several; first what unsteered has."""
        budget, levels, _ = self._levels()
        rows = rows.loc[(rows["budget"] == budget) & rows["level"].isin(levels)]
        # an arm on several layers stands at the last of them alone
        wide = rows.pivot(index=["method", "level"], columns="layer", values=value)
        order = [(name, level) for name in dict.fromkeys(rows["method"]) for level in levels]
        wide = wide.reindex(pd.MultiIndex.from_tuples(order)).rename(columns=lambda layer: f"layer {layer}")
        first = [pd.DataFrame(each, index=["unsteered"], columns=wide.columns) for each in plain]
        found = pd.concat([*first, wide.droplevel(1)]).rename_axis("method")
        if len(levels) > 1:
            found.insert(0, NAMED[budget][0], ["–"] * len(first) + [f"{level:g}" for _, level in order])
        return found

    def _chosen(self) -> pd.DataFrame:
        rows, plain = self.chosen, self.layers.query("method == 'unsteered'")
        success = "success and parses, on test" if "parses" in self.layers else "success, on test"
        bands = zip(rows["band_low"], rows["band_high"], strict=True)
        select = zip(rows["on_select"], rows["tied"], strict=True)
        following = rows[["next_on_select", "next_layer", "next_level", "next_lost"]].itertuples(index=False)
        chosen = pd.DataFrame({
            "method": rows["label"], "budget": rows["budget"],
            "layer": rows["layer"].map(str), "level": rows["level"].map("{:g}".format),
            "on select": [f"{x:.3f}" + (f", as {n} other{'s' * (n > 1)}" if n else "") for x, n in select],
            **({"lost on select": [_lost(x) for x in rows["lost"]]} if bool(rows["lost"].notna().any()) else {}),
            "next on select": [
                f"{x:.3f}, layer {layer:.0f} at {level:g}" + (f", lost {_lost(lost)}" if pd.notna(lost) else "")
                if pd.notna(x) else "–" for x, layer, level, lost in following
            ],
            success: with_intervals(rows, "success"),
            "max-t band": [f"[{a:.2f}, {b:.2f}]" for a, b in bands],
            "naive": rows["naive"].map("{:.3f}".format), "naive layer": rows["naive_layer"].map(str), "N": rows["n"],
        }).set_index("method")  # fmt: skip
        shown = with_intervals(plain, "success")
        first = pd.DataFrame({success: shown, "N": plain["n"].tolist()}, index=["unsteered"] * len(plain))
        return pd.concat([first, chosen]).loc[:, list(chosen)].astype(object).fillna("–").rename_axis("method")

    def _at_chosen(self) -> pd.DataFrame:
        """Of each choice the declared difference from the placebo at the same layer and level, where there is one."""
        if not len(self.chosen) or not len(self.contrasts):
            return pd.DataFrame()
        held = self.contrasts.query("second == @PLACEBO").rename(columns={"first": "label"})
        rows = self.chosen[tables.CELL].merge(held, on=tables.CELL)
        return pd.DataFrame({
            "method": rows["label"], "budget": rows["budget"],
            "cell": [f"layer {layer} at {level:g}" for layer, level in zip(rows["layer"], rows["level"], strict=True)],
            "difference": with_intervals(rows, "difference", "+.3f"),
            "p": [f"{p:.3f}" if p >= 0.0005 else "< 0.001" for p in rows["p_holm"]],
            "above the placebo": [_shown(*row) for row in zip(rows["difference"], rows["p_holm"], strict=True)],
            "N": rows["n"],
        }).set_index("method")  # fmt: skip

    def _areas(self) -> pd.DataFrame:
        return _wide(self.areas, "area")

    def _picks(self) -> pd.DataFrame:
        rows = self.picks
        return pd.DataFrame({
            "method": rows["arm"], "picked by": rows["picked by"], "layer": rows["layer"],
            "success": with_intervals(rows, "success"),
            "regret": with_intervals(rows, "regret"),
            "rank correlation over layers": rows["rank_correlation"],
        }).set_index("method")  # fmt: skip


def _pairs(labels: Sequence[str]) -> Sequence[tuple[str, str]]:
    """The declared pairs; where none of them was run, every arm against the placebo."""
    if any({*pair} <= {*labels} for pair in PAIRS):
        return PAIRS
    return [(label, PLACEBO) for label in labels if label != PLACEBO]


def differences(contrasts: pd.DataFrame) -> pd.DataFrame:
    """A row a budget and pair of arms: range and median of the differences over layers and levels, and how many cells
    are significant after Holm's correction and how many equivalent."""
    if not len(contrasts):
        return pd.DataFrame()
    rows = contrasts.assign(significant=contrasts["p_holm"] < ALPHA)
    found = rows.groupby(["budget", "first", "second"], sort=False).agg(
        cells=("n", "size"), least=("difference", "min"), median=("difference", "median"),
        most=("difference", "max"), significant=("significant", "sum"), equivalent=("equivalent", "sum"),
    )  # fmt: skip
    return found.reset_index()


def middle(table: pd.DataFrame, budget: str, upper: bool = True) -> float:
    """The middle level of a budget; of an even number of levels the upper of the two in the middle, or the lower."""
    levels = sorted(float(level) for level in set(table.query("budget == @budget")["level"]))
    return levels[(len(levels) - (not upper)) // 2]


def _joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One below the other; empty where there is none."""
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def _shown(difference: float, p: float) -> str:
    """Whether a difference is shown, of all that are declared."""
    return "not shown" if p >= ALPHA else "yes" if difference > 0 else "below"


def _unless_zero(found: pd.DataFrame) -> pd.DataFrame:
    """A table that says more than 0."""
    return found if found.select_dtypes("number").to_numpy().any() else pd.DataFrame()


def _lost(nats: float) -> str:
    """Of fluency: two digits, or a dash."""
    return f"{nats:.2f}" if pd.notna(nats) else "–"


def _wide(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Arms × layers, each with its interval."""
    shown = rows.assign(shown=with_intervals(rows, value))
    wide = shown.pivot(index="label", columns="layer", values="shown")
    # an arm on several layers stands at the last of them alone
    wide = wide.loc[list(dict.fromkeys(rows["label"]))].fillna("–").rename_axis("method")
    return wide.rename(columns=lambda layer: f"layer {layer}")
