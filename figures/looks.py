"""What figures do with the one look a method (`odesteer_tl.looks`): which lines are highlighted, and legends."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.lines import Line2D

from odesteer_tl.looks import ACROSS as ACROSS
from odesteer_tl.looks import KNOWN as KNOWN
from odesteer_tl.looks import LOOKS as LOOKS
from odesteer_tl.looks import PLACEBO as PLACEBO
from odesteer_tl.looks import REST as REST
from odesteer_tl.looks import SHADE as SHADE
from odesteer_tl.looks import SOLVERS as SOLVERS
from odesteer_tl.looks import SPARE as SPARE
from odesteer_tl.looks import UNSTEERED as UNSTEERED
from odesteer_tl.looks import Look as Look
from odesteer_tl.looks import look as look
from odesteer_tl.looks import looks as looks


def highlighted(scores: Mapping[str, float]) -> dict[str, Look]:
    """Looks for the known methods and, while looks last, for those of the others with the highest scores.

    None of these has the colour of a method that is known elsewhere; in colour are as many as there are `LOOKS`.
    """
    looks = {name: KNOWN[name] for name in scores if name in KNOWN}
    free = SPARE[: max(0, len([look for look in LOOKS if look not in looks.values()]))]
    others = sorted((name for name in scores if name not in KNOWN), key=lambda name: -scores[name])
    return {**looks, **dict(zip(others, free, strict=False))}


def handles(looks: dict[str, Look]) -> list[Line2D]:
    """Legend entries."""
    return [Line2D([], [], label=name, **look) for name, look in looks.items()]


def marks(looks: dict[str, Look]) -> list[Line2D]:
    """Legend entries of marks without lines, and of the unsteered model's line."""
    return handles({**{name: {**look, "ls": ""} for name, look in looks.items()}, "unsteered": ACROSS})
