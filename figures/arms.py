"""What the likelihood figures share: a look an arm, real activations of both classes, limits and the legend."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from figures.looks import KNOWN, Look, handles

PLACEBO = "random direction"
#: the same look for an arm in every panel
ARMS: dict[str, Look] = {
    **{name: KNOWN[name] for name in (PLACEBO, "CAA", "ODESteer as published", "kernel flow", "one geodesic step",
                                      "optimal cap")},
    "unsteered": {"color": "black", "ls": "-", "marker": "p"},
    "real positives": {"color": "0.45", "ls": "-", "marker": "*"},
}  # fmt: skip
SHADES = {"positive": ("0.72", "0.4"), "negative": ("0.9", "0.62")}


def reference_bands(axis: Axes, rows: pd.DataFrame) -> None:
    """The mean and the middle half of real positives and, hatched, negatives."""
    for side, (shade, line) in SHADES.items():
        hatch = "////" if side == "negative" else None
        for row in rows.loc[rows["side"] == side].to_dict("records"):
            axis.axhspan(row["q25"], row["q75"], fc=shade, ec="0.78", alpha=0.5, lw=0, hatch=hatch, zorder=0)
            axis.axhline(row["mean"], color=line, lw=0.8, ls="-" if side == "positive" else "--", zorder=1)


def limits(axis: Axes, values: Sequence[float], along: str = "y") -> None:
    """Room for these values and a little more."""
    low, high = min(values), max(values)
    margin = 0.06 * (high - low)
    (axis.set_ylim if along == "y" else axis.set_xlim)(low - margin, high + margin)


def legend(figure: Figure, methods: Sequence[str], bands: bool = True) -> None:
    """Arms and, where they are drawn, the bands of real activations, above the panels."""
    boxes = [Rectangle((0, 0), 1, 1, fc=shade, ec="0.78", alpha=0.5, lw=0, hatch="////" if side == "negative" else None,
                       label=f"real {side}s") for side, (shade, _) in SHADES.items()]  # fmt: skip
    lines = handles({method: ARMS[method] for method in methods})
    figure.legend(handles=[*lines, *(boxes if bands else [])], loc="outside upper left", ncols=4, handlelength=3.2)
