"""Whether a figure can be read in print: no text on text, none cut off, none too small; no panel empty or untold."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

#: points at print width
SMALLEST = 6.0
#: share of its size by which mathtext shrinks a sub- or superscript
SCRIPT = 0.7
#: pixels by which extents may touch: they include the blank around the glyphs
TOUCH = 1.0


def faults(figure: Figure) -> list[str]:
    """What is wrong with the text and the panels of a figure as it is drawn, in words; nothing if it can be printed."""
    drawn = _drawn(figure)
    page = figure.bbox
    found: list[str] = []
    for text, box in drawn:
        size = float(text.get_fontsize()) * (SCRIPT if _has_script(text.get_text()) else 1.0)
        if size < SMALLEST - 1e-6:
            found.append(f"{text.get_text()!r} is {size:.1f} pt, under {SMALLEST:g}")
        if box.x0 < -TOUCH or box.y0 < -TOUCH or box.x1 > page.width + TOUCH or box.y1 > page.height + TOUCH:
            found.append(f"{text.get_text()!r} is cut off by the edge")
    for (first, a), (second, b) in combinations(drawn, 2):
        if min(a.x1, b.x1) - max(a.x0, b.x0) > TOUCH and min(a.y1, b.y1) - max(a.y0, b.y0) > TOUCH:
            found.append(f"{first.get_text()!r} and {second.get_text()!r} overlap")
    return found + [fault for axis in figure.axes for fault in _of_panel(axis)]


def _of_panel(axis: Axes) -> list[str]:
    """A panel without data, a title that is a letter alone, a legend on the lines."""
    title = axis.get_title(loc="left") or axis.get_title()
    # what is switched off is a place that no panel takes
    found = [] if axis.has_data() or not axis.axison else [f"panel {title!r} is empty"]
    if re.fullmatch(r"\(\w\)", title):
        found.append(f"title {title!r} says nothing")
    legend = axis.get_legend()
    if legend is not None:
        box = legend.get_window_extent()
        paths = [line.get_path().transformed(line.get_transform()) for line in axis.lines]
        if any(path.intersects_bbox(box, filled=False) for path in paths):
            found.append(f"the legend of panel {title!r} is on its lines")
    return found


def _drawn(figure: Figure) -> list[tuple[Text, Bbox]]:
    """Every text the renderer is asked for, with its extent in pixels; ticks out of view are never asked for."""
    canvas = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    seen: dict[int, Text] = {}
    draw_text = renderer.draw_text

    def watched(*args: Any, **named: Any) -> None:
        text = named.get("mtext")
        if isinstance(text, Text) and text.get_text().strip():
            seen[id(text)] = text
        draw_text(*args, **named)

    renderer.draw_text = watched
    figure.draw(renderer)
    # an annotation's own extent takes in its arrow
    return [(text, Text.get_window_extent(text, renderer)) for text in seen.values()]


def _has_script(text: str) -> bool:
    return any("_" in part or "^" in part for part in text.split("$")[1::2])
