"""h along the way: every method against the bound on what any steering of that angle could do."""

from __future__ import annotations

import pandas as pd

from figures.captions import counts
from figures.drawing import COLUMN, Drawing, Place, page
from figures.looks import Look, look

CAPTION = """\
Barrier h (kernel) at the end of the path against the strength asked for: medians and 10-90 % bands over N = {n}
held-out prompts. Dashed black: median of the proved bound on what any steering of at most this angle can reach;
grey line: the ceiling of h on all activations, {ceiling:.2f}. {source}"""


def draw_paths(table: pd.DataFrame, *, source: str = "", figure: Place = None) -> Drawing:
    """Draw `median` with the band `low`–`high` of h against `angle`, by `method`; `ceiling` is a line.

    Args:
        source: sentences for the caption on where the table comes from. figure: see `page`.
    """
    bounds = table["method"].str.startswith("bound")
    methods = table.loc[~bounds & (table["method"] != "ceiling")].groupby("method", sort=False)
    with page(figure, COLUMN, 2.8) as figure:
        axis = figure.subplots()
        bound = table[bounds]
        axis.plot(bound["angle"], bound["median"], color="black", ls=(0, (2, 1)), lw=1, label="bound on any steering")
        for method, rows in methods:
            drawn: Look = {"ms": 3, "markevery": 2, "lw": 1.2, **look(str(method))}
            axis.plot(rows["angle"], rows["median"], **drawn, label=method)
            axis.fill_between(rows["angle"], rows["low"], rows["high"], color=drawn["color"], alpha=0.15, lw=0)
        ceiling = float(table.loc[table["method"] == "ceiling", "median"].item())
        axis.axhline(ceiling, color="0.5", lw=0.8)
        axis.annotate(
            "ceiling of h", (0, ceiling), xytext=(2, -9), textcoords="offset points", color="0.35", fontsize=7
        )
        axis.set(xlabel="strength asked for (rad)", ylabel="barrier h (kernel)")
        figure.legend(loc="outside upper left", handlelength=3)
        caption = CAPTION.format(n=counts(table["n"]), ceiling=ceiling, source=source)
        return Drawing(figure, "paths", caption, table)
