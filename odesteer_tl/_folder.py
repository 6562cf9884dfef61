"""Folders that are written whole or not at all, and never over another."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp


def require_free(name: str, path: Path) -> None:
    """Raise `ValueError` unless there is nothing at `path`, or an empty folder."""
    if path.exists() and not (path.is_dir() and next(path.iterdir(), None) is None):
        raise ValueError(f"{name}={str(path)!r} exists and is not overwritten; remove it or choose another name")


@contextmanager
def new_folder(path: str | Path) -> Generator[Path]:
    """A folder to be filled, hidden beside `path` until the block ends; an exception leaves nothing behind.

    Raises:
        ValueError: something is at `path` already.
    """
    path = Path(path)
    require_free("path", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield part
        part.chmod(0o755)  # mkdtemp makes a folder that only its owner can read
        if path.exists():
            path.rmdir()  # not everywhere can an empty folder be renamed over
        part.replace(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
