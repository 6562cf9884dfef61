"""What a layer study found: its tables for reading, and the folder that figures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from textwrap import indent
from typing import Any

import pandas as pd

from analyses.effects import declared, saying, shown, tables
from analyses.effects.arms import ONE_STEP, PLACEBO
from analyses.effects.prediction import layer_picks
from analyses.runs import save_report
from odesteer_tl import stats
from odesteer_tl._renamed import renamed

PICKED_FOR = ("caa", "odesteer_kernel")
#: above the lines that use what was chosen
USE = "To steer by what was chosen:"
#: files beside the tables: of every table as it is printed, and of texts
TABLES, TEXTS = "report.md", "texts.txt"
#: said where intervals are first shown
OVERLAP = "95 % intervals: that two overlap does not say that there is no effect; the differences, prompt by prompt, do"
#: said where the column is shown
LOST = ("Lost: by how many nats a token the unsteered model finds the texts less likely than its own, median over the "
        "select prompts; half a nat is a text that reads otherwise, one nat often a broken one")  # fmt: skip
#: arms to whose area the others' are compared: the first that was run
REFERENCES = (ONE_STEP, "odesteer_kernel", "caa", PLACEBO)


@renamed(room="headroom")
@dataclass(frozen=True, eq=False)
class LayerReport:
    """Tables of a layer study, all of the test prompts.

    Attributes:
        layers: success, score and cost, an arm × layer × budget × level a row (`method` is the arm's label).
        frontier: the same at the middle layer alone, where the outcome also says whether texts parse; else empty.
        changes: of the score from the unsteered model's, by cell.
        chosen: layer and level chosen on the select prompts, with the naive figure beside it. held: what each choice
            does more than the unsteered model and than the placebo at its cell.
        areas: area under success over log KL, by layer. contrasts: declared differences, Holm over all of them.
        differences: `contrasts` summed up over layers and levels.
        anti_steerable: by layer and arm. picks: what picking the layer by an indicator costs. survival: gain by layer.
        headroom: what unsteered texts leave to be gained.
        found: what the best of the choices does, in sentences that can stand in a paper.
        advice: what to ask next where nothing that was chosen raises success, else empty.
        code: what was chosen as lines of Python, where something was. reading: its texts and the unsteered ones, with
            what the judge says of each, where any were written.
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
    headroom: str
    found: str = ""
    held: pd.DataFrame = field(default_factory=pd.DataFrame)
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
        level = shown.middle(steered, budget)
        central = table.loc[table["layer"].isin([-1, layers[len(layers) // 2]])]
        reference = next((name for name in REFERENCES if name in labels), labels[0])
        # where it could not be fitted, there is nothing to compare with
        compared = set(steered.query("budget == 'kl' and label == @reference")["layer"])
        area = [tables.areas(table, layer, reference, declared.MARGIN).assign(layer=layer) for layer in layers
                if layer in compared]  # fmt: skip
        chosen_from = PICKED_FOR if "select" in set(table["split"]) else ()
        picks = [layer_picks(table, label, budget, level).assign(arm=label) for label in chosen_from if label in labels]
        tested = _joined(
            [tables.contrasts(table, b, declared.pairs(labels), declared.MARGIN).assign(budget=b) for b in budgets]
        )
        tested = tested.assign(p_holm=stats.holm(tested["p"])) if len(tested) else tested
        profile = tables.profile(table).rename(columns={"label": "method"})
        of = tables.measure(profile)
        chosen = tables.choices(table) if len(chosen_from) else pd.DataFrame()
        own = chosen.loc[chosen["label"] != PLACEBO] if len(chosen) else chosen
        # by what it was chosen
        good = table.assign(success=table["success"] & table["parses"]) if "parses" in table else table
        held = _joined([tables.at_chosen(good, own, second, of) for second in (tables.UNSTEERED, PLACEBO)])
        differences = shown.differences(tested)
        methods = [label for label in labels if label != PLACEBO]
        said = (
            saying.found(table, chosen, held, of),
            saying.between(differences, methods) if len(chosen) else "",
        )
        survives = "odesteer_kernel" in labels and any(str(name).startswith("gain_at_") for name in table)
        return cls(
            tables.with_score_intervals(profile, table),
            tables.frontier(central, concept) if {"parses", "kl"} <= set(table) else pd.DataFrame(),
            tables.changes(table),
            chosen,
            _joined(area),
            tested,
            differences,
            tables.anti_steerable(table, budget),
            _joined(picks),
            tables.survival(table, "odesteer_kernel", budget, level).rename(columns=str).reset_index() if survives
            else pd.DataFrame(),
            tables.headroom(table),
            "\n\n".join(filter(None, said)),
            held,
        )  # fmt: skip

    def save(self, folder: Path, run: Mapping[str, Any]) -> Path:
        """Write the tables as parquet beside `run.json` and the texts, in the place of an earlier report."""
        texts = {TABLES: str(self), **({TEXTS: self.reading} if self.reading else {})}
        return save_report(folder, vars(self), {**run, "headroom": self.headroom, "found": self.found}, texts)

    def frame(self) -> pd.DataFrame:
        """`layers`: unsteered and every arm, one row a cell."""
        return self.layers

    def _repr_html_(self) -> str:
        parts = "".join(
            f"<h4>{title}</h4>{found.to_html(float_format='{:.3f}'.format)}"
            for title, found in {**self._by_layer(), **self._further()}.items()
            if len(found)
        )
        advice = f"<pre>{escape(self.advice)}</pre>" if self.advice else ""
        lines = f"<h4>{USE}</h4><pre>{escape(self.code)}</pre>" if self.code else ""
        found = f"<p>{escape(self.found)}</p>" if self.found else ""
        return f"<p>{self.headroom}</p>{found}{advice}{parts}{lines}"

    def __str__(self) -> str:
        return self._written({**self._by_layer(), **self._further()})

    def brief(self, folder: Path) -> str:
        """What is read first: what was found, by layer, and where all else is.

        Args:
            folder: the one that the report was saved to.
        """
        texts = f"Texts, with what the judge says of each: {folder / TEXTS}\n" if self.reading else ""
        return f"{self._written(self._by_layer())}\n\n{texts}Every table: {folder / TABLES}"

    def _written(self, tables: Mapping[str, pd.DataFrame]) -> str:
        """What was found, the tables, and lines to paste."""
        parts = [f"{title}\n\n{found.to_markdown(floatfmt='.3f')}" for title, found in tables.items() if len(found)]
        code = f"{USE}\n\n{indent(self.code, ' ' * 4)}" if self.code else ""
        return "\n\n".join([text for text in (self.headroom, self.found, self.advice, *parts, code) if text])

    def _at(self) -> tuple[shown.Levels, str, str]:
        """The levels that tables by layer show; where they stand, in words, and where those of the same do."""
        at = shown.Levels.of(self.layers)
        name, unit = shown.NAMED[at.budget]
        single = len(at.levels) == 1
        same = f"{'at the same level' if single else f'at each {name}'}, on the test prompts"
        return at, f"at {name} {at.levels[0]:g}{unit}{at.among}" if single else f"at each {name}", same

    @property
    def _scored(self) -> bool:
        """Whether scores say more than success, which is all that a judge of yes and no says."""
        return "score" in self.layers and not bool((self.layers["score"] == self.layers["success"]).all())

    def _by_layer(self) -> dict[str, pd.DataFrame]:
        """By title what is read first: success, score and fluency by layer."""
        _, where, same = self._at()
        shares = (("repetition", "repeats a 4-gram"), ("empty", "is empty"))
        none = [f"; no text {said}" for share, said in shares
                if len(found := shown.means(self.layers, share)) and not len(shown.unless_zero(found))]  # fmt: skip
        return {
            f"Success by layer, {where}, on the test prompts ({OVERLAP})": shown.success(self.layers, self.refused),
            f"Score by layer, {same} (mean)": shown.means(self.layers, "score") if self._scored else pd.DataFrame(),
            f"Fluency, {same}: log-likelihood of the text under the unsteered model (nats a token, median)"
            + "".join(none): shown.means(self.layers, "log_likelihood"),
        }  # fmt: skip

    def _further(self) -> dict[str, pd.DataFrame]:
        """By title all other tables."""
        (at, _, same), of = self._at(), tables.measure(self.layers)
        choices = len(self.held.drop_duplicates(tables.CELL)) if len(self.held) else 0
        changed, shares = "score" if self._scored else "success", ("repetition", "empty")
        repeated, empty = (shown.unless_zero(shown.means(self.layers, share)) for share in shares)
        return {
            f"Change of the {changed} from unsteered, {same} (mean over prompts; each interval by itself)":
                shown.changed(self.changes, at),
            f"Fluency, {same}: share of repeated 4-grams (mean)": repeated,
            f"Fluency, {same}: share of empty texts": empty,
            f"Layer and level chosen on other prompts: {tables.RULE}"
            + (f". {LOST}" if len(self.chosen) and bool(self.chosen["lost"].notna().any()) else ""):
                shown.chosen(self.chosen, self.layers) if len(self.chosen) else self.chosen,
            f"At the chosen cell: {of} less that of the unsteered model, and of the random direction there, prompt by "
            "prompt, on the test prompts"
            + (f" (p: with Holm's correction over {choices} choices)" if choices > 1 else ""):
                shown.at_chosen(self.held),
            "Area under success over log KL": shown.wide(self.areas, "area"),
            "Declared differences in success at every layer and level, first less second (significant: by Holm's "
            f"correction over all {len(self.contrasts)}, unlike the chosen cell above; equivalent: within "
            f"{declared.MARGIN:g})":
                self.differences.set_index("budget") if len(self.differences) else self.differences,
            f"Share of prompts whose {changed} falls "
            + ("from unsteered to the largest level (slope of a line through all of them)"
               if at.among or len(at.levels) > 1 else "from unsteered"):
                shown.wide(self.anti_steerable, "anti_steerable"),
            # (of success alone the regret is 0 by definition)
            "Picking the layer by one indicator":
                shown.picked(self.picks) if len(self.picks) and len({*self.picks["picked by"]}) > 1 else pd.DataFrame(),
            "Calibrated gain of odesteer_kernel by layer looked at (nats, median)":
                self.survival.set_index("layer") if len(self.survival) else self.survival,
        }  # fmt: skip


def _joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One below the other; empty where there is none."""
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
