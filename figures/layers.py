"""At which layer steering works, and how fluent what is written stays: profiles over layers, and layer × strength."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from analyses.effects.report import middle
from figures.captions import counts, listed
from figures.looks import KNOWN, PLACEBO, REST, Look, highlighted, label_ends
from figures.save import PAGE, STYLE, save

UNSTEERED = "unsteered"
#: of a text, under the unsteered model: nats a token, the median over prompts
FLUENCY = "log_likelihood"
#: nats that its axis spans at least
LEAST_RANGE = 0.5
#: inches of a budget's panels: success, and below it fluency
TALL, LOW = 2.3, 1.25
UNITS = {"angle": "rad", "kl": "nats of KL"}
#: of the axis, by which neighbours among the methods stand aside from each other
DODGE = 0.012
#: the unsteered model, the same at every layer
ACROSS: Look = {"color": "black", "ls": ":", "lw": 0.9, "zorder": 1}
#: of a mark that is seen on any shade
OUTLINE = [withStroke(linewidth=2.4, foreground="black")]
#: layers named on an axis
TICKS = 8
#: cells, and cells side by side, up to which their numbers are written into a heat map
WRITTEN, BESIDE = 60, 12
#: of up to so many layers a heat map has what it needs, in inches: a row, a column, its least height, what is above and
#: below, what is beside, and the width that the lines' names leave for both panels; of more, nearly half of the page
FEW, ROW, COLUMN, LEAST, ABOVE, BESIDE_IT, LEFT = 5, 0.35, 0.36, 1.1, 0.7, 1.3, 4.5
#: where no interval reaches above this, axes and scales end where the highest does
HALF = 0.5
CAPTION = """\
Success of steering{judged} by the layer steered at. {panels} N = {n} prompts a point; bars: 95 % intervals, {bars_at}.
{looks} {plain}{bars}{source}"""
JUDGED = ", the share of prompts on which outcome {outcome} says so,"
PLAIN = "Black, dotted: the unsteered model, with the interval of its success. "
BARS = "On the scales of the maps: {marks}. "
PROFILE = "({letter}) Profile of the methods at {level:g} {unit}."
FLUENT = """\
({letter}) Fluency there: the mean log-likelihood of a text's tokens under the unsteered model, median over prompts."""
MAP = """\
({letter}) Success of {method} by layer and strength ({unit}); framed: the best cell, {best:.2f} at layer {layer},
{level:g} {unit}, best of all on these same prompts and so flattered."""


def draw_layers(
    table: pd.DataFrame, out: Path, method: str | None = None, source: str = "", outcome: str = ""
) -> list[Path]:
    """Draw, for each budget in the table, success by layer at the middle level and a heat map of layer × level.

    Below success, where the table has it, stands fluency. Where neither a method nor the unsteered model comes near one
    half, axes and scales end where the highest interval does.

    Args:
        table: `layer`, `method`, `budget` ("angle" or "kl"), `level`, `success` with `_low` and `_high`, `n`;
            `log_likelihood` of the texts if any were written.
        method: of the heat map; by default the one with the most success anywhere, the placebo left out.
        source: sentences for the caption on where the table comes from. outcome: the name of what judged success.

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
    chosen, top = _chosen(scores, method), _top(pd.concat([unsteered, table])["success_high"])
    said: list[str] = []
    with plt.style.context(STYLE):
        fluent = FLUENCY in table and bool(table[FLUENCY].notna().any())
        heights = (TALL, LOW) if fluent else (TALL,)
        figure = plt.figure(figsize=(PAGE, sum(heights) * len(budgets) + 0.2))
        few = len(set(table["layer"])) <= FEW
        wide = BESIDE_IT + COLUMN * len(set(table["layer"]))
        widths = (LEFT - wide, wide) if few else (1.15, 1)
        grid = figure.add_gridspec(len(heights) * len(budgets), 2, width_ratios=widths,
                                   height_ratios=heights * len(budgets))  # fmt: skip
        letters = iter("abcdefgh")
        for i, budget in enumerate(budgets):
            block = slice(len(heights) * i, len(heights) * (i + 1))
            rows = table.loc[table["budget"] == budget]
            levels = sorted(set(rows["level"]))
            level = middle(rows, budget)
            shown, letter = rows.loc[rows["level"] == level], next(letters)
            left = figure.add_subplot(grid[block.start, 0])
            place, tall = grid[block, 1], ABOVE + max(LEAST, ROW * len(levels))
            right = figure.add_subplot(_as_tall(place, tall, sum(heights)) if few else place)
            _profile(left, shown, looks, unsteered, top)
            left.set_title(f"({letter}) methods at {level:g} {UNITS[budget]}")
            said.append(PROFILE.format(letter=letter, level=level, unit=UNITS[budget]))
            if fluent:
                letter = next(letters)
                left.tick_params(labelbottom=False)
                left.set_xlabel("")
                _fluency(figure.add_subplot(grid[block.start + 1, 0], sharex=left), shown, looks, unsteered)
                figure.axes[-1].set_title(f"({letter}) fluency of their texts")
                said.append(FLUENT.format(letter=letter))
            letter = next(letters)
            best = _map(figure, right, rows.loc[rows["method"] == chosen], _marks(unsteered, rows), top)
            right.set_title(f"({letter}) {chosen}" + ("\n" if few else " ") + "by strength")
            right.set_ylabel(f"strength ({UNITS[budget]})")
            said.append(MAP.format(letter=letter, method=chosen, unit=UNITS[budget], best=best["success"],
                                   layer=best["layer"], level=best["level"]))  # fmt: skip
        named = list(dict.fromkeys(name for budget in budgets for name in
                                   _marks(unsteered, table.loc[table["budget"] == budget])))  # fmt: skip
        every = _every(len(set(table["layer"])))
        caption = CAPTION.format(
            panels=" ".join(said), n=counts(table["n"]), looks=_said(scores, looks), source=source,
            judged=JUDGED.format(outcome=outcome) if outcome else "",
            plain=PLAIN if len(unsteered) else "",
            bars_at="marks of a layer side by side" if every == 1 else f"those of each method at every {every}th layer",
            bars=BARS.format(marks=" and ".join(named)) if named else "",
        )  # fmt: skip
        written = save(figure, out, "layers", caption, table)
        plt.close(figure)
    return written


def _as_tall(place: SubplotSpec, wanted: float, there: float) -> SubplotSpec:
    """The upper part of a place, of the height that is wanted; all of it where little would be left. Inches."""
    rest = there - wanted
    return (place.subgridspec(2, 1, height_ratios=(wanted, rest)) if rest > LEAST / 2 else place.subgridspec(1, 1))[0]


def _said(scores: Mapping[str, float], looks: Mapping[str, Look]) -> str:
    """Which methods are in colour and which in grey, the placebo among them."""
    placebos = [f"{name} (dotted)" for name, look in looks.items() if look is PLACEBO]
    grey = listed([*placebos, *(name for name in scores if name not in looks)])
    return f"In colour: {listed(n for n in looks if looks[n] is not PLACEBO)}. In grey: {grey or 'nothing'}."


def _top(highs: pd.Series) -> float:
    """Where axes and scales of success end."""
    highest = float(highs.max())
    return highest if 0 < highest < HALF else 1.0


def _chosen(scores: dict[str, float], method: str | None) -> str:
    """The method of the heat map."""
    real = [name for name in scores if KNOWN.get(name) is not PLACEBO]
    if not real or (method is not None and method not in real):
        known = ", ".join(real) or "none, for the table has only the placebo"
        raise ValueError(f"method={method!r} must be one of the table's methods, the placebo left out: {known}")
    return max(real, key=scores.__getitem__) if method is None else method


def _marks(unsteered: pd.DataFrame, rows: pd.DataFrame) -> dict[str, tuple[float, Look]]:
    """What a map's numbers are to be held against, by what it is called: success, and how it is marked."""
    placebo = rows.loc[[KNOWN.get(str(name)) is PLACEBO for name in rows["method"]], "success"]
    found: dict[str, tuple[float, Look]] = {}
    if len(unsteered):
        found["the unsteered model (dotted)"] = (float(unsteered["success"].iloc[0]), ACROSS)
    if len(placebo):
        mark = {"color": "white", "marker": "x", "ls": "", "ms": 4, "mew": 1.2, "path_effects": OUTLINE}
        found["the best cell of a random direction (cross)"] = (float(placebo.max()), mark)
    return found


def _fluency(axis: Axes, rows: pd.DataFrame, looks: dict[str, Look], unsteered: pd.DataFrame) -> None:
    """A line a method, and the unsteered model's; a scale on which small differences are small."""
    every = _every(len(set(rows["layer"])))
    for name, found in rows.sort_values("layer").groupby("method", sort=False):
        marked = {"ms": 3, "lw": 1, "markevery": (_nth(looks, str(name)) % every, every)} if name in looks else {}
        axis.plot(found["layer"], found[FLUENCY], **marked, **looks.get(str(name), REST))
    for value in unsteered[FLUENCY]:
        axis.axhline(value, **ACROSS)
    low, high = axis.get_ylim()
    room = max(0.0, LEAST_RANGE - (high - low)) / 2
    axis.set(xlabel="layer", ylabel="log-likelihood\n(nats a token)", ylim=(low - room, high + room))


def _profile(axis: Axes, rows: pd.DataFrame, looks: dict[str, Look], unsteered: pd.DataFrame, top: float) -> None:
    """A line a method; those in colour with intervals and, beside the axes, their names. Unsteered goes across."""
    ends: dict[str, tuple[float, float]] = {}
    layers = sorted(set(rows["layer"]))
    every = _every(len(layers))
    for name, found in rows.sort_values("layer").groupby("method", sort=False):
        look = looks.get(str(name))
        if look is None:
            axis.plot(found["layer"], found["success"], **REST)
            continue
        nth = _nth(looks, str(name))
        # side by side: methods that do as well as each other would hide each other; or, of many layers, in turn
        aside = DODGE * (layers[-1] - layers[0]) * (nth - (len(looks) - 1) / 2) if every == 1 else 0.0
        x = found["layer"] + aside
        errors = [found["success"] - found["success_low"], found["success_high"] - found["success"]]
        marked = (nth % every, every)
        axis.errorbar(x, found["success"], yerr=errors, errorevery=marked, markevery=marked, ms=3, lw=1,
                      elinewidth=0.6, **look)  # fmt: skip
        ends[str(name)] = (float(x.iloc[-1]), float(found["success"].iloc[-1]))
    axis.set(xlabel="layer", ylabel="success", ylim=(-0.03 * top, 1.03 * top))
    axis.set_xticks(layers[::every])
    for row in unsteered.to_dict("records"):
        axis.axhspan(row["success_low"], row["success_high"], color="black", alpha=0.07, lw=0, zorder=0)
        axis.axhline(row["success"], **ACROSS)
        ends[UNSTEERED] = (axis.get_xlim()[1], row["success"])
    label_ends(axis, ends, {**looks, UNSTEERED: {"color": "black", "marker": ""}})


def _nth(looks: dict[str, Look], name: str) -> int:
    """Which of the methods in colour it is."""
    return list(looks).index(name)


def _every(layers: int) -> int:
    """Of so many layers every such one is named and marked, eight or fewer in all, so that none stands in another."""
    return max(1, math.ceil(layers / TICKS))


def _map(
    figure: Figure, axis: Axes, rows: pd.DataFrame, marks: dict[str, tuple[float, Look]], top: float
) -> dict[str, Any]:
    """Success by layer and level, in a scale that is one of greys in grey, numbers in the cells if they fit.

    Args:
        marks: what is marked on the scale. top: where it ends.
    """
    wide = rows.pivot(index="level", columns="layer", values="success")
    image = axis.imshow(wide, origin="lower", aspect="auto", cmap="cividis", norm=Normalize(0, top))
    every = _every(wide.shape[1])
    axis.set_xticks(range(wide.shape[1])[::every], wide.columns[::every])
    axis.set_yticks(range(wide.shape[0]), [f"{level:g}" for level in wide.index])
    axis.set_xlabel("layer")
    axis.spines[:].set_visible(False)
    if wide.size <= WRITTEN and wide.shape[1] <= BESIDE:
        for (y, x), value in np.ndenumerate(wide.to_numpy()):
            # black on the bright half of the scale
            axis.text(x, y, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=6,
                      color="black" if value > top / 2 else "white")  # fmt: skip
    y, x = np.unravel_index(int(np.nanargmax(wide.to_numpy())), wide.shape)
    for color, width in (("white", 3.0), ("black", 1.2)):  # seen on any shade
        axis.add_patch(Rectangle((float(x) - 0.5, float(y) - 0.5), 1, 1, fill=False, ec=color, lw=width))
    bar = figure.colorbar(image, ax=axis, label="success", pad=0.02)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    for value, look in marks.values():
        bar.ax.plot([0.0, 1.0] if not look.get("marker") else [0.5], [value] * (1 if look.get("marker") else 2), **look)
    return max(rows.to_dict("records"), key=lambda row: row["success"])
