"""Writing a study: a folder with parquet tables and `run.json`, all of it or nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from odesteer_tl._folder import new_folder, require_free

PACKAGES = ("odesteer_tl", "torch", "transformer-lens", "scikit-learn", "scipy", "pandas", "pyarrow")


def commit(checkout: Path) -> str | None:
    """The commit checked out there, with "+changes" behind it if a tracked file is not as committed; None without git.

    A folder within somebody else's checkout, such as an environment's, has no commit of its own.
    """

    def git(*arguments: str) -> str:
        call = ["git", "--no-optional-locks", "-C", str(checkout), *arguments]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != checkout.resolve():
            return None
        # without tags: the 40 digits of `git rev-parse HEAD`
        return git("describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+changes")
    except (OSError, subprocess.CalledProcessError):
        return None


#: as the process began: a checkout may move on while a study runs
COMMIT = commit(Path(__file__).parents[1])


def code() -> dict[str, Any]:
    """What ran: versions of the packages and the commit of this checkout, for a `run.json`."""
    return {"versions": {name: _version(name) for name in PACKAGES}, "commit": COMMIT}


def _version(name: str) -> str | None:
    """None of a package that is on the path without being installed, as a checkout may be."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def refuse_existing(out: Path) -> None:
    """Raise `ValueError` if `out` holds anything; call it before an hour's work."""
    require_free("out", out)


def cells_of(out: Path) -> Path:
    """Where the cells of a study whose report goes to `out` are kept."""
    return out.with_name(f"{out.name}.cells")


def require_same(out: Path, digest: str | None) -> None:
    """Raise `ValueError` if `out` holds anything but a report of the study `digest` (None: of any study)."""
    if not (out / "run.json").is_file():
        refuse_existing(out)
        return
    kept = _study_in(out / "run.json")
    if kept is None or (digest is not None and kept != digest):
        refuse_existing(out)


def replaceable(out: Path, digest: str) -> None:
    """Remove an earlier report of the study `digest`.

    Raises:
        ValueError: `out` holds anything else.
    """
    require_same(out, digest)
    if out.exists():
        shutil.rmtree(out)


def _study_in(file: Path) -> str | None:
    try:
        return json.loads(file.read_text()).get("study")
    except (json.JSONDecodeError, AttributeError):
        return None


def save_report(out: Path, tables: Mapping[str, Any], run: Mapping[str, Any], texts: Mapping[str, str] = {}) -> Path:
    """`save_run` of those that are tables and have rows, in the place of an earlier report."""
    if out.exists():
        shutil.rmtree(out)
    found = {name: x for name, x in tables.items() if isinstance(x, pd.DataFrame) and len(x)}
    return save_run(out, found, run, texts)


def save_run(
    out: Path, tables: Mapping[str, pd.DataFrame], run: Mapping[str, Any], texts: Mapping[str, str] = {}
) -> Path:
    """Write every table as `name.parquet`, `run`, with versions and commit, as `run.json`, and texts by file names.

    Raises:
        ValueError: `out` holds an earlier run.
    """
    refuse_existing(out)
    with new_folder(out) as part:
        for name, table in tables.items():
            table.to_parquet(part / f"{name}.parquet", index=False)
        for name, text in texts.items():
            (part / name).write_text(f"{text}\n", encoding="utf-8")
        (part / "run.json").write_text(json.dumps({**run, **code()}, indent=2, default=str))
    return out
