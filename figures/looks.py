"""One look a method in every figure: colour, dashes and marker, so that it is known in grey too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray
from sklearn.isotonic import isotonic_regression

Look = dict[str, Any]

#: what highlighted lines look like, in order
LOOKS: tuple[Look, ...] = (
    {"color": "C0", "ls": "-", "marker": "o"},
    {"color": "C2", "ls": (0, (5, 1.5)), "marker": "s"},
    {"color": "C1", "ls": (0, (6, 1.2, 1.2, 1.2)), "marker": "^"},
    {"color": "C4", "ls": (0, (3, 1.2)), "marker": "D"},
    {"color": "C5", "ls": (0, (8, 1.5, 1.2, 1.5, 1.2, 1.5)), "marker": "v"},
    {"color": "C6", "ls": (0, (1.5, 1)), "marker": "P"},
)
#: everything else
REST: Look = {"color": "0.75", "ls": "-", "lw": 0.7, "zorder": 1}
PLACEBO: Look = {"color": "C3", "ls": ":", "marker": "x"}
#: methods drawn in colour wherever they are, always the same one, under the names that studies and the registry use
KNOWN: dict[str, Look] = {
    **dict.fromkeys(("CAA", "caa"), LOOKS[0]),
    **dict.fromkeys(("ODESteer as published", "odesteer"), LOOKS[1]),
    **dict.fromkeys(("kernel flow", "flow", "odesteer_kernel"), LOOKS[2]),
    "one geodesic step": LOOKS[3],
    "optimal cap": LOOKS[4],
    **dict.fromkeys(("random direction", "random"), PLACEBO),
}


def look(method: str) -> Look:
    """The look of a known method, and a grey line for another."""
    return KNOWN.get(method, REST)


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
