"""What barriers read, and below it what steering by the same contrast does: a column a source or model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import FigureBase

from figures.dodged import UNSTEERED, WIDE, draw_dodged
from figures.looks import SHADE, SPARE, Look, marks

#: of a linear barrier, beside `caa`, whose colour it has where barriers alone are drawn
LINEAR: Look = SPARE[1]
#: of the way from one layer to the next, between the few marks of one
STEP = 0.2


def draw_reading(
    figure: FigureBase, columns: Mapping[str, tuple[Any, Any]], looks: tuple[Mapping[str, Look], Mapping[str, Look]],
    labels: tuple[str, str], along: tuple[str, str], references: Sequence[float],
) -> None:  # fmt: skip
    """Fill the figure with two rows of panels, and name all marks above them.

    Args:
        columns: by title, what is read and what steering does, each with `label`, `layer`, `value`, `low`, `high`; the
            latter has the unsteered model too.
        looks, labels, along: of the rows: marks, and names of both axes.
        references: where dotted lines stand among what is read.
    """
    axes = figure.subplots(2, len(columns), sharey="row", squeeze=False)
    for pair, (title, both) in zip(axes.T, columns.items(), strict=True):
        for axis, rows, look, name in zip(pair, both, looks, along, strict=True):
            draw_dodged(axis, rows, "value", look, ("low", "high"), min(WIDE, STEP * (len(look) - 1)))
            axis.set_xlabel(name)
        for reference in references:
            pair[0].axhline(reference, color="0.4", lw=0.7, ls=":")
        plain = both[1].loc[both[1]["label"] == UNSTEERED].iloc[0]
        if plain["low"] < plain["high"]:
            pair[1].axhspan(plain["low"], plain["high"], lw=0, zorder=-1, **SHADE)
        pair[0].set_title(title)
    for axis, label in zip(axes[:, 0], labels, strict=True):
        axis.set_ylabel(label)
    figure.legend(handles=marks({**looks[0], **looks[1]}), loc="outside upper left", ncols=4)
