"""What a comparison of methods at equal budget found: a table fit for a paper, and the declared tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analyses.effects import audit as audited
from analyses.effects import paired, tables
from analyses.effects.arms import ONE_STEP, TEN_EULER_STEPS
from analyses.effects.paired import BASELINE, SPENT
from analyses.effects.shown import middle
from analyses.effects.units import units
from analyses.intervals import with_interval, with_intervals
from analyses.runs import save_report
from odesteer_tl import stats
from odesteer_tl._renamed import renamed

#: the primary contrast, declared beforehand: does the ODE need its steps, and how far is it from the best point?
PRIMARY = ((TEN_EULER_STEPS, ONE_STEP), (TEN_EULER_STEPS, "optimal_cap"), (ONE_STEP, "optimal_cap"))
#: in units of success, declared beforehand: a smaller difference does not matter
MARGIN = 0.05
CORRECTED = "95 %; p after Holm over methods, budgets and levels; † not at equal budget"


@renamed(room="headroom")
@dataclass(frozen=True, eq=False)
class ComparisonReport:
    """Tables of a method comparison at one layer, all of the test prompts.

    Attributes:
        frontier: success and cost, a method × budget × level a row.
        primary: the declared contrasts, at every budget and level, Holm over all of them, with equivalence tests.
        methods: at the middle level of each budget: success, its difference to CAA (Holm over the methods at equal
            budget and the budgets; NaN for the others); share of tokens it `acts` on; where it does, `angle`,
            `certified` share, `efficiency` and `typicality`; `paid`: KL along the text that was written, nats; the
            held-out AUC of the h by which steps are certified, `probe_auc`, with its interval.
        unsteered: the profile of the texts without steering. headroom: what they leave to be gained.
        audit: where paths or expenses were measured, all that was measured of every method, one estimate a row
            (`audit.audit`); else empty.
        tests: where there is an audit, every method's score against nothing, the placebo and CAA (`paired.tests`).
        declared: trained against fitted methods, where there is an audit, and the pairs that were named
            (`paired.declared`).
        refused: `label`, `method` and `why` of what could not be fitted.
    """

    frontier: pd.DataFrame
    primary: pd.DataFrame
    methods: pd.DataFrame
    unsteered: pd.DataFrame
    headroom: str
    audit: pd.DataFrame
    tests: pd.DataFrame
    declared: pd.DataFrame
    refused: pd.DataFrame = field(default_factory=pd.DataFrame)

    @classmethod
    def of(cls, table: pd.DataFrame, concept: str, between: Sequence[tuple[str, str]] = ()) -> ComparisonReport:
        """Summarise a finished study.

        Args:
            between: pairs of methods to be tested against each other.
        """
        steered = table.query("label != 'unsteered'")
        if not len(steered):
            raise ValueError("table has no steered rows; give the study a level of some budget")
        budgets = list(dict.fromkeys(str(budget) for budget in steered["budget"]))
        frontier = tables.frontier(table, concept) if "kl" in table else pd.DataFrame()
        primary = pd.concat([tables.contrasts(table, b, PRIMARY, MARGIN).assign(budget=b) for b in budgets])
        primary = primary.assign(p_holm=stats.holm(primary["p"])) if len(primary) else primary
        # of two levels the lower, as declared before the tables that were published, whose columns name it
        parts = [_against(table, BASELINE, b, middle(steered, b, upper=False)) for b in budgets]
        methods = pd.concat(parts, ignore_index=True)
        at_budget = ((methods["reached"] >= SPENT) & methods["p"].notna()).to_numpy()
        corrected = np.full(len(methods), np.nan)
        if at_budget.any():
            corrected[at_budget] = stats.holm(methods["p"].to_numpy()[at_budget])
        plain = table.query("label == 'unsteered'")
        is_audit = bool({"path_curvature", "token_cost"} & set(table))
        families = [paired.FAMILIES] if is_audit else []
        return cls(frontier, primary.reset_index(drop=True), methods.assign(p_holm=corrected),
                   tables.profile(plain).rename(columns={"label": "method"}) if len(plain) else pd.DataFrame(),
                   tables.headroom(table),
                   audited.audit(table) if is_audit else pd.DataFrame(),
                   paired.tests(table) if is_audit else pd.DataFrame(),
                   paired.declared(table, [*families, *between]),
                   )  # fmt: skip

    def save(self, folder: Path, run: Mapping[str, Any]) -> Path:
        """Write the tables as parquet, and for a paper as LaTeX and Markdown, in the place of an earlier report."""
        save_report(folder, vars(self), {**run, "headroom": self.headroom})
        paper = self.for_paper()
        paper.to_latex(folder / "methods.tex", float_format="%.2f", escape=True)
        (folder / "methods.md").write_text(paper.to_markdown(floatfmt=".2f") + "\n")
        if len(self.audit):
            (folder / "audit.md").write_text(f"{self._audit()}{self._declared()}\n")
        return folder

    def _audit(self) -> str:
        """The audit and its tests at the middle level of every budget, and whether all learned from the same texts."""
        parts = [audited.equal_budget(self.audit)]
        levels = self.methods[["budget", "level"]].drop_duplicates()
        for budget, level in levels.itertuples(index=False):
            found = audited.summary(self.audit, budget, level, self.refused).reset_index()
            parts.append(f"Audit at {budget} {level:g}\n\n{found.to_markdown(index=False)}")
        for budget, level in levels.itertuples(index=False) if len(self.tests) else ():
            found = paired.shown(self.tests, budget, level).to_markdown()
            parts.append(f"Difference of the score at {budget} {level:g}, by prompt ({CORRECTED})\n\n{found}")
        return "\n\n".join(part for part in parts if part)

    def _declared(self) -> str:
        """Families and pairs, at all levels."""
        if not len(self.declared):
            return ""
        named = self.declared.rename(columns={"members": "of"}).to_markdown(index=False, floatfmt=".3g")
        return f"\n\nDeclared pairs: difference of the score, by prompt (Holm over all)\n\n{named}"

    def for_paper(self) -> pd.DataFrame:
        """A row a method, in order of success at equal KL: success by budget, and what else was spent and reached.

        Methods with which some prompts could not spend the budget stand last, marked †.
        """
        rows: list[dict[str, Any]] = self.methods.to_dict("records")
        shown = pd.DataFrame({
            "method": [row["method"] for row in rows],
            "column": [f"{row['budget']} {row['level']:g}" for row in rows],
            "text": [with_interval(row["success"], row["low"], row["high"], ".2f") + "*" * (row["p_holm"] < 0.05)
                     + "†" * (row["reached"] < SPENT) for row in rows],
        })  # fmt: skip
        wide = shown.pivot(index="method", columns="column", values="text")[list(dict.fromkeys(shown["column"]))]
        budgets = list(dict.fromkeys(self.methods["budget"]))
        by = "kl" if "kl" in budgets else budgets[0]
        at = self.methods.loc[self.methods["budget"] == by].assign(spent=lambda x: x["reached"] >= SPENT)
        at = at.sort_values(["spent", "success"], ascending=False, kind="stable")
        extra = ["paid", "acts", "angle", "certified", "efficiency", "typicality", "reached"]
        extra = [name for name in ("parses", *extra) if name in at]
        found = wide.join(at.set_index("method")[extra]).loc[list(at["method"])]
        if {"probe_auc_low", "certified"} <= set(at):
            found.insert(list(found).index("certified") + 1, "AUC of h", with_intervals(at, "probe_auc"))
        refused = [row["label"] for row in self.refused.to_dict("records")]
        parts = [found, *(pd.DataFrame("refused", [label], list(wide)) for label in refused)]
        for plain in self.unsteered.to_dict("records")[:1]:
            text = with_interval(plain["success"], plain["success_low"], plain["success_high"], ".2f")
            row = {**dict.fromkeys(wide, text), **({"parses": plain["parses"]} if "parses" in plain else {})}
            parts.insert(0, pd.DataFrame(row, index=["unsteered"]))
        return pd.concat(parts).loc[:, list(found)].rename_axis("method")

    def frame(self) -> pd.DataFrame:
        """`methods`: every method at the middle level of each budget."""
        return self.methods

    def _repr_html_(self) -> str:
        return f"<p>{self.headroom}</p>{self.for_paper().to_html(float_format='{:.2f}'.format)}"

    def __str__(self) -> str:
        columns = ["budget", "level", "first", "second", "difference", "low", "high", "p_holm", "equivalence_p",
                   "equivalent"]  # fmt: skip
        declared = self.primary[columns].to_markdown(index=False, floatfmt=".3f") if len(self.primary) else (
            "none of the declared pairs was run")  # fmt: skip
        return (
            f"{self.headroom}\n\n"
            "Success on test prompts (95 %; * differs from CAA, Holm over methods and budgets; † not at equal budget: "
            f"fewer than {SPENT:.0%} of the prompts could spend it on their text, so it is not tested)\n\n"
            f"{self.for_paper().to_markdown(floatfmt='.2f')}\n\n"
            f"Primary contrasts (Holm; equivalent within {MARGIN:g})\n\n"
            f"{declared}" + (f"\n\n{self._audit()}" if len(self.audit) else "") + self._declared()
        )


def _against(table: pd.DataFrame, baseline: str, budget: str, level: float) -> pd.DataFrame:
    """Every method beside the baseline at one level of a budget, paired by prompt."""
    rows = table.query("split == 'test' and budget == @budget and level == @level").astype({"success": float})
    success = rows.pivot(index="prompt", columns="label", values="success")
    shares = [name for name in ("parses", "reached", "acts") if name in rows]
    medians = {name: new for name, new in (("kl", "kl"), ("text_kl_mean", "paid")) if name in rows}
    along = [name for name in ("angle", "efficiency", "typicality") if name in rows]
    own, found = units(rows, success.index), list[dict[str, Any]]()
    for label, cell in rows.groupby("label", sort=False):
        share = stats.share(cell["success"], groups=cell.get("unit"))
        # at rest there is nothing to certify, and no way was made
        moved = cell.query("displacement > 0") if "displacement" in cell else cell
        found.append({
            "budget": budget, "level": level, "method": label, "success": share.value, "low": share.low,
            "high": share.high, "n": share.n, **_difference(success, str(label), baseline, own),
            **cell[shares].astype(float).mean().to_dict(),
            **cell[list(medians)].median().rename(medians).to_dict(),
            **({"certified": moved["certified"].mean()} if "certified" in moved else {}),
            **{name: moved[name].median() for name in along},
            **{name: cell[name].iloc[0] for name in tables.PROBE[:3] if name in cell},
        })  # fmt: skip
    return pd.DataFrame(found)


def _difference(success: pd.DataFrame, label: str, baseline: str, own: Any) -> dict[str, float]:
    """To the baseline, paired by prompt, with the p value; NaN where the baseline was not run."""
    if baseline not in success:
        return dict.fromkeys(("difference", "difference_low", "difference_high", "p"), float("nan"))
    ours, theirs = success[label].to_numpy(), success[baseline].to_numpy()
    difference = stats.paired_difference(ours, theirs, groups=own)
    return {"difference": difference.value, "difference_low": difference.low, "difference_high": difference.high,
            "p": stats.difference_pvalue(ours, theirs, groups=own)}  # fmt: skip
