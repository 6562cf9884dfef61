"""One look a method in every picture, here, in `jupyter`, in figures and notebooks: colour, dashes and marker.

Known by colour, and in grey by dashes and marker; what a dictionary holds are arguments of matplotlib's `plot`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from odesteer_tl._renamed import current_way

Look = dict[str, Any]

#: petroff10, a cycle that colour-blind eyes can tell apart
BLUE, AMBER, RED, GREY, PURPLE, BROWN, ORANGE, SAND, SLATE, CYAN = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"
)  # fmt: skip
#: of Okabe and Ito's cycle, which colour-blind eyes can tell apart too
GREEN = "#009e73"
#: what lines look like, in order
LOOKS: tuple[Look, ...] = (
    {"color": BLUE, "ls": "-", "marker": "o"},
    {"color": RED, "ls": (0, (5, 1.5)), "marker": "s"},
    {"color": AMBER, "ls": (0, (6, 1.2, 1.2, 1.2)), "marker": "^"},
    {"color": PURPLE, "ls": (0, (3, 1.2)), "marker": "D"},
    {"color": BROWN, "ls": (0, (8, 1.5, 1.2, 1.5, 1.2, 1.5)), "marker": "v"},
    {"color": ORANGE, "ls": (0, (1.5, 1)), "marker": "P"},
)
#: for pictures with more lines than that
SPARE: tuple[Look, ...] = (
    {"color": CYAN, "ls": (0, (6, 2)), "marker": "<"},
    {"color": SLATE, "ls": (0, (2, 1, 2, 3)), "marker": ">"},
    {"color": SAND, "ls": (0, (10, 2)), "marker": "h"},
)
#: markers of lines that have to share a colour
AGAIN = ("*", "p", "d", "8", "1", "2")
#: everything else
REST: Look = {"color": "0.75", "ls": "-", "lw": 0.7, "zorder": 1}
PLACEBO: Look = {"color": GREY, "ls": ":", "marker": "x"}
#: the unsteered model as points; as a line across a picture, whose value is the same everywhere; and its interval
UNSTEERED: Look = {"color": "black", "ls": ":", "marker": "p", "zorder": 1}
ACROSS: Look = {**UNSTEERED, "marker": "", "lw": 0.9}
SHADE: Look = {"color": "black", "alpha": 0.07}
#: methods that look the same wherever they are, by the registry's names and those of variants with another solver
KNOWN: dict[str, Look] = {
    **dict.fromkeys(("caa", "caa, geodesic"), LOOKS[0]),
    "odesteer": LOOKS[1],
    "odesteer_kernel": LOOKS[2],
    "odesteer_kernel, one step": LOOKS[3],
    "optimal_cap": LOOKS[4],
    "odesteer_certified": LOOKS[5],
    "on_manifold": {"color": GREEN, "ls": (0, (4, 1, 1, 1, 1, 1)), "marker": "X"},
    **dict.fromkeys(("random", "random, geodesic"), PLACEBO),
    "unsteered": UNSTEERED,
}
#: solvers of one field: Euler's steps are what was published, geodesic ones what `odesteer_kernel` takes
SOLVERS: dict[str, Look] = {
    **dict.fromkeys(("euler", "Euler"), KNOWN["odesteer"]),
    "geodesic": KNOWN["odesteer_kernel"],
    "certified": KNOWN["odesteer_certified"],
}


def look(method: str) -> Look:
    """The look of a known method, by a former name too, and a thin grey line for another."""
    return _known(method) or REST


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """A look each, none twice: known methods their own, the others those left over, in order; when these have run out,
    the same colours with other markers."""
    names = list(methods)
    found = {name: own for name in names if (own := _known(name))}
    free = [one for one in (*LOOKS, *SPARE) if one not in found.values()]
    free += [{**one, "marker": marker} for marker in AGAIN for one in (*LOOKS, *SPARE)]
    others = [name for name in names if name not in found]
    return {**found, **{name: free[k % len(free)] for k, name in enumerate(others)}}


def _known(name: str) -> Look | None:
    return SOLVERS.get(name) or KNOWN.get(current_way(name))


def line(method: str) -> Look:
    """The look of a known method without its marker, for lines of many points."""
    return {**look(method), "marker": ""}
