"""What is lost where a search picks layer, strength and method for a tenth of the grid's cost."""

from __future__ import annotations

from typing import Any

import pandas as pd

from figures.captions import SHORT, counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import PLACEBO, Look
from figures.rows import Panel, draw_rows, height

RANDOM = "random search"
SERIES: dict[str, Look] = {
    "a search: mean, and a line to the worst of its orders": {"color": "black", "marker": "o"}, RANDOM: PLACEBO,
}  # fmt: skip
#: how a search is called in the table and here
NAMES = {
    "successive halving": "successive halving",
    "race": "race",
    "race, told of others": "race, told of other concepts",
    "tree_parzen": "Optuna: Parzen, pruner",
    RANDOM: RANDOM,
    "best of others, not asked": "best of others, unasked",
}
CAPTION = """\
Share of the grid's reward, in %, that is lost where a search picks the candidate instead of the whole grid of {arms}
candidates, on prompts that no search sees; a column a concept and model, on one scale, linear below 0.1 %. Marks: means
over {seeds} orders of the prompts; the line ends at the worst order, and is no interval. At 0 nothing is lost, or
something gained. Searches spend {least:.0%} to {most:.0%} of the grid's forward tokens; what was best at other concepts
is taken unasked. Crosses: a random search. Black, dotted: no steering at all. {source}"""
TICKS = (0, 0.1, 1, 10)


def draw_searches(replay: pd.DataFrame, grids: pd.DataFrame, *, source: str = "", figure: Place = None) -> Drawing:
    """Draw what each search loses, a panel a grid.

    Args:
        replay: `how`, `cost`, `of_grid`, `worst`, `seeds`, `grid`; rows of the grid "all" are left out.
        grids: `grid`, `arms`, `unsteered`, `best`: rewards of no steering and of the grid's choice.
        source: sentences for the caption on where the tables come from. figure: see `page`.
    """
    rows: Any = replay.query("how in @NAMES and grid != 'all'")
    lost = 100 * (1 - rows[["of_grid", "worst"]]).clip(lower=0.0)
    series = pd.Series(next(iter(SERIES)), rows.index).mask(rows["how"] == RANDOM, RANDOM)
    rows = rows.assign(name=rows["how"].map(NAMES), series=series, value=lost["of_grid"], low=lost["of_grid"],
                       high=lost["worst"])  # fmt: skip
    known: Any = grids.set_index("grid")
    none = 100 * (1 - known["unsteered"] / known["best"])
    panels = list[Panel]()
    for grid in sorted(set(rows["grid"]), reverse=True):
        model, concept = grid.split("/")
        title = f"{concept},\n{SHORT[model]}"
        panels.append(Panel(rows[rows["grid"] == grid], "lost (%)", title, float(none[grid]), True))
    with page(figure, PAGE, height(list(NAMES))) as figure:
        for axis in draw_rows(figure, list(NAMES.values()), panels, SERIES):
            axis.set_xscale("symlog", linthresh=TICKS[1], linscale=1.0)
            axis.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS], minor=False)
            axis.set_xticks([], minor=True)
            axis.set_xlim(-0.02, 90)
        cost = rows.loc[rows["cost"] > 0, "cost"]
        caption = CAPTION.format(arms=counts(grids["arms"]), seeds=counts(rows["seeds"]), least=cost.min(),
                                 most=cost.max(), source=source)  # fmt: skip
        return Drawing(figure, "searches", caption, rows)
