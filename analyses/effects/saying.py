"""What a layer study found, in sentences that can stand in a paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses.effects import tables
from analyses.effects.arms import PLACEBO
from analyses.effects.shown import pvalue, verdict
from analyses.effects.units import by_unit, counted
from analyses.effects.using import best_choice
from analyses.intervals import with_interval, with_intervals

#: behind a level
UNITS = {"kl": " nats of KL", "angle": " rad", "displacement": " of the norm"}


def found(table: pd.DataFrame, chosen: pd.DataFrame, held: pd.DataFrame, changes: pd.DataFrame, of: str) -> str:
    """What the best of the choices does on the test prompts; empty where nothing was chosen.

    Args:
        table: the study's rows. chosen: `tables.choices` of them.
        held: `tables.at_chosen`, against the placebo. changes: `tables.changes` of the rows.
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
    test = "" if of == "score" or "unit" in table else ", exact unconditional test of pairs"
    parts = [success, _scored(best, changes) if of == "score" else "", _beside(best, held, of, test)]
    return "Found: " + " ".join(filter(None, [*parts, _lost(best, test_rows)]))


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


def _scored(best: dict[str, Any], changes: pd.DataFrame) -> str:
    """How the score changes, where success has no room."""
    rows = _same(changes, best) if len(changes) else changes
    return f"The score changes by {with_intervals(rows, 'change', '+.3f')[0]} from unsteered." if len(rows) else ""


def _beside(best: dict[str, Any], held: pd.DataFrame, of: str, test: str) -> str:
    """How much more it does than the placebo at the same cell, and whether that is shown."""
    rows = _same(held, best) if len(held) else held
    if not len(rows):
        return ""
    row: dict[str, Any] = rows.iloc[0].to_dict()
    p, over = pvalue(row["p_holm"]), f" (Holm's correction over {len(held)})" if len(held) > 1 else ""
    said = {"yes": "is shown to do more", "below": "does less", "not shown": "is not shown to do more"}
    what = "score " if of == "score" else ""
    return (f"It {said[verdict(row['difference'], row['p_holm'])]} than the random direction there: "
            f"{what}{with_interval(row['difference'], row['low'], row['high'], '+.3f')}, "
            f"p {p if p.startswith('<') else f'= {p}'}{test}{over}.")  # fmt: skip


def _lost(best: dict[str, Any], test: pd.DataFrame) -> str:
    """What its texts lose, beside those of the placebo at the same cell; nothing where none were written."""
    if pd.isna(best["lost_on_test"]):
        return ""
    lost: Any = tables.fluency_lost(test, "test")
    placebo = tuple(PLACEBO if name == "label" else best[name] for name in tables.CELL)
    of_placebo = np.nan if best["label"] == PLACEBO else float(lost.get(placebo, np.nan))
    beside = "" if np.isnan(of_placebo) else f", those of the random direction {of_placebo:.2f}"
    return f"Its texts lose {best['lost_on_test']:.2f} nats a token of likelihood{beside} (medians over the prompts)."


def _same(rows: pd.DataFrame, best: dict[str, Any]) -> pd.DataFrame:
    """Of the same cell."""
    return rows.loc[(rows[tables.CELL] == pd.Series({name: best[name] for name in tables.CELL})).all(axis=1)]
