"""Several tables in one cell: a row a table, each as the parquet file that it would be."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

#: the name under which what is no table is kept
RUN = "run.json"


def packed(tables: Mapping[str, pd.DataFrame], run: Mapping[str, Any]) -> pd.DataFrame:
    """Tables and a JSON-able record as the rows of one cell."""
    content = {name: table.to_parquet(index=False) for name, table in tables.items()}
    content[RUN] = json.dumps(run, default=str).encode()
    return pd.DataFrame({"table": list(content), "content": list(content.values())})


def unpacked(rows: pd.DataFrame) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """The tables and the record of one cell's rows."""
    content = dict(zip(rows["table"], rows["content"], strict=True))
    run = json.loads(content.pop(RUN))
    return {name: pd.read_parquet(io.BytesIO(x)) for name, x in content.items()}, run
