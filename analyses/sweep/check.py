"""A check for cell functions: numbers, or an error that names the cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def require_numbers(rows: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """The rows themselves, if no numeric column holds a NaN or an infinity; call it on what a cell returns.

    Raises:
        ValueError: naming the columns and the cell.
    """
    numeric = rows.select_dtypes("number")
    bad = [str(name) for name in numeric if not np.isfinite(numeric[name].to_numpy(dtype=float, na_value=np.nan)).all()]
    if bad:
        raise ValueError(
            f"cell {dict(config)}: column(s) {', '.join(bad)} hold NaN or infinite values; lower the strength, "
            "compute in float32 or leave the layer out"
        )
    return rows
