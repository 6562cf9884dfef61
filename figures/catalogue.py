"""Every figure: the tables it needs, where they come from, and how it is drawn from the folder that holds them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyses.measured.__main__ import read
from figures.audit import draw_audit
from figures.captions import asked, recorded, source, written
from figures.certification import draw_certification
from figures.drawing import Drawing
from figures.flow import draw_flow
from figures.frontier import draw_frontier
from figures.layers import draw_layers
from figures.likelihood import draw_likelihood
from figures.outcome import draw_outcome
from figures.outcomes import draw_outcomes
from figures.paths import draw_paths
from figures.race import draw_race
from figures.tokens import draw_tokens


@dataclass(frozen=True)
class Entry:
    """A figure of the catalogue.

    Attributes:
        name: of its files.
        draw: of its tables and `source`.
        tables: files that it is drawn from and that stand together in one folder, any number of folders deep.
        made_by: the command that writes them.
        beside: other files of that folder, by which it is told from others.
        more: what else `draw` is told, from the folder.
    """

    name: str
    draw: Callable[..., Drawing]
    tables: tuple[str, ...]
    made_by: str
    beside: tuple[str, ...] = ()
    more: Callable[[Path], dict[str, Any]] = lambda folder: {}

    @property
    def files(self) -> tuple[str, ...]:
        """All that a folder must hold."""
        return self.tables + self.beside

    def folders(self, results: Path) -> Iterator[Path]:
        """Every folder below `results` that holds all the files, in order."""
        for first in sorted(results.rglob(self.tables[0])):
            if all((first.parent / name).is_file() for name in self.files):
                yield first.parent

    def drawn(self, folder: Path) -> Drawing:
        """Draw it from a folder."""
        files = [folder / name for name in self.tables]
        tables = [read(file) for file in files]
        return self.draw(*tables, source=source(folder), **self.more(folder))


def _judged(folder: Path) -> dict[str, Any]:
    chosen = folder / "chosen.parquet"
    return {
        "outcome": recorded(folder, "outcome"),
        "asked": asked(folder),
        "written": written(folder),
        "chosen": read(chosen) if chosen.is_file() else None,
    }


def _raced(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "run.json").read_text())["found"]
    # the second is the name of earlier runs
    table = next(file for name in ("candidates", "arms") if (file := folder / f"{name}.parquet").is_file())
    return {"answer": str(found["answer"]).splitlines()[0], "candidates": read(table)}


def _strength(folder: Path) -> dict[str, Any]:
    settings = json.loads((folder / "run.json").read_text())["settings"]
    return {"strength": min(settings["strengths"], key=lambda x: abs(x - settings["declared"]))}


LIKELIHOOD = "python -m analyses.trajectory_likelihood"
FIGURES = (
    Entry("flow", draw_flow, ("grid.parquet", "plane.parquet", "best.parquet", "marks.parquet"),
          "python -m analyses.flow_plane"),
    Entry("certification", draw_certification, ("strengths.parquet",), "python -m analyses.barrier_certification"),
    Entry("likelihood", draw_likelihood, ("curves.parquet", "references.parquet", "summary.parquet"), LIKELIHOOD),
    Entry("tokens", draw_tokens, ("tokens.parquet", "references.parquet"), LIKELIHOOD, ("run.json",), _strength),
    Entry("outcome", draw_outcome, ("texts.parquet",), LIKELIHOOD, ("references.parquet",)),
    Entry("layers", draw_layers, ("layers.parquet",), "python -m analyses.layer_effectiveness", more=_judged),
    Entry("race", draw_race, ("race.parquet",), "python -m analyses.layer_effectiveness --search", ("run.json",),
          _raced),
    Entry("frontier", draw_frontier, ("frontier.parquet",), "python -m analyses.method_comparison"),
    Entry("audit", draw_audit, ("audit.parquet",), "python -m analyses.method_audit"),
    Entry("outcomes", draw_outcomes, ("table.csv",), "make demo", ("paths.csv",)),
    Entry("paths", draw_paths, ("paths.csv",), "make demo", ("table.csv",)),
)  # fmt: skip
