"""At which layer steering works: the profile over layers, and layer × strength for one method."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from figures.captions import counts, listed
from figures.looks import KNOWN, PLACEBO, REST, Look, highlighted, label_ends
from figures.save import PAGE, STYLE, save

UNSTEERED = "unsteered"
UNITS = {"angle": "rad", "kl": "nats of KL"}
#: of the axis, by which neighbours among the methods stand aside from each other
DODGE = 0.012
#: layers named on an axis
TICKS = 8
#: cells, and cells side by side, up to which their numbers are written into a heat map
WRITTEN, BESIDE = 60, 12
CAPTION = """\
Success of steering by the layer steered at. {panels} N = {n} prompts a point; bars: 95 % intervals, marks
of a layer side by side. In colour:
{shown}. In grey: {rest}. {plain}{source}"""
PLAIN = "Black, dotted: the unsteered model, with its interval. "
PROFILE = "({letter}) Profile of the methods at {level:g} {unit}."
MAP = """\
({letter}) Success of {method} by layer and strength ({unit}); framed: the best cell, {best:.2f} at layer {layer},
{level:g} {unit}, best of all on these same prompts and so flattered."""


def draw_layers(table: pd.DataFrame, out: Path, method: str | None = None, source: str = "") -> list[Path]:
    """Draw, for each budget in the table, success by layer at the middle level and a heat map of layer × level.

    Args:
        table: `layer`, `method`, `budget` ("angle" or "kl"), `level`, `success` with `_low` and `_high`, `n`.
        method: of the heat map; by default the one with the most success anywhere, the placebo left out.
        source: sentences for the caption on where the table comes from.

    Raises:
        ValueError: the table has neither budget, or `method` is the placebo or none of its methods. The unsteered
            model's row is drawn as a line across all layers.
    """
    unsteered = table.loc[table["method"] == UNSTEERED]
    table = table.loc[table["budget"].isin(list(UNITS))]
    budgets = [budget for budget in UNITS if budget in set(table["budget"])]
    if not budgets:
        raise ValueError(f"table has no row whose budget is one of {', '.join(UNITS)}; there is nothing to compare at")
    scores = {str(name): max(rows["success"].tolist()) for name, rows in table.groupby("method", sort=False)}
    looks = highlighted(scores)
    chosen = _chosen(scores, method)
    said: list[str] = []
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(len(budgets), 2, figsize=(PAGE, 2.5 * len(budgets)), squeeze=False,
                                    width_ratios=(1.15, 1))  # fmt: skip
        letters = iter("abcdefgh")
        for (left, right), budget in zip(axes, budgets, strict=True):
            rows = table.loc[table["budget"] == budget]
            levels = sorted(set(rows["level"]))
            level = levels[(len(levels) - 1) // 2]
            first, second = next(letters), next(letters)
            _profile(left, rows.loc[rows["level"] == level], looks)
            for row in unsteered.to_dict("records"):
                _across(left, row)
            left.set_title(f"({first}) methods at {level:g} {UNITS[budget]}")
            best = _map(figure, right, rows.loc[rows["method"] == chosen])
            right.set_title(f"({second}) {chosen} by strength")
            right.set_ylabel(f"strength ({UNITS[budget]})")
            said.append(PROFILE.format(letter=first, level=level, unit=UNITS[budget]))
            said.append(MAP.format(letter=second, method=chosen, unit=UNITS[budget], best=best["success"],
                                   layer=best["layer"], level=best["level"]))  # fmt: skip
        caption = CAPTION.format(
            panels=" ".join(said), n=counts(table["n"]), shown=listed(looks), source=source,
            rest=listed(m for m in scores if m not in looks) or "nothing",
            plain=PLAIN if len(unsteered) else "",
        )  # fmt: skip
        written = save(figure, out, "layers", caption, table)
        plt.close(figure)
    return written


def _chosen(scores: dict[str, float], method: str | None) -> str:
    """The method of the heat map."""
    real = [name for name in scores if KNOWN.get(name) is not PLACEBO]
    if not real or (method is not None and method not in real):
        known = ", ".join(real) or "none, for the table has only the placebo"
        raise ValueError(f"method={method!r} must be one of the table's methods, the placebo left out: {known}")
    return max(real, key=scores.__getitem__) if method is None else method


def _across(axis: Axes, row: dict[Any, Any]) -> None:
    """The unsteered model, the same at every layer."""
    axis.axhspan(row["success_low"], row["success_high"], color="black", alpha=0.07, lw=0, zorder=0)
    axis.axhline(row["success"], color="black", ls=":", lw=0.9, zorder=1)


def _profile(axis: Axes, rows: pd.DataFrame, looks: dict[str, Look]) -> None:
    """A line a method; those in colour with intervals and, beside the axes, their names."""
    ends: dict[str, tuple[float, float]] = {}
    layers = sorted(set(rows["layer"]))
    for name, found in rows.sort_values("layer").groupby("method", sort=False):
        look = looks.get(str(name))
        if look is None:
            axis.plot(found["layer"], found["success"], **REST)
            continue
        # side by side: methods that do as well as each other would hide each other
        aside = DODGE * (layers[-1] - layers[0]) * (list(looks).index(str(name)) - (len(looks) - 1) / 2)
        x = found["layer"] + aside
        errors = [found["success"] - found["success_low"], found["success_high"] - found["success"]]
        axis.errorbar(x, found["success"], yerr=errors, ms=3, lw=1, elinewidth=0.6, **look)
        ends[str(name)] = (float(x.iloc[-1]), float(found["success"].iloc[-1]))
    axis.set(xlabel="layer", ylabel="success", ylim=(-0.03, 1.03))
    axis.set_xticks(layers[:: _every(len(layers))])
    label_ends(axis, ends, looks)


def _every(layers: int) -> int:
    """Of so many layers every such one is named, eight or fewer in all, so that no name stands in another."""
    return max(1, math.ceil(layers / TICKS))


def _map(figure: Figure, axis: Axes, rows: pd.DataFrame) -> dict[str, Any]:
    """Success by layer and level, in a scale that is one of greys in grey, numbers in the cells if they fit."""
    wide = rows.pivot(index="level", columns="layer", values="success")
    image = axis.imshow(wide, origin="lower", aspect="auto", cmap="cividis", norm=Normalize(0, 1))
    every = _every(wide.shape[1])
    axis.set_xticks(range(wide.shape[1])[::every], wide.columns[::every])
    axis.set_yticks(range(wide.shape[0]), [f"{level:g}" for level in wide.index])
    axis.set_xlabel("layer")
    axis.spines[:].set_visible(False)
    if wide.size <= WRITTEN and wide.shape[1] <= BESIDE:
        for (y, x), value in np.ndenumerate(wide.to_numpy()):
            # black on the bright half of the scale
            axis.text(x, y, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=6,
                      color="black" if value > 0.5 else "white")  # fmt: skip
    y, x = np.unravel_index(int(np.nanargmax(wide.to_numpy())), wide.shape)
    for color, width in (("white", 3.0), ("black", 1.2)):  # seen on any shade
        axis.add_patch(Rectangle((float(x) - 0.5, float(y) - 0.5), 1, 1, fill=False, ec=color, lw=width))
    bar = figure.colorbar(image, ax=axis, label="success", pad=0.02)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return max(rows.to_dict("records"), key=lambda row: row["success"])
