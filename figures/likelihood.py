"""Likelihood along the path, with real positives and negatives as the measure."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from figures.captions import counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.outcome import draw_outcome as draw_outcome
from figures.reference import LINES, PLACEBO, SCALED, legend, nats, reference_bands, staggered
from figures.tokens import draw_tokens as draw_tokens

STRENGTH = "strength asked for (rad)"
EXIT_RANK = 0.025
RANK_FLOOR = 7e-4
TITLES = {"log_positive": "(a) likelihood under p₊", "log_negative": "(b) likelihood under p₋",
          "rank": "(c) typicality under p₊"}  # fmt: skip
CAPTION = """\
Means over the paths of N = {n} test prompts against the strength asked for; bands: simultaneous 95 % (max-t
bootstrap over prompts). Grey and hatched: the middle half of held-out real positives (N = {positives}) and
negatives (N = {negatives}), near copies and all; their lines: means, for which, as for N, near copies count once.
(a) log p₊; large dots: T*, where the mean turns, with its 95 % interval. {peaks}. (b) log p₋. (c) Mean rank of
log p₊ among held-out positives; dotted: 2.5 %, below which a state counts as off the data. (d) Calibrated h
against the log-ratio of tied directional densities; marks: largest strength; dashed: equality; plus and cross:
real positives and negatives. The axes of (a) and (b) leave the placebo out of view where it falls further.
{scaled} {source}"""


def draw_likelihood(
    curves: pd.DataFrame, references: pd.DataFrame, summary: pd.DataFrame, *, source: str = "", figure: Place = None
) -> Drawing:
    """Draw means along the path with simultaneous bands, T* with its interval, and real activations of both classes.

    Args:
        curves: `center`, `low`, `high` by `method`, `quantity` and `strength`.
        references: `mean` and quantiles by `side` and `quantity`.
        summary: `t_star` with `_low` and `_high` by `method`.
        source: sentences for the caption on where the tables come from. figure: see `page`.
    """
    scaled = False
    with page(figure, PAGE, 5.0) as figure:
        axes = figure.subplots(2, 2)
        for axis, (quantity, title) in zip(axes.flat, TITLES.items(), strict=False):
            _panel(axis, curves.loc[curves["quantity"] == quantity], quantity != "rank")
            reference_bands(axis, references.loc[references["quantity"] == quantity])
            axis.set(title=title, xlabel=STRENGTH, xlim=(0, curves["strength"].max()))
        for axis, name in zip(axes.flat, ("log_positive", "log_negative"), strict=False):
            axis.set_ylabel(f"mean log p{'₊' if name == 'log_positive' else '₋'} (nats)")
            scaled |= _clip(axis, curves, references, name)
        _mark_peaks(axes[0, 0], curves, summary)
        axes[1, 0].set(yscale="log", ylim=(RANK_FLOOR, 1.0), ylabel="mean rank among\nheld-out positives")
        # powers of ten are set in superscripts, too small for print
        axes[1, 0].yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes[1, 0].yaxis.set_minor_locator(NullLocator())
        axes[1, 0].axhline(EXIT_RANK, color="0.2", lw=0.8, ls=(0, (1, 2)))
        _plane(axes[1, 1], curves, references)
        legend(figure, [str(m) for m in curves["method"].unique()])
        peaks = "; ".join(f"{row['method']} {row['t_star']:.2f} [{row['t_star_low']:.2f}, {row['t_star_high']:.2f}]"
                          for row in summary.to_dict("records"))  # fmt: skip
        sides = {side: counts(rows["n"]) for side, rows in references.groupby("side")}
        caption = CAPTION.format(n=counts(curves["n"]), positives=sides["positive"], negatives=sides["negative"],
                                 peaks=f"T*: {peaks}", scaled=SCALED if scaled else "", source=source)  # fmt: skip
        shown = curves.loc[curves["quantity"].isin([*TITLES, "tied_log_ratio", "h_calibrated"])]
        return Drawing(figure, "likelihood", caption, shown)


def _panel(axis: Axes, shown: pd.DataFrame, banded: bool) -> None:
    marks = staggered([str(m) for m in shown["method"].unique()])
    for method, rows in shown.groupby("method", sort=False):
        look = LINES[str(method)]
        axis.plot(rows["strength"], rows["center"], ms=3, markevery=marks[str(method)], **look)
        # off the data all prompts share the smallest rank there is: its mean has no useful band
        if banded:
            axis.fill_between(rows["strength"], rows["low"], rows["high"], color=look["color"], alpha=0.15, lw=0)


def _clip(axis: Axes, curves: pd.DataFrame, references: pd.DataFrame, quantity: str) -> bool:
    """An axis for all but the placebo, which falls by orders of magnitude more; whether it is logarithmic."""
    real = curves.loc[(curves["quantity"] == quantity) & (curves["method"] != PLACEBO)]
    sides = references.loc[references["quantity"] == quantity]
    return nats(axis, [real["low"].min(), real["high"].max(), *sides["q25"], *sides["q75"]])


def _mark_peaks(axis: Axes, curves: pd.DataFrame, summary: pd.DataFrame) -> None:
    """T* on each curve, with its interval."""
    for row in summary.to_dict("records"):
        rows = curves.loc[(curves["method"] == row["method"]) & (curves["quantity"] == "log_positive")]
        height = float(np.interp(row["t_star"], rows["strength"], rows["center"]))
        error = [[row["t_star"] - row["t_star_low"]], [row["t_star_high"] - row["t_star"]]]
        look = LINES[row["method"]]
        axis.errorbar([row["t_star"]], [height], xerr=np.abs(error), fmt="o", ms=5, color=look["color"], mec="black",
                      mew=0.6, elinewidth=1, capsize=2, clip_on=not math.isclose(row["t_star"], 0),
                      zorder=3)  # fmt: skip


def _plane(axis: Axes, curves: pd.DataFrame, references: pd.DataFrame) -> None:
    """Mean h against the mean ratio as the strength grows, and the diagonal on which they agree."""
    x, y = "tied_log_ratio", "h_calibrated"
    for method, rows in curves.groupby("method", sort=False):
        wide = rows.pivot(index="strength", columns="quantity", values="center")
        look = LINES[str(method)]
        axis.plot(wide[x], wide[y], markevery=[len(wide) - 1], **look)
    for side, marker in (("positive", "P"), ("negative", "X")):
        real = references.loc[references["side"] == side].set_index("quantity")["mean"]
        axis.plot(real[x], real[y], marker, ms=7, color="black", mec="white", zorder=3)
    axis.axline((0, 0), slope=1, color="0.6", lw=0.8, ls=(0, (4, 3)), zorder=0)
    axis.set(title="(d) barrier against ratio", ylabel="mean calibrated h (nats)",
             xlabel="mean log p₊/p₋ of directions (nats)")  # fmt: skip
