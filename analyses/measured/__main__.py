"""Keep a study's small table, so that a document that quotes it can be checked.

`python -m analyses.measured NAME results/…/report/chosen.parquet`, then a line `<!-- measured: NAME -->` above the
table in the document: a test compares each of its numbers with the rows kept.
"""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from itertools import compress, dropwhile
from pathlib import Path

import pandas as pd
import tyro

from analyses.command import from_command_line
from analyses.labels import current_labels

FOLDER = Path(__file__).parent
#: bytes; what is larger than the rows of a figure is a result, not a summary
LARGEST = 200_000


@dataclass(frozen=True)
class MeasuredConfig:
    """What is kept, and of what."""

    name: tyro.conf.Positional[str]
    """of the kept table, without `.csv`"""
    tables: tyro.conf.Positional[tuple[Path, ...]]
    """parquet or csv files, one below the other; if there are several, the column `table` says of which of them a row
    is, by the folders in which they differ"""
    where: str = ""
    """rows kept, as `pandas.DataFrame.query` has them; left out, all"""
    columns: tuple[str, ...] = ()
    """columns kept; left out, all"""


def read(file: Path) -> pd.DataFrame:
    """A study's table, whichever of the two ways it was written, with today's names of the ways to steer."""
    return current_labels(pd.read_csv(file) if file.suffix == ".csv" else pd.read_parquet(file))


def kept(name: str) -> pd.DataFrame:
    """The rows kept under a name."""
    lines = (FOLDER / f"{name}.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    return pd.read_csv(io.StringIO("".join(dropwhile(lambda line: line.startswith("#"), lines))))


def origin(file: Path) -> str:
    """The commit that wrote the table, as the `run.json` beside it has it."""
    run = file.with_name("run.json")
    commit = json.loads(run.read_text()).get("commit") if run.exists() else None
    digits, plus, changes = (commit or "not recorded").partition("+")
    return f"# {file.as_posix()}: commit {digits[:12]}{plus}{changes}"


def told_apart(files: tuple[Path, ...]) -> list[str]:
    """Of each path the parts that not all have.

    Raises:
        ValueError: they do not all stand equally deep.
    """
    if len({len(file.parts) for file in files}) > 1:
        raise ValueError(f"tables={', '.join(map(str, files))} stand at different depths; keep each by itself")
    apart = [len(set(at)) > 1 for at in zip(*(file.parts for file in files), strict=True)]
    return ["/".join(compress(file.parts, apart)) for file in files]


def main(config: MeasuredConfig) -> None:
    """Write the table and say how large it is.

    Raises:
        ValueError: the table is too large to keep beside the code, or what `told_apart` refuses.
    """
    names = told_apart(config.tables)
    parts = [read(file).assign(table=name) for file, name in zip(config.tables, names, strict=True)]
    table = pd.concat(parts) if len(parts) > 1 else parts[0].drop(columns="table")
    table = table.query(config.where) if config.where else table
    table = table.loc[:, list(config.columns)] if config.columns else table
    text = "\n".join([*map(origin, config.tables), table.to_csv(index=False, float_format="%.6g")])
    size = len(text.encode())
    if size > LARGEST:
        raise ValueError(f"tables have {size} bytes, over {LARGEST}; narrow them by --where and --columns")
    (FOLDER / f"{config.name}.csv").write_text(text, encoding="utf-8")
    print(f"{len(table)} rows, {size} bytes: analyses/measured/{config.name}.csv")


if __name__ == "__main__":
    sys.exit(from_command_line(MeasuredConfig, main, __doc__))
