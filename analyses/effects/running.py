"""Running a study of effects from its plan to its rows, saying before it starts what it will cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from analyses.effects.estimate import estimate
from analyses.sweep import Store, Study
from analyses.sweep.announce import expected, run_announced


class Report(Protocol):
    """Tables of a finished study."""

    def frame(self) -> pd.DataFrame: ...
    def save(self, folder: Path, run: Mapping[str, Any]) -> Path: ...
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


def report_study(
    study: Study,
    root: Path,
    executor: str | Executor,
    summarised: Callable[[pd.DataFrame, str], Report],
    said: Mapping[str, Any],
) -> Finished:
    """Run a study, or go on with it, and put its report beside the rows.

    Args:
        summarised: rows and the study's name to a report.
        said: what its `run.json` says beside the study's settings.

    Raises:
        IncompleteStudy, WillRepeat: a cell failed.
    """
    rows, directory = run_announced(study, root, executor, estimate)
    report = summarised(rows, study.name)
    report.save(directory / "report", {**study.settings, **said, "rows": len(rows)})
    return Finished(report, rows, directory)


def said_of(study: Study, root: Path, executor: str | Executor) -> tuple[str, Path]:
    """What is left to be done and what it would cost, and where it would go."""
    cost = expected(study, root, executor, estimate)
    return str(cost or "nothing is left to be done"), Store.of(study, root).directory
