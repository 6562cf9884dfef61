"""The tables of the findings on real models, from the results of `python -m analyses.evidence`.

`python -m analyses.evidence.tables` writes them to `results/evidence/tables`; `python -m analyses.measured` keeps them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analyses.command import command, from_command_line
from analyses.evidence import contrasts, plan
from analyses.evidence.predictors import predictors
from analyses.evidence.run import RESULTS
from analyses.runs import code

#: findings of a certification, and the columns they become
FINDINGS = {
    "held-out AUC of h (texts)": "auc",
    "prompts with every step certified": "certified",
    "κθ": "bend",
    "quadratic share of ∇h": "quadratic_share",
    "efficiency: gain / best possible gain at the angle": "efficiency",
    "gain in the other half's h per gain in one's own": "other_half",
    "prompts whose certified radius exceeds bf16's bound": "bf16",
    "random: whole path certified": "random_certified",
}
#: the integrator of the published method
PUBLISHED = "euler"
#: whose best layer is to be predicted
ARM, LEVEL = "flow", plan.KL[1]


@dataclass(frozen=True)
class TablesConfig:
    """Command line.

    Args:
        results: of the runs.
        out: where the tables go, in the place of earlier ones.
    """

    results: Path = RESULTS
    out: Path = RESULTS / "tables"


def found(results: Path, study: str, table: str) -> Iterator[pd.DataFrame]:
    """A table of every finished run of a study, with its `model` and `concept`."""
    for model in plan.MODELS:
        for folder in sorted((results / model.name).glob(f"*/{study}")):
            for file in sorted(folder.rglob(f"{table}.parquet")):
                # a folder of layers has a run each; what has no run beside it is not finished
                if (file.parent / "run.json").is_file():
                    yield pd.read_parquet(file).assign(model=model.name, concept=folder.parent.name)


def _joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """One below the other; empty where there is none."""
    tables = list(parts)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def certification(results: Path) -> pd.DataFrame:
    """A row a model, concept and layer: what the certificates say, and how well the h that they are about reads."""
    parts = []
    for rows in found(results, "certification", "findings"):
        known = rows.loc[rows["what"].isin(list(FINDINGS))].replace({"what": FINDINGS}).rename(columns={"what": "name"})
        wide = known.pivot(index=["model", "concept", "layer"], columns="name", values=["value", "low", "high", "n"])
        wide.columns = [name if part == "value" else f"{name}_{part}" for part, name in wide.columns]
        parts.append(wide.reset_index())
    return _joined(parts)


def angles(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer and angle: the share of prompts on whose published path h falls somewhere."""
    parts = [rows.query("integrator == @PUBLISHED") for rows in found(results, "certification", "strengths")]
    names = ["model", "concept", "layer", "angle", "violating", "violating_low", "violating_high", "steps_undecided",
             "saturation", "norm_ratio", "n"]  # fmt: skip
    return _joined(parts).reindex(columns=names)


def readers(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer and what: AUC and log loss of each barrier, and their differences."""
    parts = list(found(results, "readers", "readers"))
    names = ["model", "concept", "layer", "what", "value", "low", "high", "n"]
    return _joined(parts).reindex(columns=names)


def layers(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer, arm and level: mean change of the log-odds from unsteered, and success."""
    parts = [contrasts.profile(rows) for rows in found(results, "layers", "table")]
    return _joined(parts)


def declared(results: Path) -> pd.DataFrame:
    """The declared comparisons, a row each pair of arms and level, over concepts and prompts."""
    return contrasts.pooled(list(found(results, "layers", "table")))


def cells(results: Path) -> pd.DataFrame:
    """The declared comparisons in every (model, concept, layer, level)."""
    parts = [contrasts.by_cell(rows) for rows in found(results, "layers", "table")]
    return _joined(parts)


def likelihood(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer and arm: T*, changes of log p₊ and log p₋, and the share off the data."""
    parts = []
    for model in plan.MODELS:
        for folder in sorted((results / model.name).glob("*/likelihood/**/layer-*")):
            if (folder / "run.json").is_file():
                rows = pd.read_parquet(folder / "summary.parquet")
                concept = folder.relative_to(results / model.name).parts[0]
                layer = int(folder.name.removeprefix("layer-"))
                parts.append(rows.assign(model=model.name, concept=concept, layer=layer))
    return _joined(parts)


def predicted(results: Path) -> pd.DataFrame:
    """A row a model, concept and indicator of the layer: what picking by it costs."""
    read = readers(results)
    parts = []
    for rows in found(results, "layers", "table"):
        own = {name: rows[name].iloc[0] for name in contrasts.KEY}
        beside = read.query("model == @own['model'] and concept == @own['concept']") if len(read) else read
        parts.append(predictors(rows, beside, ARM, LEVEL).assign(**own))
    return _joined(parts)


TABLES = {f.__name__: f for f in (certification, angles, readers, layers, declared, cells, predicted, likelihood)}


def write(config: TablesConfig) -> tuple[str, Path]:
    """Write every table for which there are results, as csv beside `run.json`; says how many rows each has.

    Raises:
        ValueError: there are no results.
    """
    tables = {name: table for name, make in TABLES.items() if len(table := make(config.results))}
    if not tables:
        raise ValueError(
            f"results={str(config.results)!r} holds no finished run; start with `python -m analyses.evidence`"
        )
    config.out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(config.out / f"{name}.csv", index=False, float_format="%.6g")
    (config.out / "run.json").write_text(json.dumps(code(), indent=1))
    return "\n".join(f"{name}: {len(table)} rows" for name, table in tables.items()), config.out


def main(config: TablesConfig) -> int:
    """Write and say what; 2 if there is nothing."""
    return command(lambda: write(config))


if __name__ == "__main__":
    sys.exit(from_command_line(TablesConfig, main, __doc__))
