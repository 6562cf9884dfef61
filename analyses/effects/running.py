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
from analyses.effects.tables import groups
from analyses.sweep import Store, Study
from analyses.sweep.announce import announcement, run_announced

#: why cells of former studies have no rows, which did not say it
UNSAID = "nothing tells the contrast's classes apart within rounding in what is read there"


class Report(Protocol):
    """Tables of a finished study, and what has to be said first: a frozen dataclass."""

    @property
    def headroom(self) -> str: ...
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
    rows, directory = run_announced(keeping(study, Store.planned(study, root).directory), root, executor, estimate)
    refused = refusals(study, Store(directory))
    if not (rows["layer"] >= 0).to_numpy().any():
        raise ValueError(f"{in_words(refused, study)} Use other layers or texts")
    report = summarised(rows, study.name)
    if len(refused):
        headroom = f"{report.headroom} {in_words(refused, study)}"
        report = replace(report, refused=refused, headroom=headroom)  # pyright: ignore[reportArgumentType, reportCallIssue]
    report.save(directory / "report", {**study.settings, **said, "rows": len(rows)})
    return Finished(report, rows, directory)


def keeping(study: Study, directory: Path) -> Study:
    """The same study, whose methods trained through the model are kept in its directory."""
    context = cast(Callable[..., Any], study.context)  # makes a `Material`
    return replace(study, context=partial(context, folder=directory / "trained"))


def refusals(study: Study, store: Store) -> pd.DataFrame:
    """The arms that could not be fitted: `layer`, `label`, `method`, and `why`."""
    names, found = ["layer", "label", "method"], dict[str, dict[str, Any]]()
    for cell in study.keyed:
        why = store.refused(cell)
        if why is not None:
            arm = {name: cell.config[name] for name in names}
            found[str(arm)] = {**arm, "why": why or UNSAID}
    return pd.DataFrame(list(found.values()), columns=[*names, "why"])


def in_words(refused: pd.DataFrame, study: Study) -> str:
    """A sentence a layer and reason."""
    said: list[str] = []
    for (layer, why), arms in groups(refused, ["layer", "why"]):
        labels = {str(cell["label"]) for cell in study.cells if cell["layer"] == layer}
        whom = "no method could be fitted" if labels == {*arms["label"]} else f"{', '.join(arms['label'])} refused"
        said.append(f"At layer {layer} {whom}: {why}.")
    return " ".join(said)


def said_of(study: Study, root: Path, executor: str | Executor) -> tuple[str, Path]:
    """What is left to be done and what it would cost, and where it would go."""
    directory = Store.planned(study, root).directory
    return announcement(keeping(study, directory), root, executor, estimate), directory
