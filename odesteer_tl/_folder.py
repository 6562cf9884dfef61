"""Files and folders that are written whole or not at all, and that whoever the umask lets may read."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


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
    part = _beside(path)
    part.mkdir()
    try:
        yield part
        _follow_umask(part)
        if path.exists():
            path.rmdir()  # not everywhere can an empty folder be renamed over
        part.replace(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


@contextmanager
def new_file(path: str | Path) -> Generator[Path]:
    """A file to be written, hidden beside `path` until the block ends and then put in its place.

    What stood there stays if an exception leaves the block.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _beside(path)
    part.touch(exist_ok=False)
    mode = part.stat().st_mode
    try:
        yield part
        part.chmod(mode)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _beside(path: Path) -> Path:
    """A name that nobody has; the modules that make one create for the owner alone, whatever the umask says."""
    return path.with_name(f".{path.name}.{uuid4().hex[:12]}.part")


def _follow_umask(folder: Path) -> None:
    """Give all within a folder the mode that the umask gave the folder; safetensors writes for the owner alone."""
    mode = folder.stat().st_mode & 0o777
    for path in folder.rglob("*"):
        path.chmod(mode if path.is_dir() else mode & 0o666)
