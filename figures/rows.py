"""Estimates below each other: a name a row, a measure a panel, a mark a series, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from figures.looks import ACROSS, Look

#: inches a row, and above and below all of them
ROW, FRAME = 0.2, 1.0
#: of a row, by which the marks of different series are set apart
APART = 0.28


@dataclass(frozen=True, eq=False)
class Panel:
    """One measure.

    Attributes:
        rows: `name`, `series`, `value`, `low`, `high`.
        label: of the axis.
        title: above it.
        reference: where a dotted line stands.
        unsteered: whether the line is the unsteered model's, which has a look of its own and is named in the legend.
    """

    rows: pd.DataFrame
    label: str
    title: str = ""
    reference: float | None = None
    unsteered: bool = False


def height(names: Sequence[str]) -> float:
    """Inches that these rows take."""
    return ROW * len(names) + FRAME


def draw_rows(
    figure: FigureBase, names: Sequence[str], panels: Sequence[Panel], looks: Mapping[str, Look]
) -> list[Axes]:
    """Fill the figure, the first name on top, and name the series above.

    Args:
        looks: by series, in the order of the legend.
    """
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    places = {name: -place for place, name in enumerate(names)}
    # marks of one row are set apart, and of a row that has one alone nothing is
    apart = APART if any(panel.rows.duplicated("name").any() for panel in panels) else 0.0
    for axis, panel in zip(axes, panels, strict=True):
        if panel.reference is not None:
            if panel.unsteered:
                axis.axvline(panel.reference, label="unsteered", **ACROSS)
            else:
                axis.axvline(panel.reference, color="0.4", lw=0.7, ls=":")
        for k, (series, look) in enumerate(looks.items()):
            own: Any = panel.rows[panel.rows["series"] == series]
            y = own["name"].map(places) - apart * (k - (len(looks) - 1) / 2)
            error = [own["value"] - own["low"], own["high"] - own["value"]]
            axis.errorbar(own["value"], y, xerr=error, ms=3.5, lw=0.9, **{"label": series, **look, "ls": ""})
        axis.set(title=panel.title, xlabel=panel.label)
    axes[0].set_yticks(list(places.values()), list(places))
    axes[0].set_ylim(0.6 - len(names), 0.6)
    lines, labels = axes[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside upper left", ncols=len(lines))
    return list(axes)
