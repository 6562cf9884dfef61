"""A number with its interval, as reports print it."""

from __future__ import annotations

import math


def with_interval(value: float, low: float, high: float, digits: str = ".3f") -> str:
    """`0.125 [0.013, 0.527]`; an end of which the units say nothing is a dash: `0.125 [–, –]`."""
    ends = (f"{end:{digits}}" if math.isfinite(end) else "–" for end in (low, high))
    return f"{value:{digits}} [{', '.join(ends)}]"
