"""What the rows of an effect study are told apart by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

CELL = ["layer", "label", "budget", "level"]
#: of the layer, the same in all its rows
PROBE = ("probe_auc", "probe_auc_low", "probe_auc_high", "probe_log_loss", "probe_slope")
UNSTEERED = "unsteered"
#: below it a p, corrected where there are several, is significant
ALPHA = 0.05


def groups(rows: pd.DataFrame, keys: list[str]) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The groups in order of first appearance, their keys as a tuple."""
    for key, group in rows.groupby(keys, sort=False):
        assert isinstance(key, tuple)
        yield key, group


def of_cell(rows: pd.DataFrame, choice: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of one cell, named by its `CELL`."""
    return rows.loc[(rows[CELL] == pd.Series({name: choice[name] for name in CELL})).all(axis=1)]
