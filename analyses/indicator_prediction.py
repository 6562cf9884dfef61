"""Do mechanistic indicators along a text say whether steering it worked, on a concept they were not fitted on?

Reads finished layer studies, one a concept, and writes one table; see `analyses/effects/prediction.py`.
`python -m analyses.indicator_prediction results/layers/valence-… results/layers/agreement-…`
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import tyro

from analyses.command import from_command_line
from analyses.options import Out, Seed
from analyses.runs import refuse_existing, save_run


@dataclass(frozen=True)
class IndicatorConfig:
    """Settings of the prediction."""

    studies: tyro.conf.Positional[tuple[Path, ...]]
    """folders with a `table.parquet`; a concept is named by its folder"""
    budget: str = "kl"
    """rows of which budget"""
    permutations: int = 20
    """of the baseline; p cannot be below 1 / (1 + permutations)"""
    seed: Seed = 0
    out: Out = Path("results/indicators")


def main(config: IndicatorConfig) -> None:
    """Write the table and print it.

    Raises:
        ValueError: fewer than two studies, so that no concept can be held out; or `out` holds an earlier run.
    """
    from analyses.effects.prediction import success_from_texts  # which needs scikit-learn

    refuse_existing(config.out)
    if len(config.studies) < 2:
        raise ValueError(f"studies={list(map(str, config.studies))} must be two folders or more, one a concept")
    tables = [pd.read_parquet(study / "table.parquet").assign(concept=study.name) for study in config.studies]
    found = success_from_texts(tables, config.budget, config.permutations, config.seed)
    save_run(config.out, {"prediction": found}, {"settings": asdict(config)})
    print(found.to_markdown(index=False, floatfmt=".3f"))


if __name__ == "__main__":
    sys.exit(from_command_line(IndicatorConfig, main, __doc__))
