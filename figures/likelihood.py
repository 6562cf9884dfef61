"""Likelihood along the path and along the text, with real positives and negatives as the measure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from figures.save import STYLE, save

#: the same look for a method in every panel
LOOKS: dict[str, dict[str, Any]] = {
    "random direction": {"color": "C3", "ls": ":"},
    "CAA": {"color": "C0", "ls": "-"},
    "ODESteer as published": {"color": "C2", "ls": "--"},
    "kernel flow": {"color": "C1", "ls": "-"},
    "one geodesic step": {"color": "C4", "ls": "-."},
    "optimal cap": {"color": "C5", "ls": "--"},
    "unsteered": {"color": "black", "ls": "-"},
    "real positives": {"color": "0.45", "ls": "-"},
}
PLACEBO = "random direction"
STRENGTH = "strength asked for (rad)"
EXIT_RANK = 0.025
RANK_FLOOR = 7e-4
MIN_PROMPTS = 20


def draw_likelihood(curves: pd.DataFrame, references: pd.DataFrame, summary: pd.DataFrame, out: Path) -> list[Path]:
    """Draw means along the path with simultaneous bands, T* with its interval, and real activations of both classes.

    Args:
        curves: `center`, `low`, `high` by `method`, `quantity` and `strength`.
        references: `mean` and quantiles by `side` and `quantity`.
        summary: `t_star` with `_low` and `_high` by `method`.
    """
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(6.75, 5.0))
        titles = {"log_positive": "(a) likelihood under $p_+$; dots: $T^*$ with 95 % interval",
                  "log_negative": "(b) likelihood under $p_-$",
                  "rank": "(c) typicality, means; dotted: 2.5 %, off the data"}  # fmt: skip
        for axis, (quantity, title) in zip(axes.flat, titles.items(), strict=False):
            shown = curves.loc[curves["quantity"] == quantity]
            _reference_bands(axis, references.loc[references["quantity"] == quantity])
            for method, rows in shown.groupby("method", sort=False):
                look = LOOKS[str(method)]
                axis.plot(rows["strength"], rows["center"], **look)
                # off the data all prompts share the smallest rank there is: its mean has no useful band
                if quantity != "rank":
                    axis.fill_between(
                        rows["strength"], rows["low"], rows["high"], color=look["color"], alpha=0.15, lw=0
                    )
            axis.set(title=title, xlabel=STRENGTH, xlim=(0, shown["strength"].max()))
        for axis, name in zip(axes.flat, ("log_positive", "log_negative"), strict=False):
            axis.set_ylabel(f"mean log $p_{'+' if name == 'log_positive' else '-'}$ (nats)")
            _clip(axis, curves, references, name)
        _mark_peaks(axes[0, 0], curves, summary)
        axes[1, 0].set(yscale="log", ylim=(RANK_FLOOR, 1.0), ylabel="mean rank among\nheld-out positives")
        axes[1, 0].axhline(EXIT_RANK, color="0.35", lw=0.8, ls=(0, (1, 2)))
        _plane(axes[1, 1], curves, references)
        n = int(curves["n"].iloc[0])
        _legend(
            figure, [str(m) for m in curves["method"].unique()], f"means over {n} test prompts, simultaneous 95 % bands"
        )
        written = save(figure, out, "likelihood")
        plt.close(figure)
    return written


def draw_tokens(tokens: pd.DataFrame, references: pd.DataFrame, strength: float, out: Path) -> list[Path]:
    """Draw steered states token by token, at one strength: means over prompts still running, pointwise 95 % intervals.

    Args:
        tokens: `token`, `state` (1: steered) and the quantities, by `method`, `strength` and `prompt`.
    """
    panels = {"log_positive": ("(a) likelihood under $p_+$", "mean log $p_+$ (nats)"),
              "tied_log_ratio": ("(b) ratio of directional densities", "mean log $p_+/p_-$ (nats)"),
              "h_calibrated": ("(c) calibrated barrier", "mean $h$ (nats)")}  # fmt: skip
    shown: pd.DataFrame = tokens.loc[(tokens["state"] == 1) & tokens["strength"].isin([0.0, strength])]
    methods = [str(m) for m in shown["method"].unique()]
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(6.75, 2.7))
        for axis, (quantity, (title, label)) in zip(axes, panels.items(), strict=True):
            _reference_bands(axis, references.loc[references["quantity"] == quantity])
            extent: list[float] = []
            for method in methods:
                found = shown.loc[shown["method"] == method].groupby("token")[quantity].agg(["mean", "sem", "count"])
                found = found[found["count"] >= min(MIN_PROMPTS, found["count"].max())]
                low, high = found["mean"] - 1.96 * found["sem"], found["mean"] + 1.96 * found["sem"]
                axis.plot(found.index, found["mean"], **LOOKS[method])
                axis.fill_between(found.index, low, high, color=LOOKS[method]["color"], alpha=0.15, lw=0)
                if method != PLACEBO:
                    extent += [low.min(), high.max()]
            sides = references.loc[references["quantity"] == quantity]
            _limits(axis, [*extent, *sides["q25"], *sides["q75"]])
            axis.set(title=title, xlabel="token (−1: the prompt's last)", ylabel=label)
        n = shown["prompt"].nunique()
        _legend(figure, methods, f"{strength:g} rad; means over those of {n} prompts that still run, pointwise 95 %")
        written = save(figure, out, "tokens")
        plt.close(figure)
    return written


def draw_outcome(texts: pd.DataFrame, out: Path) -> list[Path]:
    """Draw what becomes of the text against what the steered states are worth; a dot a method and strength.

    Args:
        texts: by `method`, `strength` and `prompt`: `posterior` (or, without a judge, `log_likelihood`, nats a token),
            and the mean over steered tokens of log p₊ and of calibrated h.
    """
    judged = "posterior" in texts
    outcome, label = (("posterior", "mean posterior of the text") if judged else
                      ("log_likelihood", "mean log-likelihood\nof the text (nats/token)"))  # fmt: skip
    panels = {"tokens_log_positive": ("(a) log $p_+$, mean over tokens (nats)"),
              "tokens_h_calibrated": ("(b) calibrated $h$, mean over tokens (nats)")}  # fmt: skip
    cells = texts.groupby(["method", "strength"], sort=False)[[outcome, *panels]].agg(["mean", "sem"])
    methods = [str(m) for m in texts["method"].unique()]
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(6.75, 2.8), sharey=True)
        for axis, (quantity, title) in zip(axes, panels.items(), strict=True):
            for method in methods:
                rows = cells.loc[[method]].sort_index(level="strength")
                axis.errorbar(rows[quantity]["mean"], rows[outcome]["mean"], xerr=1.96 * rows[quantity]["sem"],
                              yerr=1.96 * rows[outcome]["sem"], marker="o", ms=3, lw=1, elinewidth=0.6,
                              **LOOKS[method])  # fmt: skip
            axis.set_xlabel(title)
        real = cells.loc[cells.index.get_level_values("method") != PLACEBO]["tokens_log_positive"]["mean"]
        _limits(axes[0], [real.min(), real.max()], along="x")
        axes[0].set_ylabel(label)
        n = texts["prompt"].nunique()
        _legend(
            figure, methods, f"means over {n} prompts with 95 % intervals; lines join growing strengths", bands=False
        )
        written = save(figure, out, "outcome")
        plt.close(figure)
    return written


def _reference_bands(axis: Axes, rows: pd.DataFrame) -> None:
    """The mean and the middle half of real positives and negatives."""
    for side, shade in (("positive", "0.75"), ("negative", "0.88")):
        for row in rows.loc[rows["side"] == side].to_dict("records"):
            axis.axhspan(row["q25"], row["q75"], color=shade, alpha=0.5, lw=0)
            axis.axhline(row["mean"], color="0.45" if side == "positive" else "0.65", lw=0.8)


def _clip(axis: Axes, curves: pd.DataFrame, references: pd.DataFrame, quantity: str) -> None:
    """An axis for all but the placebo, which falls by orders of magnitude more."""
    real = curves.loc[(curves["quantity"] == quantity) & (curves["method"] != PLACEBO)]
    sides = references.loc[references["quantity"] == quantity]
    _limits(axis, [real["low"].min(), real["high"].max(), *sides["q25"], *sides["q75"]])


def _limits(axis: Axes, values: list[float], along: str = "y") -> None:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low)
    (axis.set_ylim if along == "y" else axis.set_xlim)(low - margin, high + margin)


def _mark_peaks(axis: Axes, curves: pd.DataFrame, summary: pd.DataFrame) -> None:
    """T* on each curve, with its interval."""
    for row in summary.to_dict("records"):
        rows = curves.loc[(curves["method"] == row["method"]) & (curves["quantity"] == "log_positive")]
        height = float(np.interp(row["t_star"], rows["strength"], rows["center"]))
        error = [[row["t_star"] - row["t_star_low"]], [row["t_star_high"] - row["t_star"]]]
        color = LOOKS[row["method"]]["color"]
        axis.errorbar([row["t_star"]], [height], xerr=np.abs(error), fmt="o", ms=4, color=color, mec="white", mew=0.5,
                      elinewidth=1, capsize=2, clip_on=not math.isclose(row["t_star"], 0), zorder=3)  # fmt: skip


def _plane(axis: Axes, curves: pd.DataFrame, references: pd.DataFrame) -> None:
    """Mean h against the mean ratio as the strength grows, and the diagonal on which they agree."""
    x, y = "tied_log_ratio", "h_calibrated"
    for method, rows in curves.groupby("method", sort=False):
        wide = rows.pivot(index="strength", columns="quantity", values="center")
        axis.plot(wide[x], wide[y], **LOOKS[str(method)])
        axis.plot(wide[x].iloc[-1], wide[y].iloc[-1], "o", ms=3, color=LOOKS[str(method)]["color"])
    for side, marker in (("positive", "P"), ("negative", "X")):
        real = references.loc[references["side"] == side].set_index("quantity")["mean"]
        axis.plot(real[x], real[y], marker, ms=7, color="black", mec="white", label=f"real {side}s", zorder=3)
    axis.axline((0, 0), slope=1, color="0.6", lw=0.8, ls=(0, (4, 3)), zorder=0)
    axis.legend(loc="best", frameon=True, edgecolor="0.8")
    axis.set(title="(d) barrier against ratio; dots: largest strength", ylabel="mean calibrated $h$ (nats)",
             xlabel="mean log $p_+/p_-$ of directions (nats)")  # fmt: skip


def _legend(figure: Figure, methods: list[str], note: str, bands: bool = True) -> None:
    lines = [Line2D([], [], label=method, **LOOKS[method]) for method in methods]
    boxes = [Rectangle((0, 0), 1, 1, color=shade, alpha=0.5, lw=0, label=f"real {side}s: mean, middle half")
             for side, shade in (("positive", "0.75"), ("negative", "0.88"))]  # fmt: skip
    figure.legend(handles=[*lines, *(boxes if bands else [])], loc="outside upper left", ncols=4,
                  title=note, title_fontsize=7, alignment="left")  # fmt: skip
