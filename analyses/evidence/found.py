"""The results of finished runs, as the tables of the findings read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from analyses.evidence import plan
from analyses.labels import current_labels


def found(results: Path, study: str, table: str) -> Iterator[pd.DataFrame]:
    """A table of every finished run of a study, with its `model`, its `concept`, and its `layer` if it has one."""
    for model in plan.MODELS:
        for folder in sorted((results / model.name).glob(f"*/{study}")):
            for file in sorted(folder.rglob(f"{table}.parquet")):
                # what has no run beside it is not finished
                if (file.parent / "run.json").is_file():
                    kind, _, number = file.parent.name.partition("-")
                    own = {"layer": int(number)} if kind == "layer" else {}
                    rows = current_labels(pd.read_parquet(file))
                    yield rows.assign(model=model.name, concept=folder.parent.name, **own)


def joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """One below the other; empty where there is none."""
    tables = list(parts)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
