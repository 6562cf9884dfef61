"""Estimates below each other: a name a row, a measure a panel, a mark a series, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.looks import ACROSS, Look
from figures.save import PAGE

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


def draw_rows(names: Sequence[str], panels: Sequence[Panel], looks: Mapping[str, Look]) -> tuple[Figure, list[Axes]]:
    """A figure of its own, the first name on top; to be drawn in `figures.save.STYLE`.

    Args:
        looks: by series, in the order of the legend.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(PAGE, ROW * len(names) + FRAME), sharey=True, squeeze=False)
    places = {name: -place for place, name in enumerate(names)}
    # marks of one row are set apart, and of a row that has one alone nothing is
    apart = APART if any(panel.rows.duplicated("name").any() for panel in panels) else 0.0
    for axis, panel in zip(axes[0], panels, strict=True):
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
    axes[0][0].set_yticks(list(places.values()), list(places))
    axes[0][0].set_ylim(0.6 - len(names), 0.6)
    return figure, list(axes[0])
