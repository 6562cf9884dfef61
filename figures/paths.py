"""h along the way: every method against the bound on what any steering of that angle could do."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from figures.save import STYLE, save


def draw_paths(table: pd.DataFrame, out: Path) -> list[Path]:
    """Draw `median` with the band `low`–`high` of h against `angle`, by `method`; `ceiling` is a line."""
    with plt.style.context(STYLE):
        figure, axis = plt.subplots(figsize=(4.5, 2.8))
        for k, (method, rows) in enumerate(table[table["method"] != "ceiling"].groupby("method", sort=False)):
            bound = str(method).startswith("bound")
            color = "black" if bound else f"C{k - 1}"
            style = ["--", "-", "-.", ":"][k % 4]
            axis.plot(rows["angle"], rows["median"], style, color=color, label=method, lw=1 if bound else 1.6)
            if not bound:
                axis.fill_between(rows["angle"], rows["low"], rows["high"], color=color, alpha=0.15, lw=0)
        ceiling = table.loc[table["method"] == "ceiling", "median"].item()
        axis.axhline(ceiling, color="0.5", lw=0.8)
        axis.annotate(
            "ceiling of h", (0, ceiling), xytext=(2, -9), textcoords="offset points", color="0.35", fontsize=7
        )
        axis.set_xlabel("strength asked for, radians of the activation's norm")
        axis.set_ylabel("barrier h (kernel)")
        axis.set_title(f"median and 10–90 % of {table['n'].iloc[0]} held-out prompts")
        axis.legend(loc="lower right")
        written = save(figure, out, "paths")
        plt.close(figure)
    return written
