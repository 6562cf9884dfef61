"""Running a study of effects from its plan to its rows, saying before it starts what it will cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from analyses.effects.estimate import Estimate, estimate
from analyses.effects.material import Material
from analyses.sweep import Study, announce


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

    The study's context is made for it, and in this process not made again.
    """
    found = announce.expected(study, root, executor, _estimate)
    assert found is None or isinstance(found, Estimate)
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
    return announce.run_announced(study, root, executor, _estimate, say)


def _estimate(material: Any, left: Sequence[Mapping[str, Any]], of: int, workers: int) -> Estimate:
    assert isinstance(material, Material)
    return estimate(material, left, of, workers)
