"""What steering achieves and what it costs: success and fluency by method, with exact intervals."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from figures.save import STYLE, save


def draw_outcomes(table: pd.DataFrame, out: Path) -> list[Path]:
    """Draw `success` and `parses` (with `_low` and `_high`) by `method`, one marker a temperature."""
    methods = list(dict.fromkeys(table["method"]))
    titles = {"success": "(a) texts judged positive", "parses": "(b) texts that parse exactly"}
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, 2, sharey=True, figsize=(6.75, 2.0))
        for axis, (column, title) in zip(axes, titles.items(), strict=True):
            for k, (temperature, rows) in enumerate(table.groupby("temperature")):
                y = [methods.index(m) + 0.16 * (2 * k - 1) for m in rows["method"]]
                errors = [rows[column] - rows[f"{column}_low"], rows[f"{column}_high"] - rows[column]]
                axis.errorbar(rows[column], y, xerr=errors, fmt="os"[k], mfc=["C0", "white"][k], color=f"C{2 * k}",
                              capsize=2, label=f"temperature {temperature:g}")  # fmt: skip
            axis.set_title(title)
            axis.set_xlim(0, 1.02)
            axis.set_xlabel(f"share of {table['n'].iloc[0]} prompts, 95 % exact interval")
        axes[0].set_yticks(range(len(methods)), methods)
        axes[0].invert_yaxis()
        axes[1].legend(loc="lower left")
        written = save(figure, out, "outcomes")
        plt.close(figure)
    return written
