"""What figures do with the one look a method (`odesteer_tl.looks`): which lines are highlighted, and their labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray
from sklearn.isotonic import isotonic_regression

from odesteer_tl.looks import KNOWN as KNOWN
from odesteer_tl.looks import LOOKS as LOOKS
from odesteer_tl.looks import PLACEBO as PLACEBO
from odesteer_tl.looks import REST as REST
from odesteer_tl.looks import Look as Look
from odesteer_tl.looks import look as look


def highlighted(scores: Mapping[str, float]) -> dict[str, Look]:
    """Looks for the known methods and, while looks last, for those of the others with the highest scores."""
    looks = {name: KNOWN[name] for name in scores if name in KNOWN}
    free = [look for look in LOOKS if look not in looks.values()]
    others = sorted((name for name in scores if name not in KNOWN), key=lambda name: -scores[name])
    return {**looks, **dict(zip(others, free, strict=False))}


def spread(heights: ArrayLike, gap: float) -> NDArray[np.float64]:
    """The heights moved as little as can be (least squares, order kept) until all are `gap` apart."""
    y = np.asarray(heights, dtype=float)
    order = np.argsort(y, kind="stable")
    steps = gap * np.arange(len(y))
    moved = np.empty_like(y)
    moved[order] = np.asarray(isotonic_regression(y[order] - steps)) + steps
    return moved


def label_ends(axis: Axes, ends: dict[str, tuple[float, float]], looks: dict[str, Look], size: float = 7.0) -> None:
    """Write each line's name right of the axes, at the height of its end, none on another; a thin line leads there.

    Args:
        ends: where a line ends, in data coordinates; call when the axes have their limits.
    """
    to_axes = axis.transData + axis.transAxes.inverted()
    places = {name: to_axes.transform(end) for name, end in ends.items()}
    figure = axis.get_figure(root=True)
    assert figure is not None
    # in points, before the layout takes some of it for titles and labels: hence the generous gap
    height = axis.get_position().height * figure.get_figheight() * 72
    heights = spread([y for _, y in places.values()], 1.6 * size / height)
    heights = heights - max(0.0, float(heights.max(initial=0.0)) - 1.0)  # the highest stays beside the axes
    for (name, (x, y)), beside in zip(places.items(), heights, strict=True):
        # the mark again: lines that end in one point are told apart by it
        axis.plot(1.08, beside, ls="", marker=looks[name]["marker"], ms=3, color=looks[name]["color"],
                  transform=axis.transAxes, clip_on=False)  # fmt: skip
        axis.annotate(
            "", (x, y), xytext=(1.06, beside), xycoords="axes fraction", textcoords="axes fraction",
            annotation_clip=False, arrowprops={"arrowstyle": "-", "color": looks[name]["color"], "lw": 0.6,
                                               "shrinkA": 0, "shrinkB": 2},
        )  # fmt: skip
        axis.text(1.11, beside, name, transform=axis.transAxes, va="center", fontsize=size)


def handles(looks: dict[str, Look]) -> list[Line2D]:
    """Legend entries."""
    return [Line2D([], [], label=name, **look) for name, look in looks.items()]
