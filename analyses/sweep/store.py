"""The directory of a study: one parquet file a finished cell, one JSON file a failed one, never half a file.

Two processes may run one study. No claims are kept: a claim outlives the process that was killed holding it, and then
somebody must decide how old is dead. A cell is instead a function of its key, and its file is put in place whole, by
one rename: whoever comes second writes the same again, and at worst the work of a cell is done twice.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analyses.sweep.study import Cell, Refused, Study
from odesteer_tl._folder import new_file

#: of a cell's file: under what it is kept why there are no rows
WHY = "refused"


class StoreError(Exception):
    """The results folder cannot be written or read: no cell can help it, so the run ends."""


@dataclass(frozen=True)
class Status:
    """How far a study is; the three numbers add up to its cells."""

    done: int
    failed: int
    missing: int

    @property
    def complete(self) -> bool:
        """Whether every cell is done."""
        return self.failed == self.missing == 0

    def __str__(self) -> str:
        return f"{self.done} of {self.done + self.failed + self.missing} cells done, {self.failed} failed"


@dataclass(frozen=True)
class Store:
    """The files of one study: `study.json`, `cells/<key>.parquet`, `failed/<key>.json`, `table.parquet`, `run.json`."""

    directory: Path

    @classmethod
    def of(cls, study: Study, root: Path) -> Store:
        """The store of a study under `root`, made if it is not there."""
        store = cls.planned(study, root)
        with _explained(store.directory):
            for folder in ("cells", "failed"):
                (store.directory / folder).mkdir(parents=True, exist_ok=True)
                _remove_parts(store.directory / folder)
        store.enter(study)
        return store

    @classmethod
    def planned(cls, study: Study, root: Path) -> Store:
        """The store of a study under `root`, whether it is there or not."""
        return cls(root / f"{study.name}-{study.digest}")

    def enter(self, study: Study) -> None:
        """Name the study's cells in `study.json`, in its order, before those of earlier studies that are kept here."""
        file, known = self.directory / "study.json", [(cell.key, cell.config) for cell in study.keyed]
        keys = {key for key, _ in known}
        before = [(c.key, c.config) for c in self.cells() if c.key not in keys] if file.exists() else []
        content = {**json.loads(study.description), "cells": [dict(config) for _, config in known + before],
                   "keys": [key for key, _ in known + before]}  # fmt: skip
        text = json.dumps(content, indent=2, default=dict).encode()
        if not file.exists() or file.read_bytes() != text:
            self.write("study.json", text)

    @classmethod
    def at(cls, directory: Path) -> Store:
        """The store in a directory.

        Raises:
            StoreError: there is no study there.
        """
        if not (directory / "study.json").is_file():
            raise StoreError(f"{str(directory)!r} holds no study.json; name the directory of a study")
        return cls(directory)

    def cells(self) -> tuple[Cell, ...]:
        """The cells of the study, in the order of the table."""
        study = json.loads((self.directory / "study.json").read_bytes())
        return tuple(Cell(key, config) for key, config in zip(study["keys"], study["cells"], strict=True))

    def finished(self) -> set[str]:
        """Keys of the cells that are done."""
        if not (self.directory / "cells").is_dir():
            return set()
        return {name.removesuffix(".parquet") for name in os.listdir(self.directory / "cells") if name[0] != "."}

    def failed(self) -> set[str]:
        """Keys of the cells that raised; one done since is none of them."""
        names = {name.removesuffix(".json") for name in os.listdir(self.directory / "failed") if name[0] != "."}
        return names - self.finished()

    def failure(self, key: str) -> dict[str, Any]:
        """What was recorded of a failed cell: its config, the error and the traceback."""
        return json.loads((self.directory / "failed" / f"{key}.json").read_bytes())

    def forget_failures(self) -> None:
        """Let the failed cells be missing again."""
        for key in self.failed():
            (self.directory / "failed" / f"{key}.json").unlink(missing_ok=True)

    def status(self, study: Study | None = None) -> Status:
        """Count the cells of a study; left out, all that are named here."""
        keys = {cell.key for cell in (self.cells() if study is None else study.keyed)}
        done, failed = len(keys & self.finished()), len(keys & self.failed())
        return Status(done, failed, len(keys) - done - failed)

    def has(self, cell: Cell) -> bool:
        """Whether a cell is done."""
        return self._file(cell).exists()

    def _file(self, cell: Cell) -> Path:
        return self.directory / "cells" / f"{cell.key}.parquet"

    def save_rows(self, cell: Cell, found: pd.DataFrame | Refused) -> None:
        """Write a cell's rows, its config in front of them; or none, and why.

        Raises:
            ValueError: a column of the rows has the name of a config key.
        """
        rows, said = (pd.DataFrame(), {WHY: found.why}) if isinstance(found, Refused) else (found, None)
        both = sorted(set(cell.config) & set(map(str, rows.columns)))
        if both:
            raise ValueError(f"cell {dict(cell.config)} returns column(s) {', '.join(both)}, which its config has too")
        table = pa.Table.from_pandas(rows, preserve_index=False)
        for name, value in reversed([("cell", cell.key), *cell.config.items()]):
            table = table.add_column(0, name, pa.repeat(pa.scalar(value), len(rows)))
        self.write(f"cells/{cell.key}.parquet", _parquet(table, said))
        (self.directory / "failed" / f"{cell.key}.json").unlink(missing_ok=True)

    def save_failure(self, cell: Cell, error: str, traceback: str) -> None:
        """Record that a cell raised."""
        content = {"config": dict(cell.config), "error": error, "traceback": traceback}
        self.write(f"failed/{cell.key}.json", json.dumps(content, indent=2).encode())

    def save_table(self) -> Path:
        """Put the rows of all finished cells into `table.parquet`, in the order of `study.json`.

        Raises:
            StoreError: a file is damaged, or cells give one column different types.
        """
        self.write("table.parquet", _parquet(self._table(self.cells())))
        return self.directory / "table.parquet"

    def table(self, study: Study) -> pd.DataFrame:
        """The rows of a study's own finished cells, in its order, whatever else is kept here.

        Raises:
            StoreError: a file is damaged, or cells give one column different types.
        """
        return self._table(study.keyed).to_pandas()

    def rows(self, cell: Cell) -> pd.DataFrame:
        """The rows of one finished cell.

        Raises:
            StoreError: the file is damaged, or not there.
        """
        return self._read(cell).to_pandas()

    def refused(self, cell: Cell) -> str | None:
        """Why a finished cell has no rows, "" where that was not said; None of one that has some."""
        about = pq.read_metadata(self._file(cell))
        return None if about.num_rows else (about.metadata or {}).get(WHY.encode(), b"").decode()

    def _table(self, cells: tuple[Cell, ...]) -> pa.Table:
        tables = [self._read(cell) for cell in cells if self.has(cell)]
        try:
            return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
        except pa.ArrowTypeError as error:
            raise StoreError(
                f"cells give one column different types ({error}); settle on one in the cell function"
            ) from error

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place whole and on disk, or leave what was there.

        The folder is not synced: a power cut may forget the rename, and with it a cell, but never leaves half of one.

        Raises:
            StoreError: the disk is full, the folder read-only, …
        """
        path = self.directory / name
        with _explained(path.parent), new_file(path) as part, part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _read(self, cell: Cell) -> pa.Table:
        path = self._file(cell)
        try:
            return pq.read_table(path).replace_schema_metadata(None)
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{path.name} is damaged ({error}); delete it and run the study again") from error


def _parquet(table: pa.Table, said: dict[str, str] | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(said), sink)
    return sink.getvalue().to_pybytes()


def _remove_parts(folder: Path) -> None:
    """Remove what killed writers left: a file is a part for milliseconds, so one an hour old is nobody's."""
    for part in folder.glob(".*.part"):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > 3600:
                part.unlink()


@contextmanager
def _explained(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"the results folder {str(folder)!r} cannot be written: {error.strerror}; make room or make it writable "
            "and run again: finished cells are kept"
        ) from error
