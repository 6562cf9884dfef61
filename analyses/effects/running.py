"""Running a study of effects from its plan to its rows, saying before it starts what it will cost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from analyses.effects.estimate import Estimate, estimate
from analyses.effects.material import Material
from analyses.sweep import Store, Study, finish
from analyses.sweep.worker import forget_context, shared_context


class Report(Protocol):
    """Tables of a finished study."""

    def frame(self) -> pd.DataFrame: ...
    def _repr_html_(self) -> str: ...


@dataclass(frozen=True, eq=False)
class Finished:
    """A study that has been run.

    Attributes:
        report: its tables.
        rows: one a prompt and cell, texts included.
        directory: where both are kept, and whence the same call goes on.
    """

    report: Report
    rows: pd.DataFrame
    directory: Path

    def frame(self) -> pd.DataFrame:
        """The report's main table."""
        return self.report.frame()

    def _repr_html_(self) -> str:
        return self.report._repr_html_()  # pyright: ignore[reportPrivateUsage]

    def __str__(self) -> str:
        return str(self.report)


def expected(study: Study, root: Path, executor: str | Executor) -> Estimate | None:
    """What is left to be done; None if nothing is.

    The study's context is made for it; it is kept where the cells are computed in this process.
    """
    done = Store.of(study, root).finished()
    left = [cell.config for cell in study.keyed if cell.key not in done]
    if not left:
        return None
    material = shared_context(study.digest, study.context)
    assert isinstance(material, Material)
    kind, _, rest = executor.partition(":") if isinstance(executor, str) else ("", "", "")
    found = estimate(material, left, len(study.cells), int(rest) if kind == "processes" else 1)
    if executor != "local":
        del material
        forget_context()
    return found


def run_study(
    study: Study, root: Path, executor: str | Executor, say: Callable[[str], None] | None = None
) -> tuple[pd.DataFrame, Path]:
    """The rows of a study, run or gone on with, and its directory.

    Args:
        say: told what it will cost; left out, standard error is.

    Raises:
        IncompleteStudy, WillRepeat: a cell failed.
    """
    cost = expected(study, root, executor)
    if cost is not None:
        (say or _say)(f"{study.name}: {cost}")
    directory = finish(study, root, executor)
    return Store(directory).table(study), directory


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
