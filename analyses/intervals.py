"""A number with its interval, as reports print it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def with_interval(value: float, low: float, high: float, digits: str = ".3f") -> str:
    """`0.125 [0.013, 0.527]`; an end of which the units say nothing is a dash: `0.125 [–, –]`. Nothing is -0."""
    return f"{value:{_unsigned(digits)}} {interval(low, high, digits)}"


def interval(low: float, high: float, digits: str = ".3f") -> str:
    """The two ends alone."""
    return f"[{', '.join(f'{end:{_unsigned(digits)}}' if math.isfinite(end) else '–' for end in (low, high))}]"


def _unsigned(digits: str) -> str:
    """What is rounded to 0 has no minus."""
    return digits.replace(".", "z.")


def with_intervals(rows: pd.DataFrame, name: str = "value", digits: str = ".3f") -> list[str]:
    """The same of every row: a column, and its ends `NAME_low` and `NAME_high`, or else `low` and `high`."""
    ends = [f"{name}_{end}" if f"{name}_{end}" in rows else end for end in ("low", "high")]
    numbers = rows[[name, *ends]].itertuples(index=False)
    return [with_interval(value, low, high, digits) for value, low, high in numbers]
