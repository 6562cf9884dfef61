"""Small multiples: a column a method, a row a quantity; each panel has one method in colour and the others in grey."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from figures.looks import ACROSS, KNOWN, PLACEBO, REST, SHADE, Look

#: how much of a method's colour its interval has
BAND = 0.25
#: letters of a method's name side by side in a column's title, twice as many where columns are few
WIDE, ROOMY = 14, 3
#: numbers on an axis, but where points stand apart, each of which has its own
TICKS = 3
#: points by which the placebo stands to the left of its place and the method in colour to the right, to be told apart
ASIDE = 2.0
#: methods that have their colour in another panel, where points stand apart
DOTS: Look = {"ls": "", "marker": ".", "ms": 3.5}
#: of a panel's width, left free on either side of points so moved
MARGIN = 0.1


@dataclass(frozen=True)
class Row:
    """A row of panels.

    Attributes:
        table: `method`, the columns `x` and `y`, and the interval of `y` as `Y_low` and `Y_high` where it has one.
        x: what is drawn against.
        y: what is drawn.
        labels: of the two axes.
        unsteered: one row with `y`, and its interval; or none.
        logarithmic: whether x grows by factors, those of `level`.
        apart: whether points stand without a line from one to the next, the placebo's with their intervals too. Between
            few of them a line or a band would speak of what was not measured.
    """

    table: pd.DataFrame
    x: str
    y: str
    labels: tuple[str, str]
    unsteered: pd.DataFrame
    logarithmic: bool = False
    apart: bool = False


def columns(looks: Iterable[str]) -> list[str]:
    """The methods with a column of their own: those in colour, the placebo left out, which stands in every panel."""
    names = list(looks)
    return [name for name in names if KNOWN.get(name) is not PLACEBO] or names


def draw_multiples(
    figure: FigureBase, rows: Sequence[Row], looks: dict[str, Look], heights: Sequence[float] | None = None
) -> list[list[Axes]]:
    """Fill the figure.

    Args:
        heights: of the rows, relative to each other; by default all alike.

    Returns:
        The axes, row by row; those of a row share both scales.
    """
    names = columns(looks)
    wide = WIDE if len(names) > ROOMY else 2 * WIDE
    grid = figure.add_gridspec(len(rows), len(names), height_ratios=heights)
    drawn: list[list[Axes]] = []
    for i, row in enumerate(rows):
        axes: list[Axes] = []
        for j, name in enumerate(names):
            first = axes[0] if axes else None
            axis = figure.add_subplot(grid[i, j], sharex=first, sharey=first)
            _panel(axis, row, name, looks[name])
            axis.tick_params(labelleft=j == 0)
            if i == 0:
                axis.set_title("\n".join(wrap(name.replace("_", "_ "), wide)).replace("_ ", "_"), fontsize=7)
            axes.append(axis)
        axes[0].set_ylabel(row.labels[1])
        # below the middle of the row, which of an even number of panels is a gap
        axes[(len(axes) - 1) // 2].set_xlabel(row.labels[0], x=0.5 if len(axes) % 2 else 1.07)
        _scale(axes[0], row)
        drawn.append(axes)
    return drawn


def _panel(axis: Axes, row: Row, name: str, look: Look) -> None:
    """One method in colour with its interval, over all others, the placebo and the unsteered model."""
    alone: Look = {"ls": ""} if row.apart else {}
    for other, found in row.table.sort_values("level" if row.logarithmic else row.x).groupby("method", sort=False):
        if other == name:
            drawn = axis.plot(found[row.x], found[row.y], ms=2.6, lw=1, zorder=3, **{**look, **alone})
            if row.apart or len(found) == 1:  # a band of one point has no width
                _aside([*drawn, *_bars(axis, found, row, look)], axis, row.apart * ASIDE)
            elif f"{row.y}_low" in found:
                axis.fill_between(found[row.x], found[f"{row.y}_low"], found[f"{row.y}_high"], color=look["color"],
                                  alpha=BAND, lw=0, zorder=2)  # fmt: skip
        elif KNOWN.get(str(other)) is PLACEBO:
            drawn = axis.plot(found[row.x], found[row.y], ms=2.6, lw=0.9, zorder=2, **{**PLACEBO, **alone})
            if row.apart:
                _aside([*drawn, *_bars(axis, found, row, PLACEBO)], axis, -ASIDE)
        else:
            axis.plot(found[row.x], found[row.y], **{**REST, **(DOTS if row.apart else {})})
    if row.apart:
        axis.margins(x=MARGIN)
    for plain in row.unsteered.to_dict("records"):
        axis.axhline(plain[row.y], **ACROSS)
        if f"{row.y}_low" in plain:
            axis.axhspan(plain[f"{row.y}_low"], plain[f"{row.y}_high"], lw=0, zorder=0, **SHADE)


def _bars(axis: Axes, found: pd.DataFrame, row: Row, look: Look) -> list[Artist]:
    """The interval of each point, where it has one."""
    if f"{row.y}_low" not in found:
        return []
    return [axis.vlines(found[row.x], found[f"{row.y}_low"], found[f"{row.y}_high"], color=look["color"], lw=1)]


def _aside(drawn: Iterable[Artist], axis: Axes, points: float) -> None:
    """Move what was drawn to the side, by which axes do not change."""
    for artist in drawn:
        artist.set_transform(axis.transData + ScaledTranslation(points / 72, 0, axis.figure.dpi_scale_trans))


def _scale(axis: Axes, row: Row) -> None:
    """Few numbers, for the panels are narrow, and all of them of the table."""
    values = sorted(set(row.table["level" if row.logarithmic else row.x]))
    if row.logarithmic:
        axis.set(xscale="log", xlim=(0.8 * values[0], 1.25 * max(values[-1], row.table[row.x].max())))
    shown = values if row.apart or len(values) <= TICKS else [values[0], values[len(values) // 2], values[-1]]
    axis.xaxis.set_major_locator(FixedLocator(shown))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.xaxis.set_minor_locator(NullLocator())
