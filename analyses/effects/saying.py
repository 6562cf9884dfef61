"""What a layer study found, in sentences that can stand in a paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from analyses.effects import tables
from analyses.effects.arms import PLACEBO
from analyses.effects.shown import pvalue, verdict
from analyses.effects.units import by_unit, counted
from analyses.effects.using import best_choice
from analyses.intervals import with_interval

#: behind a level
UNITS = {"kl": " nats of KL", "angle": " rad", "displacement": " of the norm"}


def found(table: pd.DataFrame, chosen: pd.DataFrame, held: pd.DataFrame, of: str) -> str:
    """What the best of the choices does on the test prompts; empty where nothing was chosen.

    Args:
        table: the study's rows. chosen: `tables.choices` of them.
        held: `tables.at_chosen`, against the unsteered model and the placebo.
        of: "success", or "score" where that has no room (`tables.measure`); what `held` is of.
    """
    if not len(chosen):
        return ""
    best = best_choice(chosen)
    labels = [label for label in chosen["label"] if label != PLACEBO]
    cells = table.loc[table["label"].isin(labels)].drop_duplicates(tables.CELL)
    asked, test_rows = (table.loc[table["split"] == split] for split in ("select", "test"))
    select = counted(len({*asked["unit" if "unit" in asked else "prompt"]}), asked, "other ")
    tied = f" ({best['tied']} other{'s' * (best['tied'] > 1)} did as well there)" if best["tied"] else ""
    how = f", chosen among {len(cells)} cells on {select}{tied}," if len(cells) > 1 else ""
    where = f"layer {best['layer']} and {best['level']:g}{UNITS[best['budget']]}"
    shown = with_interval(best["success"], best["low"], best["high"])
    # what was chosen by, and its share is of
    does, good = ("succeeds and parses", ["success", "parses"]) if "parses" in table else ("succeeds", ["success"])
    success = f"{best['label']} at {where}{how} {does} on {shown} of {counted(best['n'], test_rows)}"
    plain: Any = test_rows.query("label == @tables.UNSTEERED").set_index("prompt").loc[:, good].all(axis=1)
    success += f", unsteered on {by_unit(plain.astype(float), test_rows).mean():.3f}." if len(plain) else "."
    # of prompts that are no units by themselves it is another
    test = "" if of == "score" or "unit" in table else "exact unconditional test of pairs"
    more = _more(best, held, of, test) if len(held) else ""
    return "Found: " + " ".join(filter(None, (success, more, _lost(best, test_rows))))


def between(differences: pd.DataFrame, methods: Sequence[str]) -> str:
    """Whether one method is shown to do more than another, at equal layer and strength; empty of a single one.

    Args:
        differences: `shown.differences` of the declared pairs. methods: that were run, the placebo not among them.
    """
    if len(methods) < 2:
        return ""
    pairs = differences.query("second != @PLACEBO").to_dict("records") if len(differences) else []
    if not pairs:
        return "Between the methods no comparison is declared: that one does more than another is not asked here."
    parts = [f"{row['first']} less {row['second']} is shown in {row['significant'] or 'none'} of {row['cells']} cells"
             + (f" ({row['where']})" if row["significant"] and row["where"] != "–" else "")
             + f", from {row['least']:+.3f} to {row['most']:+.3f}" for row in pairs]  # fmt: skip
    return f"Between methods, success at equal layer and strength, all cells corrected for: {'; '.join(parts)}."


def _more(best: dict[str, Any], held: pd.DataFrame, of: str, test: str) -> str:
    """Whether it does more than the unsteered model, and than the placebo at the same cell, by how much, and p."""
    said = {"yes": "is shown to do more", "below": "does less", "not shown": "is not shown to do more"}
    whom = {tables.UNSTEERED: "than the unsteered model", PLACEBO: "than the random direction there"}
    parts, rows = list[str](), cast(list[dict[str, Any]], tables.of_cell(held, best).to_dict("records"))
    for row in rows:
        p, what = pvalue(row["p_holm"]), "score " if of == "score" else ""
        parts.append(f"{said[verdict(row['difference'], row['p_holm'])]} {whom[row['second']]}: "
                     f"{what}{with_interval(row['difference'], row['low'], row['high'], '+.3f')}, "
                     f"p {p if p.startswith('<') else f'= {p}'}")  # fmt: skip
    if not parts:  # neither was measured there
        return ""
    choices = len(held.drop_duplicates(tables.CELL))
    how = ", ".join(filter(None, (test, f"Holm's correction over {choices}" if choices > 1 else "")))
    return f"It {'; it '.join(parts)}{f' ({how})' if how else ''}."


def _lost(best: dict[str, Any], test: pd.DataFrame) -> str:
    """What its texts lose, beside those of the placebo at the same cell; nothing where none were written."""
    if pd.isna(best["lost_on_test"]):
        return ""
    lost: Any = tables.fluency_lost(test, "test")
    placebo = tuple(PLACEBO if name == "label" else best[name] for name in tables.CELL)
    of_placebo = np.nan if best["label"] == PLACEBO else float(lost.get(placebo, np.nan))
    beside = "" if np.isnan(of_placebo) else f", those of the random direction {of_placebo:.2f}"
    return f"Its texts lose {best['lost_on_test']:.2f} nats a token of likelihood{beside} (medians over the prompts)."
