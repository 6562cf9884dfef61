"""The field and the paths on the slice of the sphere through a start, its gradient and the ceiling."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import KNOWN, SOLVERS, Look, handles

EULER = "odesteer_kernel, ten Euler steps"
#: paths that all but coincide are seen behind each other by the size of their marks
PATHS: dict[str, Look] = {
    EULER: {**SOLVERS["euler"], "lw": 1.8, "ms": 4.0},
    **{name: {**KNOWN[name], "lw": width, "ms": size} for name, width, size in (
        ("odesteer_kernel", 1.5, 6.0), ("odesteer_certified", 1.2, 3.5), ("odesteer_kernel, one step", 1.2, 4.0),
        ("caa, geodesic", 1.2, 4.0))},
}  # fmt: skip
CAPTION = """\
The barrier h and the paths of steering from one start (the prompt of median h), {angle:g} rad asked for at most. (a)
The two-sphere through the start, its tangent gradient (horizontal) and the point of the ceiling of h (star), in true
angles from the start: circles are budgets of {circles} rad. Shades (darker is higher)
and contours: h; thin lines: the field ∇h/‖∇h‖
on this slice, exact; paths are projected to it and leave it by at most {off}. (b) h along the same paths against
the angle from the start; black dashes: the proved bound on any steering of at most that angle; grey line: ceiling,
{ceiling:.2f}. Filled marks: steps certified to raise h throughout; crosses: steps refuted ({refuted}). One start (N
= 1): an illustration, not an estimate. {source}"""


def draw_flow(
    grid: pd.DataFrame, plane: pd.DataFrame, best: pd.DataFrame, marks: pd.DataFrame, *,
    source: str = "", figure: Place = None,
) -> Drawing:  # fmt: skip
    """Draw h, its field and the paths in the plane, and h along the paths.

    Args:
        grid: `h`, `vx`, `vy` on a square grid of `x` and `y` (radians from the start).
        plane: a row a point of a path: `method`, `step`, `x`, `y`, `off`, `angle`, `h`, `verdict`.
        best: `angle` and the `bound` on h there.
        marks: `start` and `ceiling` with `x`, `y` and `h`.
        source: sentences for the caption on where the tables come from. figure: see `page`.
    """
    places = marks.set_index("mark")
    ceiling = float(places.loc["ceiling", "h"])
    with page(figure, PAGE, 3.2) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
        circles = _field(left, grid, pd.concat([plane, marks]))
        for method, rows in plane.groupby("method", sort=False):
            _path(left, rows, "x", "y", _look(str(method)))
            _path(right, rows, "angle", "h", _look(str(method)))
        left.plot(0, 0, "o", ms=5, color="white", mec="black", zorder=6)
        left.plot(
            places.loc["ceiling", "x"], places.loc["ceiling", "y"], "*", ms=10, color="white", mec="black", zorder=6
        )
        right.plot(best["angle"], best["bound"], color="black", ls=(0, (2, 1)), lw=1, zorder=1)
        right.axhline(ceiling, color="0.5", lw=0.8, zorder=0)
        left.set(title="(a) field and paths", xlabel="along the gradient (rad)", ylabel="toward the ceiling (rad)")
        right.set(title="(b) h along the paths", xlabel="angle from the start (rad)", ylabel="barrier h")
        right.set_xlim(0, None)
        shown = {str(m): _look(str(m)) for m in plane["method"].unique()}
        figure.legend(handles=handles(shown), loc="outside upper left", ncols=3, handlelength=3)
        off = "; ".join(f"{m} {rows['off'].max():.2f} rad" for m, rows in plane.groupby("method", sort=False))
        refused = plane.loc[plane["verdict"] == "refuted"].groupby("method", sort=False)
        caption = CAPTION.format(
            circles=", ".join(f"{r:g}" for r in circles), off=off, ceiling=ceiling, source=source,
            angle=best["angle"].max(),
            refuted="; ".join(f"{m} {rows['step'].nunique()}" for m, rows in refused) or "none",
        )  # fmt: skip
        return Drawing(figure, "flow", caption, plane)


def _look(method: str) -> Look:
    """Of a path; other numbers of Euler's steps look like ten."""
    return PATHS[EULER if method.endswith("Euler steps") else method]


def _field(axis: Axes, grid: pd.DataFrame, shown: pd.DataFrame) -> list[float]:
    """h in shades that print in grey, its contours and field lines, and circles of equal budget; their radii."""
    x, y = (np.unique(grid[name].to_numpy()) for name in ("x", "y"))
    h, vx, vy = (grid.pivot(index="y", columns="x", values=name).to_numpy() for name in ("h", "vx", "vy"))
    axis.contourf(x, y, h, levels=14, cmap="Greys", alpha=0.55, zorder=0, antialiased=False)
    axis.contour(x, y, h, levels=14, colors="0.45", linewidths=0.3, negative_linestyles="solid", zorder=1)
    axis.streamplot(x, y, vx, vy, color="0.25", linewidth=0.4, density=0.9, arrowsize=0.5, zorder=2)
    circles = [r for r in (0.5, 1.0, 1.5) if r < float(x[-1])]
    for r in circles:
        axis.add_patch(Circle((0, 0), r, fill=False, ec="0.1", lw=0.5, ls=(0, (1, 2)), zorder=3))
    # what is shown with a margin, inside the grid, square
    span = min(max(np.ptp(shown["x"]), np.ptp(shown["y"])) / 2 + 0.2, float(x[-1]))
    for limit, name in ((axis.set_xlim, "x"), (axis.set_ylim, "y")):
        middle = (shown[name].min() + shown[name].max()) / 2
        middle = float(np.clip(middle, x[0] + span, x[-1] - span))
        limit(middle - span, middle + span)
    axis.set_aspect("equal")
    axis.grid(visible=False)
    return circles


def _path(axis: Axes, rows: pd.DataFrame, x: str, y: str, look: Look) -> None:
    """A line, and a mark at each step's end: filled where it is certified, a cross where it is refuted."""
    axis.plot(rows[x], rows[y], zorder=4, color=look["color"], ls=look["ls"], lw=look["lw"])
    ends = rows.groupby("step").tail(1)
    for verdict, marker, size in (("certified", look["marker"], look["ms"]), ("refuted", "X", 6.0)):
        some = ends.loc[ends["verdict"] == verdict]
        axis.plot(some[x], some[y], ls="", marker=marker, ms=size, color=look["color"], mec="black", mew=0.4, zorder=5)
