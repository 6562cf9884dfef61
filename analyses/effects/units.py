"""Independent units of a study: prompts of one group, or judged by the same texts, share one: the column `unit`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import pandas as pd
from numpy.typing import NDArray

Table = TypeVar("Table", pd.DataFrame, pd.Series)


def units(rows: pd.DataFrame, prompts: Iterable[Any]) -> NDArray[Any] | None:
    """The independent unit of each of these prompts; None where each is one."""
    if "unit" not in rows:
        return None
    return rows.drop_duplicates("prompt").set_index("prompt")["unit"].loc[list(prompts)].to_numpy()


def by_unit(of: Table, rows: pd.DataFrame) -> Table:
    """Numbers of prompts as those of independent units, the means of theirs.

    Args:
        of: indexed by prompt. rows: a study's, with these prompts and, if some are judged by the same texts, `unit`.
    """
    own = units(rows, of.index)
    if own is None:
        return of
    found: Any = of.groupby(own).mean()
    return found


def counted(n: int, rows: pd.DataFrame, split: str = "test ") -> str:
    """So many prompts, or groups of so many, where some of these rows' are no units by themselves, in words."""
    prompts = len({*rows["prompt"]})
    grouped = "unit" in rows and len({*rows["unit"]}) < prompts
    return f"{n} groups of {prompts} {split}prompts" if grouped else f"{n} {split}prompts"
