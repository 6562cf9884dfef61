"""Saying before a study starts what it will cost, and running it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.sweep.engine import finish
from analyses.sweep.store import Store
from analyses.sweep.study import Config, Study
from analyses.sweep.worker import forget_context, shared_context

#: of a study's context, the cells left, the cells of the whole, and the processes that share them: what it will cost
Estimator = Callable[[Any, Sequence[Config], int, int], object]


def expected(study: Study, root: Path, executor: str | Executor, estimate: Estimator) -> object | None:
    """What is left to be done; None if nothing is.

    Nothing is written. The study's context is made for it; it is kept where the cells are computed in this process.
    """
    done = Store.planned(study, root).finished()
    left = [cell.config for cell in study.keyed if cell.key not in done]
    if not left:
        return None
    kind, _, rest = executor.partition(":") if isinstance(executor, str) else ("", "", "")
    workers = int(rest) if kind == "processes" else 1
    found = estimate(shared_context(study.digest, study.context), left, len(study.cells), workers)
    if executor != "local":
        forget_context()
    return found


def announcement(study: Study, root: Path, executor: str | Executor, estimate: Estimator) -> str:
    """`expected` in words."""
    return str(expected(study, root, executor, estimate) or "nothing is left to be done")


def run_announced(study: Study, root: Path, executor: str | Executor, estimate: Estimator) -> tuple[pd.DataFrame, Path]:
    """The rows of a study, run or gone on with, and its directory; standard error is told what it will cost.

    Raises:
        IncompleteStudy, WillRepeat: a cell failed.
    """
    Store.of(study, root)  # a folder that cannot be written is told before the context is made
    cost = expected(study, root, executor, estimate)
    if cost is not None:
        print(f"{study.name}: {cost}", file=sys.stderr, flush=True)
    directory = finish(study, root, executor)
    return Store(directory).table(study), directory
