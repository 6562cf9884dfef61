"""Independent units of a study: prompts that are judged by the same texts share one, their rows' column `unit`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from odesteer_tl import stats

Table = TypeVar("Table", pd.DataFrame, pd.Series)


def pvalue(first: NDArray[np.float64], second: NDArray[np.float64], own: NDArray[Any] | None) -> float:
    """Of no difference in success: McNemar's exact test of prompts; of units of several, that of their means.

    Args:
        first, second: of the same prompts. own: the unit of each (`units`).
    """
    if own is not None:
        return stats.difference_pvalue(first, second, groups=own)
    better, worse = int((first > second).sum()), int((first < second).sum())
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


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
