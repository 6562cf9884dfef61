"""What unsteered texts leave to be gained, and whether success can tell anything apart."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.effects.tables.rows import ALPHA, CELL, UNSTEERED, groups
from analyses.effects.units import counted, units
from analyses.intervals import with_interval
from odesteer_tl import stats


def headroom(table: pd.DataFrame) -> str:
    """What unsteered texts leave to be gained, as a sentence or two; it belongs in the first line of every report.

    A share stands at the floor or the ceiling where it is no further from it than from the other end of its interval.
    """
    rows = table.query("split == 'test'")
    plain = rows.loc[rows["label"] == UNSTEERED]
    if not len(plain):
        return "Unsteered was not measured: what is achieved below may have been there before."
    share = stats.share(plain["success"], groups=plain.get("unit"))
    said = f"Unsteered succeeds on {with_interval(share.value, share.low, share.high)} of {counted(share.n, plain)}"
    end = _end(share)
    if end:
        # texts that never show a concept are what one steers; those that always do are a fault of the material
        warned, seen = ("WARNING: ", "lowers") if end == "ceiling" else ("", "raises")
        said = f"{warned}{said}, the {end}: only what {seen} that can be seen"
    steered = groups(rows.loc[rows["label"] != UNSTEERED], CELL)
    arms = [stats.share(cell["success"], groups=cell.get("unit")) for _, cell in steered]
    stuck = _common_end(arms)
    if stuck and not (stuck == end and _told_apart(rows, plain)):
        too = " too" if stuck == end else ""
        said = f"{said}. WARNING: every method is at the {stuck}{too}: success does not tell them apart"
        # (what to do at the floor depends on what texts lose: `advice` says it)
        said += "; take other prompts, or a judge whose score has more than two values" if stuck == "ceiling" else ""
    return f"{said}."


def measure(cells: pd.DataFrame) -> str:
    """What to look at, "success" or "score": the score where the judge gives one and success cannot tell methods apart.

    That is where unsteered texts are at the ceiling, or all methods at one end.

    Args:
        cells: `profile`, with `method` in the place of `label`.
    """
    if "score" not in cells or bool((cells["score"] == cells["success"]).all()):
        return "success"
    plain, arms = (
        [stats.Estimate(*row) for row in rows[["success", "success_low", "success_high", "n"]].itertuples(index=False)]
        for rows in (cells.query("method == @UNSTEERED"), cells.query("method != @UNSTEERED"))
    )
    return "score" if "ceiling" in map(_end, plain) or _common_end(arms) else "success"


def _told_apart(rows: pd.DataFrame, plain: pd.DataFrame) -> bool:
    """Whether success differs from unsteered in a cell, each by itself: near an end of the scale it still may."""
    base = plain.set_index("prompt")["success"].astype(float)
    for _, cell in groups(rows.loc[rows["label"] != UNSTEERED], CELL):
        found = cell.set_index("prompt")["success"].astype(float)
        own = units(cell, found.index)
        if stats.difference_pvalue(found.to_numpy(), base.loc[found.index].to_numpy(), groups=own) < ALPHA:
            return True
    return False


def _common_end(shares: Sequence[stats.Estimate]) -> str:
    """The end at which all of them stand, if they do."""
    ends = {_end(share) for share in shares}
    return ends.pop() if len(ends) == 1 else ""


def _end(share: stats.Estimate) -> str:
    """The end of the scale at which a share stands, if it does."""
    if 1 - share.value <= share.value - share.low:
        return "ceiling"
    return "floor" if share.value <= share.high - share.value else ""
