"""Estimates by layer, ways to steer beside each other at each: layers in order, one as far from the next as any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from figures.looks import ACROSS, Look

UNSTEERED = "unsteered"
#: of the way from one layer to the next, that all marks of a layer take
WIDE = 0.64


def draw_dodged(
    ax: Axes, rows: Any, name: str, looks: Mapping[str, Look], ends: tuple[str, str] | None, wide: float = WIDE
) -> None:
    """Draw a mark a layer and way to steer, and a dotted line for the unsteered model.

    Args:
        rows: `label`, `layer`, the column `name` and those of `ends`; one row is unsteered, or none.
        looks: by label, in the order in which marks stand beside each other.
        ends: columns of the interval's ends; none where none are known.
        wide: of the way from one layer to the next, that all marks of a layer take.
    """
    for unsteered in rows.loc[rows["label"] == UNSTEERED, name].iloc[:1]:
        ax.axhline(float(unsteered), **ACROSS)
    layers = sorted({*rows.loc[rows["label"] != UNSTEERED, "layer"]})
    for k, (label, look) in enumerate(looks.items()):
        own = rows[rows["label"] == label].sort_values("layer")
        x = own["layer"].map(layers.index) + wide * (k / max(len(looks) - 1, 1) - 0.5)
        error = [own[name] - own[ends[0]], own[ends[1]] - own[name]] if ends else None
        marks: Look = {**look, "ls": ""}
        ax.errorbar(x, own[name], yerr=error, ms=3.5, lw=0.9, **marks)
    ax.set_xticks(range(len(layers)), list(map(str, layers)))
    ax.set_xlim(-0.5, len(layers) - 0.5)
