"""What the sweep engine costs: its overhead a cell, and what a second Dask worker brings."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.sweep import Store, Study, run

#: cells of a study, about so many seconds of one core each, run so often in turn
CELLS, SECONDS, ROUNDS = 24, 0.2, 3


def no_context() -> None:
    """These cells share nothing."""


def turns(context: Any, config: Any) -> pd.DataFrame:
    """Keep one core busy for a number of turns of a loop, and say for how long it was."""
    start, total = time.perf_counter(), 0
    for i in range(config["turns"]):
        total += i * i % 7
    return pd.DataFrame({"seconds": [time.perf_counter() - start]})


def sweep_rows() -> Iterator[dict[str, Any]]:
    """The overhead in this process; two Dask workers of one thread against one, by the clock and by cells in flight.

    On a machine with other work the clock says little; how many cells run at once, on average, does not depend on it.
    """
    from distributed import LocalCluster

    trial = 1_000_000
    n = round(trial * SECONDS / float(turns(None, {"turns": trial}).seconds.iloc[0]))
    cells = tuple({"i": i, "turns": n} for i in range(CELLS))
    study = Study("cost", turns, no_context, {}, "1", cells)
    overheads: list[float] = []
    for _ in range(ROUNDS):
        wall, busy = timed_run(study, "local")
        overheads.append((wall - busy) / busy)
    yield {"what": f"overhead a cell of {SECONDS} s", "target": "≤ 5 %", "ratio": statistics.median(overheads)}

    settings: dict[str, Any] = {"threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(n_workers=1, **settings) as one, LocalCluster(n_workers=2, **settings) as two:
        clusters: dict[int, Any] = {1: one, 2: two}
        walls: dict[int, list[float]] = {1: [], 2: []}
        in_flight: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(ROUNDS):
            for n_workers, cluster in clusters.items():
                address = cluster.scheduler_address.removeprefix("tcp:")
                wall, busy = timed_run(study, f"dask:{address}")
                walls[n_workers].append(wall)
                in_flight[n_workers].append(busy / wall)
    first, second = (statistics.median(walls[k]) for k in (1, 2))
    yield {"what": f"two Dask workers against one, {CELLS} cells, seconds", "target": "≥ 1.6×",
           "reference": first, "ours": second, "ratio": first / second}  # fmt: skip
    first, second = (statistics.median(in_flight[k]) for k in (1, 2))
    yield {"what": "  the same, cells in flight", "target": "≥ 1.6×",
           "reference": first, "ours": second, "ratio": second / first}  # fmt: skip


def timed_run(study: Study, executor: str) -> tuple[float, float]:
    """Wall seconds of a whole run, and the sum of the seconds its cells took."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run(study, Path(folder), executor, progress=False)
        wall = time.perf_counter() - start
        return wall, float(pd.read_parquet(Store.of(study, Path(folder)).directory / "table.parquet").seconds.sum())
