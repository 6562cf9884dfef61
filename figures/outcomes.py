"""What steering achieves and what it costs: success and fluency by method, with exact intervals."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from figures.captions import counts
from figures.save import PAGE, STYLE, save

TITLES = {"success": "(a) texts judged positive", "parses": "(b) texts that parse exactly"}
CAPTION = """\
(a) Share of steered continuations that the judge calls positive and (b) share that parse exactly, by method, at
temperatures {temperatures}; bars: 95 % exact (Clopper-Pearson) intervals. N = {n} test prompts a mark. {source}"""


def draw_outcomes(table: pd.DataFrame, out: Path, source: str = "") -> list[Path]:
    """Draw `success` and `parses` (with `_low` and `_high`) by `method`, one marker a temperature.

    Args:
        source: sentences for the caption on where the table comes from.
    """
    methods = list(dict.fromkeys(table["method"]))
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, 2, sharey=True, figsize=(PAGE, 2.0))
        for axis, (column, title) in zip(axes, TITLES.items(), strict=True):
            for k, (temperature, rows) in enumerate(table.groupby("temperature")):
                y = [methods.index(m) + 0.16 * (2 * k - 1) for m in rows["method"]]
                errors = [rows[column] - rows[f"{column}_low"], rows[f"{column}_high"] - rows[column]]
                axis.errorbar(rows[column], y, xerr=errors, fmt="os"[k], mfc=["C0", "white"][k], color=f"C{2 * k}",
                              capsize=2, label=f"temperature {temperature:g}")  # fmt: skip
            axis.set_title(title)
            axis.set_xlim(0, 1.02)
            axis.set_xlabel("share of prompts")
        axes[0].set_yticks(range(len(methods)), methods)
        axes[0].invert_yaxis()
        axes[1].legend(loc="lower left")
        temperatures = " and ".join(f"{t:g}" for t in sorted(set(table["temperature"])))
        caption = CAPTION.format(temperatures=temperatures, n=counts(table["n"]), source=source)
        shown = ["method", "temperature", *(f"{c}{end}" for c in TITLES for end in ("", "_low", "_high")), "n"]
        return save(figure, out, "outcomes", caption, table.loc[:, shown])
