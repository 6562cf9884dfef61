"""Rows of a data set, from a local file or folder or from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from odesteer_tl.records import read_records

Record = dict[str, Any]
ENDINGS = (".json", ".jsonl", ".csv", ".parquet")


def load_records(data: str | Path, revision: str | None = None, split: str = "train") -> list[Record]:
    """The rows of a data set.

    Args:
        data: a .json (an array), .jsonl, .csv or .parquet file, a folder the `datasets` package can load, or a hub
            name, with a configuration behind a colon where the set has several, as in
            "truthfulqa/truthful_qa:multiple_choice".
        revision: of a hub data set, which must be pinned; not used of a local one.
        split: of a folder or hub data set.

    Raises:
        ValueError: no such file, an unknown ending, no rows, or a hub name without a revision.
    """
    path = Path(data)
    if path.is_file():
        rows = [dict(row) for row in read_records(path)]
    elif path.suffix in ENDINGS:
        raise ValueError(f"data={str(data)!r} does not exist; pass the path of a file, a folder, or a hub name")
    else:
        import datasets  # slow to import, and needed only here

        name, _, configuration = str(data).partition(":")
        if not path.is_dir() and revision is None:
            raise ValueError(f"data={str(data)!r} is no local path, and revision=None does not pin a hub data set; "
                             "pass its commit hash or tag")  # fmt: skip
        found = datasets.load_dataset(name, configuration or None, revision=revision, split=split)
        rows = [cast(Record, dict(cast(Any, row))) for row in found]
    if not rows:
        raise ValueError(f"data={str(data)!r} has no rows in split={split!r}; pass another split or file")
    return rows


def require_columns(rows: list[Record], names: tuple[str, ...]) -> None:
    """Raise `ValueError` unless the rows have the columns a task reads."""
    for name in names:
        if name not in rows[0]:
            raise ValueError(f"data has no column {name!r} but {sorted(rows[0])}; is it this benchmark's file?")
