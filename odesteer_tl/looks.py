"""One look a method in every picture, here, in `jupyter`, in figures and notebooks: colour, dashes and marker.

Known by colour, and in grey by dashes and marker; what a dictionary holds are arguments of matplotlib's `plot`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Look = dict[str, Any]

#: petroff10, a cycle that colour-blind eyes can tell apart
BLUE, AMBER, RED, GREY, PURPLE, BROWN, ORANGE = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300"
)  # fmt: skip
#: what lines look like, in order
LOOKS: tuple[Look, ...] = (
    {"color": BLUE, "ls": "-", "marker": "o"},
    {"color": RED, "ls": (0, (5, 1.5)), "marker": "s"},
    {"color": AMBER, "ls": (0, (6, 1.2, 1.2, 1.2)), "marker": "^"},
    {"color": PURPLE, "ls": (0, (3, 1.2)), "marker": "D"},
    {"color": BROWN, "ls": (0, (8, 1.5, 1.2, 1.5, 1.2, 1.5)), "marker": "v"},
    {"color": ORANGE, "ls": (0, (1.5, 1)), "marker": "P"},
)
#: everything else
REST: Look = {"color": "0.75", "ls": "-", "lw": 0.7, "zorder": 1}
PLACEBO: Look = {"color": GREY, "ls": ":", "marker": "x"}
UNSTEERED: Look = {"color": "0.4", "ls": "-", "marker": "", "zorder": 1}
#: methods that look the same wherever they are, by the registry's names and those of the studies' variants
KNOWN: dict[str, Look] = {
    **dict.fromkeys(("caa", "CAA"), LOOKS[0]),
    **dict.fromkeys(("odesteer", "ODESteer as published"), LOOKS[1]),
    **dict.fromkeys(("odesteer_kernel", "kernel flow", "flow"), LOOKS[2]),
    "one geodesic step": LOOKS[3],
    **dict.fromkeys(("optimal_cap", "optimal cap"), LOOKS[4]),
    **dict.fromkeys(("random", "random direction"), PLACEBO),
    "unsteered": UNSTEERED,
}


def look(method: str) -> Look:
    """The look of a known method, and a thin grey line for another."""
    return KNOWN.get(method, REST)


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """A look each: known methods their own, the others those left over, in order and from the first again."""
    names = list(methods)
    found = {name: KNOWN[name] for name in names if name in KNOWN}
    free = [one for one in LOOKS if one not in found.values()] or list(LOOKS)
    others = [name for name in names if name not in KNOWN]
    return {**found, **{name: free[k % len(free)] for k, name in enumerate(others)}}
