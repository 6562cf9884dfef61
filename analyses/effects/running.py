"""Running a study of effects from its plan to its rows, saying before it starts what it will cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import pandas as pd

from analyses.effects.estimate import estimate
from analyses.sweep import Store, Study
from analyses.sweep.announce import expected, run_announced


class Report(Protocol):
    """Tables of a finished study, and what has to be said first: a frozen dataclass."""

    @property
    def room(self) -> str: ...
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
    rows, directory = run_announced(keeping(study, Store.of(study, root).directory), root, executor, estimate)
    alike, report = unfitted(study, rows), summarised(rows, study.name)
    if alike:
        report = replace(report, room=f"{report.room} {alike}")  # pyright: ignore[reportArgumentType, reportCallIssue]
    report.save(directory / "report", {**study.settings, **said, "rows": len(rows)})
    return Finished(report, rows, directory)


def keeping(study: Study, directory: Path) -> Study:
    """The same study, whose methods trained through the model are kept in its directory."""
    context = cast(Callable[..., Any], study.context)  # makes a `Material`
    return replace(study, context=partial(context, folder=directory / "trained"))


def unfitted(study: Study, rows: pd.DataFrame) -> str:
    """Which arms have no rows, as a sentence a layer: those that had nothing to be fitted to there.

    Raises:
        ValueError: no arm has any.
    """
    have = {(int(layer), str(label)) for layer, label in zip(rows["layer"], rows["label"], strict=True)}
    arms: dict[int, dict[str, None]] = {}
    for cell in study.cells:
        arms.setdefault(int(cell["layer"]), {})[str(cell["label"])] = None
    said: list[str] = []
    for layer, labels in arms.items():
        without = [label for label in labels if (layer, label) not in have]
        if without:
            whom = "no arm" if len(without) == len(labels) else f"{', '.join(without)} not"
            said.append(f"At layer {layer} {whom} could be fitted: nothing tells the contrast's classes apart within "
                        "rounding in what is read there.")  # fmt: skip
    if not {layer for layer, _ in have} - {-1}:
        raise ValueError(f"{' '.join(said)} Use other layers or texts")
    return " ".join(said)


def said_of(study: Study, root: Path, executor: str | Executor) -> tuple[str, Path]:
    """What is left to be done and what it would cost, and where it would go."""
    directory = Store.of(study, root).directory
    cost = expected(keeping(study, directory), root, executor, estimate)
    return str(cost or "nothing is left to be done"), directory
