"""Every figure: the tables it needs, where they come from, and how it is drawn from the folder that holds them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from figures.audit import draw_audit
from figures.captions import recorded, source
from figures.certification import draw_certification
from figures.flow import draw_flow
from figures.frontier import draw_frontier
from figures.layers import draw_layers
from figures.likelihood import draw_likelihood
from figures.outcome import draw_outcome
from figures.outcomes import draw_outcomes
from figures.paths import draw_paths
from figures.race import draw_race
from figures.tokens import draw_tokens

Draw = Callable[[Path, Path], list[Path]]


@dataclass(frozen=True)
class Entry:
    """A figure of the catalogue.

    Attributes:
        name: of its files.
        tables: files that stand together in one folder, any number of folders deep.
        made_by: the command that writes them.
        draw: from that folder into another.
    """

    name: str
    tables: tuple[str, ...]
    made_by: str
    draw: Draw

    def folders(self, results: Path) -> Iterator[Path]:
        """Every folder below `results` that holds all the tables, in order."""
        for first in sorted(results.rglob(self.tables[0])):
            if all((first.parent / name).is_file() for name in self.tables[1:]):
                yield first.parent


def _table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / f"{name}.parquet")


def _certification(folder: Path, out: Path) -> list[Path]:
    return draw_certification(_table(folder, "strengths"), out, source=source(folder))


def _flow(folder: Path, out: Path) -> list[Path]:
    grid, plane, best, marks = (_table(folder, name) for name in ("grid", "plane", "best", "marks"))
    return draw_flow(grid, plane, best, marks, out, source(folder))


def _audit(folder: Path, out: Path) -> list[Path]:
    return draw_audit(_table(folder, "audit"), out, source(folder))


def _frontier(folder: Path, out: Path) -> list[Path]:
    return draw_frontier(_table(folder, "frontier"), out, source(folder))


def _layers(folder: Path, out: Path) -> list[Path]:
    return draw_layers(_table(folder, "layers"), out, source=source(folder), outcome=recorded(folder, "outcome"))


def _race(folder: Path, out: Path) -> list[Path]:
    answer = str(json.loads((folder / "run.json").read_text())["found"]["answer"]).splitlines()[0]
    return draw_race(_table(folder, "race"), _table(folder, "arms"), out, answer, source(folder))


def _likelihood(folder: Path, out: Path) -> list[Path]:
    curves, references, summary = (_table(folder, name) for name in ("curves", "references", "summary"))
    return draw_likelihood(curves, references, summary, out, source(folder))


def _outcome(folder: Path, out: Path) -> list[Path]:
    return draw_outcome(_table(folder, "texts"), out, source(folder))


def _outcomes(folder: Path, out: Path) -> list[Path]:
    return draw_outcomes(pd.read_csv(folder / "table.csv"), out, source(folder))


def _paths(folder: Path, out: Path) -> list[Path]:
    return draw_paths(pd.read_csv(folder / "paths.csv"), out, source(folder))


def _tokens(folder: Path, out: Path) -> list[Path]:
    settings = json.loads((folder / "run.json").read_text())["settings"]
    shown = min(settings["strengths"], key=lambda x: abs(x - settings["declared"]))
    return draw_tokens(_table(folder, "tokens"), _table(folder, "references"), shown, out, source(folder))


LIKELIHOOD = "python -m analyses.trajectory_likelihood"
FIGURES = (
    Entry("flow", ("plane.parquet", "grid.parquet", "best.parquet", "marks.parquet"),
          "python -m analyses.flow_plane", _flow),
    Entry("certification", ("strengths.parquet",), "python -m analyses.barrier_certification", _certification),
    Entry("likelihood", ("curves.parquet", "references.parquet", "summary.parquet"), LIKELIHOOD, _likelihood),
    Entry("tokens", ("tokens.parquet", "references.parquet", "run.json"), LIKELIHOOD, _tokens),
    Entry("outcome", ("texts.parquet", "references.parquet"), LIKELIHOOD, _outcome),
    Entry("layers", ("layers.parquet",), "python -m analyses.layer_effectiveness", _layers),
    Entry("race", ("race.parquet", "arms.parquet", "run.json"),
          "python -m analyses.layer_effectiveness --search", _race),
    Entry("frontier", ("frontier.parquet",), "python -m analyses.method_comparison", _frontier),
    Entry("audit", ("audit.parquet",), "python -m analyses.method_audit", _audit),
    Entry("outcomes", ("table.csv", "paths.csv"), "make demo", _outcomes),
    Entry("paths", ("paths.csv", "table.csv"), "make demo", _paths),
)  # fmt: skip
