"""Tiny cells for the sweep tests, importable by the processes that run them: no torch, so that they start quickly."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analyses.sweep import Study, require_numbers, run


def no_context() -> None:
    """Nothing shared."""


def counted_context(folder: Path) -> dict[str, Any]:
    """Leaves a file for every time it is called, and the process that called it."""
    (folder / f"context-{os.getpid()}-{time.time_ns()}").touch()
    return {"pid": os.getpid(), "layers": set()}


def simple(context: Any, config: Any) -> pd.DataFrame:
    """Two rows of numbers that depend on the config alone."""
    g = np.random.default_rng([config["layer"], round(100 * config["strength"])])
    time.sleep(config.get("seconds", 0.0))
    rows = pd.DataFrame({"prompt": [0, 1], "value": g.normal(size=2), "text": ["é", f"{config['strength']}"]})
    return require_numbers(rows, config)


def with_pid(context: Any, config: Any) -> pd.DataFrame:
    """Which process ran it, and whether its group had been there before."""
    known = config["layer"] in context["layers"]
    context["layers"].add(config["layer"])
    return pd.DataFrame({"pid": [os.getpid()], "made_in": [context["pid"]], "known": [known]})


def deadly(context: Path, config: Any) -> pd.DataFrame:
    """Kills its worker the first time it comes to layer 1 (leaving a mark), and every time at layer −1."""
    mark = context / f"killed-{config['layer']}"
    if config["layer"] == -1 or (config["layer"] == 1 and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return simple(None, {**config, "layer": abs(config["layer"])})


def path_context(folder: Path) -> Path:
    """The folder itself."""
    return folder


def broken(context: Any, config: Any) -> pd.DataFrame:
    """Raises at strength 0.5 and returns a NaN at 0.75."""
    if config["strength"] == 0.5:
        raise ZeroDivisionError("no such strength")
    rows = simple(context, config)
    return require_numbers(rows.assign(value=np.nan) if config["strength"] == 0.75 else rows, config)


def grid(layers: int = 3, strengths: int = 4, **more: Any) -> tuple[dict[str, Any], ...]:
    """Configs in an order that no sorting gives."""
    return tuple({"layer": i, "strength": j / strengths, **more} for i in reversed(range(layers))
                 for j in range(strengths))  # fmt: skip


def study(function: Any = simple, context: Any = no_context, cells: Any = None, **more: Any) -> Study:
    """A study with defaults."""
    settings = {"name": "tiny", "settings": {"model": "none"}, "version": "1", "group": "layer", **more}
    return Study(function=function, context=context, cells=grid() if cells is None else cells, **settings)


def slow_study() -> Study:
    """128 cells of 10 ms."""
    return study(cells=grid(layers=8, strengths=16, seconds=0.01))


def deadly_study(folder: Path, layers: tuple[int, ...] = (0, 1, 2)) -> Study:
    """Layer 1 kills its worker once."""
    cells = tuple({"layer": i, "strength": s} for i in layers for s in (0.0, 0.25))
    return study(deadly, partial(path_context, folder), cells, settings={})


def run_slow(root: Path, executor: str) -> None:
    """What the killed processes do, as leaders of sessions of their own."""
    os.setsid()
    run(slow_study(), root, executor, progress=False)


#: processes that start in milliseconds, being forked from one that has imported all this and runs no threads
starter = multiprocessing.get_context("forkserver")
starter.set_forkserver_preload(["tests.sweep_cells"])
