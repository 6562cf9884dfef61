"""At which layer steering works, and how fluent what is written stays: profiles over layers, and layer × strength."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from analyses.effects.report import middle
from figures.captions import counts, listed
from figures.looks import KNOWN, PLACEBO, Look, highlighted
from figures.multiples import ACROSS, Row, draw_multiples
from figures.save import PAGE, STYLE, save

UNSTEERED = "unsteered"
#: of a text, under the unsteered model: nats a token, the median over prompts
FLUENCY = "log_likelihood"
#: nats that its axis spans at least
LEAST_RANGE = 0.5
#: inches of a row of panels, of success and of fluency, and of titles and labels
TALL, LOW, AROUND = 1.4, 1.0, 0.6
#: inches left, right, below and above a map, of a level, and of a map at least and at most; of a layer at most
LEFT, RIGHT, BELOW, ABOVE = 0.68, 0.68, 0.45, 0.3
MAP_LEVEL, MAP_LOW, MAP_TALL, MAP_LAYER = 0.4, 0.75, 1.2, 0.7
#: where no interval reaches above this, axes and scales of success end where the highest does
HALF = 0.5
UNITS = {"angle": "rad", "kl": "nats of KL"}
SHORT = {"angle": "rad", "kl": "nats"}
#: of a mark that is seen on any shade
OUTLINE = [withStroke(linewidth=2.4, foreground="black")]
#: layers named on an axis
TICKS = 8
#: cells, and cells side by side, up to which their numbers are written into a heat map
WRITTEN, BESIDE = 60, 12
CAPTION = """\
Success of steering{judged} by the layer steered at; a column has one method in colour, with its 95 % intervals, and the
others in grey, the placebo with crosses. {panels} N = {n} prompts a point. {looks}
{plain}{bars}{source}"""
JUDGED = ", the share of prompts on which outcome {outcome} says so,"
PLAIN = "Black, dotted: the unsteered model, with the interval of its success. "
BARS = "On the scales of the maps: {marks}. "
PROFILE = "({letter}) Methods at {level:g} {unit}."
FLUENT = """\
({letter}) Fluency there: the mean log-likelihood of a text's tokens under the unsteered model, median over prompts."""
MAP = """\
({letter}) Success of {method} by layer and strength ({unit}); framed: the best cell, {best:.2f} at layer {layer},
{level:g} {unit}, best of all on these same prompts and so flattered."""


def draw_layers(
    table: pd.DataFrame, out: Path, method: str | None = None, source: str = "", outcome: str = ""
) -> list[Path]:
    """Draw, for each budget in the table, success by layer at the middle level and a heat map of layer × level.

    Below success, where the table has it, stands fluency. A column a method in colour; a map a budget below.
    Where neither a method nor the unsteered model comes near one half, axes and scales end where the highest interval
    does.

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
    chosen, top = _chosen(scores, method), _top([*unsteered["success_high"], *table["success_high"]])
    letters = iter("abcdefgh")
    rows, said = _profiles(table, unsteered, budgets, letters)
    with plt.style.context(STYLE):
        heights = [TALL if row.y == "success" else LOW for row in rows]
        most = max(table.groupby("budget")["level"].nunique().tolist())
        tall = min(MAP_TALL, max(MAP_LOW, MAP_LEVEL * most)) + BELOW + ABOVE
        figure = plt.figure(figsize=(PAGE, sum(heights) + AROUND + tall))
        maps = _maps(figure, len(budgets), len(set(table["layer"])), tall)
        for row, axes in zip(rows, draw_multiples(figure, rows, looks, heights), strict=True):
            low, high = axes[0].get_ylim()
            least = max(0.0, LEAST_RANGE - (high - low)) / 2
            axes[0].set_ylim((-0.03 * top, 1.03 * top) if row.y == "success" else (low - least, high + least))
        named: dict[str, None] = {}
        for (axis, bar), budget, letter in zip(maps, budgets, letters, strict=False):
            found = table.loc[table["budget"] == budget]
            marks = _marks(unsteered, found)
            best = _map(axis, bar, found.loc[found["method"] == chosen], marks, top)
            axis.set_title(f"({letter}) {chosen} by strength")
            axis.set_ylabel(f"strength\n({UNITS[budget]})")
            said.append(MAP.format(letter=letter, method=chosen, unit=UNITS[budget], best=best["success"],
                                   layer=best["layer"], level=best["level"]))  # fmt: skip
            named |= dict.fromkeys(marks)
        caption = CAPTION.format(
            panels=" ".join(said), n=counts(table["n"]), looks=_said(scores, looks), source=source,
            judged=JUDGED.format(outcome=outcome) if outcome else "",
            plain=PLAIN if len(unsteered) else "",
            bars=BARS.format(marks=" and ".join(named)) if named else "",
        )  # fmt: skip
        return save(figure, out, "layers", caption, table)


def _profiles(
    table: pd.DataFrame, unsteered: pd.DataFrame, budgets: Sequence[str], letters: Iterator[str]
) -> tuple[list[Row], list[str]]:
    """The rows of panels: success by layer at each budget's middle level, and fluency below; and what they are."""
    fluent = FLUENCY in table and bool(table[FLUENCY].notna().any())
    rows: list[Row] = []
    said: list[str] = []
    for budget in budgets:
        found = table.loc[table["budget"] == budget]
        level, letter = middle(found, budget), next(letters)
        shown = found.loc[found["level"] == level]
        labels = ("" if fluent else "layer", f"success\n({letter}) {level:g} {SHORT[budget]}")
        rows.append(Row(shown, "layer", "success", labels, unsteered))
        said.append(PROFILE.format(letter=letter, level=level, unit=UNITS[budget]))
        if fluent:
            letter = next(letters)
            labels = ("layer", f"log-likelihood\n(nats a token)\n({letter}) {level:g} {SHORT[budget]}")
            rows.append(Row(shown, "layer", FLUENCY, labels, unsteered))
            said.append(FLUENT.format(letter=letter))
    return rows, said


def _said(scores: Mapping[str, float], looks: Mapping[str, Look]) -> str:
    """Which methods are in colour and which in grey, the placebo among them."""
    placebos = [f"{name} (crosses)" for name, look in looks.items() if look is PLACEBO]
    grey = listed([*placebos, *(name for name in scores if name not in looks)])
    return f"In colour: {listed(n for n in looks if looks[n] is not PLACEBO)}. In grey: {grey or 'nothing'}."


def _top(highs: Sequence[float]) -> float:
    """Where axes and scales of success end."""
    highest = max(highs)
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


def _every(layers: int) -> int:
    """Of so many layers every such one is named, eight or fewer in all."""
    return max(1, math.ceil(layers / TICKS))


def _maps(figure: Figure, n: int, layers: int, tall: float) -> list[tuple[Axes, Axes]]:
    """Axes of maps and of their scales, side by side at the foot; the layout fills what is above them.

    Their labels would else push the panels above them apart.
    """
    width, height = figure.get_size_inches()
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, tall / height, 1, 1 - tall / height))
    wide = min(width / n - LEFT - RIGHT, MAP_LAYER * layers) / width
    down, high = BELOW / height, (tall - BELOW - ABOVE) / height
    starts = [i / n + LEFT / width for i in range(n)]
    return [
        (figure.add_axes((x, down, wide, high)), figure.add_axes((x + wide + 0.012, down, 0.014, high))) for x in starts
    ]


def _map(
    axis: Axes, scale: Axes, rows: pd.DataFrame, marks: dict[str, tuple[float, Look]], top: float
) -> dict[str, Any]:
    """Success by layer and level, in a scale that is one of greys in grey, numbers in the cells if they fit.

    Args:
        scale: for the colours. marks: what is marked on it. top: where it ends.
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
    bar = plt.colorbar(image, cax=scale, label="success")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    for value, look in marks.values():
        bar.ax.plot([0.0, 1.0] if not look.get("marker") else [0.5], [value] * (1 if look.get("marker") else 2), **look)
    return max(rows.to_dict("records"), key=lambda row: row["success"])
