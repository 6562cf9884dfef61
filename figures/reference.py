"""Steered states beside a reference, real activations: what the likelihood figures share, from looks to the legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from figures.looks import KNOWN, Look, handles
from odesteer_tl import stats

PLACEBO = "random, geodesic"
#: the same look for a method in every panel
LINES: dict[str, Look] = {
    **{name: KNOWN[name] for name in (PLACEBO, "caa, geodesic", "odesteer", "odesteer_kernel",
                                      "odesteer_kernel, one step", "optimal_cap", "on_manifold", "unsteered")},
    "real positives": {"color": "0.45", "ls": "-", "marker": "*"},
}  # fmt: skip
#: nats from zero to which an axis of log-likelihoods is linear
LINEAR = 1000.0
#: said where an axis is not
SCALED = f"Axes of log-likelihoods are logarithmic beyond {LINEAR:,.0f} nats."
MOST_TICKS = {"x": 4, "y": 5}
#: distance of two marks on a line, as a share of the panel's diagonal
EVERY = 0.2
SHADES = {"positive": ("0.72", "0.4"), "negative": ("0.9", "0.62")}


def reference_bands(axis: Axes, rows: pd.DataFrame) -> None:
    """The mean and the middle half of real positives and, hatched, negatives."""
    for side, (shade, line) in SHADES.items():
        hatch = "////" if side == "negative" else None
        for row in rows.loc[rows["side"] == side].to_dict("records"):
            axis.axhspan(row["q25"], row["q75"], fc=shade, ec="0.78", alpha=0.5, lw=0, hatch=hatch, zorder=0)
            axis.axhline(row["mean"], color=line, lw=0.8, ls="-" if side == "positive" else "--", zorder=1)


def means(values: Any) -> pd.DataFrame:
    """A row a group: `mean`, its 95 % interval `low` to `high` (NaN where the units carry none) and `n` units."""

    def row(x: pd.Series) -> pd.Series:
        known = x.dropna().to_numpy(dtype=float)
        found = stats.mean(known, resamples=1000) if len(known) else stats.Estimate(np.nan, np.nan, np.nan, 0)
        ends = (end if np.isfinite(end) else np.nan for end in (found.low, found.high))
        return pd.Series([found.value, *ends, found.n], ["mean", "low", "high", "n"])

    return values.apply(row).unstack().astype({"n": int})


def limits(axis: Axes, values: Sequence[float], along: str = "y") -> None:
    """Room for these values and a little more."""
    low, high = min(values), max(values)
    margin = 0.06 * (high - low)
    (axis.set_ylim if along == "y" else axis.set_xlim)(low - margin, high + margin)


def nats(axis: Axes, values: Sequence[float], along: str = "y") -> bool:
    """Limits for log-likelihoods; far off the data the axis is logarithmic, or all near the data would be one line.

    Returns:
        Whether it is: then it is linear as far as `LINEAR` nats from zero only.
    """
    low, high = min(values), max(values)
    if low > -10 * LINEAR:
        limits(axis, values, along)
        return False
    ticks = [0.0, *(-m * LINEAR * 10**k for k in range(4) for m in (1, 3) if m * LINEAR * 10**k < -low)]
    if high < -LINEAR:
        ticks = [t for t in ticks if t <= -LINEAR]
    if len(ticks) > MOST_TICKS[along]:
        ticks = [0.0, *ticks[1::2]]
    (axis.set_yscale if along == "y" else axis.set_xscale)("symlog", linthresh=LINEAR)
    (axis.set_ylim if along == "y" else axis.set_xlim)(1.25 * low, max(high, 0.0) + 0.15 * LINEAR)
    shown = axis.yaxis if along == "y" else axis.xaxis
    shown.set_major_locator(FixedLocator(ticks))
    shown.set_minor_locator(NullLocator())
    # powers of ten are set in superscripts, too small for print
    shown.set_major_formatter(FuncFormatter(lambda t, _: f"{t:,.0f}".replace("-", "\N{MINUS SIGN}")))
    return True


def staggered(methods: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Where along its line a method has its marks: apart from the others', so that coinciding lines are told apart."""
    return {method: (EVERY * k / len(methods), EVERY) for k, method in enumerate(methods)}


def legend(figure: FigureBase, methods: Sequence[str], bands: bool = True) -> None:
    """Methods and, where they are drawn, the bands of real activations, above the panels."""
    boxes = [Rectangle((0, 0), 1, 1, fc=shade, ec="0.78", alpha=0.5, lw=0, hatch="////" if side == "negative" else None,
                       label=f"real {side}s") for side, (shade, _) in SHADES.items()]  # fmt: skip
    lines = handles({method: LINES[method] for method in methods})
    figure.legend(handles=[*lines, *(boxes if bands else [])], loc="outside upper left", ncols=4, handlelength=3.2)
