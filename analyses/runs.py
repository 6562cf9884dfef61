"""Writing a study: a folder with parquet tables and `run.json`, all of it or nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pandas as pd

PACKAGES = ("odesteer_tl", "torch", "transformer-lens", "scikit-learn", "scipy", "pandas")


def refuse_existing(out: Path) -> None:
    """Raise `ValueError` if `out` holds anything; call it before an hour's work."""
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"out={str(out)!r} holds an earlier run and is not overwritten; remove it or choose another")


def save_run(out: Path, tables: Mapping[str, pd.DataFrame], run: Mapping[str, Any]) -> Path:
    """Write every table as `name.parquet` and `run` (with versions) as `run.json`.

    Raises:
        ValueError: `out` holds an earlier run.
    """
    refuse_existing(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        for name, table in tables.items():
            table.to_parquet(part / f"{name}.parquet", index=False)
        content = {**run, "versions": {name: version(name) for name in PACKAGES}}
        (part / "run.json").write_text(json.dumps(content, indent=2, default=str))
        part.chmod(0o755)
        if out.exists():
            out.rmdir()
        part.replace(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return out
