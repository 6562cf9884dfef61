"""Where following ∇h stops climbing: violations, saturation and norm drift against the angle asked for."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from figures.save import STYLE, save

LOOKS = {"euler": ("C0", "-", "o"), "geodesic": ("C1", "--", "s"), "certified": ("C2", "-.", "^")}
NAMES = {"euler": "Euler, as published", "geodesic": "geodesic", "certified": "certified"}


def draw_certification(table: pd.DataFrame, out: Path, layer: int | None = None) -> list[Path]:
    """Draw `violating` (with its interval), `saturation` (10–90 % band) and `norm_ratio` against `angle`.

    Args:
        table: one row an integrator × angle (× layer).
        layer: which one; by default the middle one of the table.
    """
    layers = sorted(set(table["layer"]))
    chosen = layers[len(layers) // 2] if layer is None else layer
    rows = table.query("layer == @chosen")
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(6.75, 2.2))
        for name, group in rows.groupby("integrator", sort=False):
            color, line, marker = LOOKS[str(name)]
            style = {"color": color, "ls": line, "marker": marker, "ms": 3, "lw": 1.2, "label": NAMES[str(name)]}
            axes[0].plot(group["angle"], group["violating"], **style)
            axes[0].fill_between(group["angle"], group["violating_low"], group["violating_high"], color=color,
                                 alpha=0.15, lw=0)  # fmt: skip
            axes[1].plot(group["angle"], group["saturation"], **style)
            axes[1].fill_between(group["angle"], group["saturation_low"], group["saturation_high"], color=color,
                                 alpha=0.15, lw=0)  # fmt: skip
            axes[2].plot(group["angle"], group["norm_ratio"], **style)
        axes[0].set_ylabel("share of prompts\nwith a step on which h falls")
        axes[1].set_ylabel("share of the way to the\nceiling of h")
        axes[2].set_ylabel("norm after / before")
        axes[0].set_ylim(-0.03, 1.03)
        for axis, letter in zip(axes, "abc", strict=True):
            axis.set_title(f"({letter})", loc="left")
            axis.set_xlabel("angle asked for, rad")
        axes[2].legend(loc="upper left")
        figure.suptitle(f"layer {chosen}, {rows['n'].tolist()[0]} prompts; bands: (a) 95 % exact, (b) 10–90 %",
                        fontsize=8)  # fmt: skip
        written = save(figure, out, "certification")
        plt.close(figure)
    return written
