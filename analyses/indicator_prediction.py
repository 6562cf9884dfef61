"""Do mechanistic indicators along a text say whether steering it worked, on a concept they were not fitted on?

Reads finished layer studies, one a concept; see `analyses/effects/prediction.py`.
`python -m analyses.indicator_prediction results/layers/valence-… results/layers/agreement-…`
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tyro

from analyses.effects.prediction import success_from_texts


@dataclass(frozen=True)
class IndicatorConfig:
    """Which studies.

    Args:
        studies: folders with a `table.parquet`; a concept is named by its folder.
        budget: rows of which budget. permutations: of the baseline; p cannot be below 1 / (1 + permutations).
        seed: of the forests and the permutations.
    """

    studies: tyro.conf.Positional[tuple[Path, ...]]
    budget: str = "kl"
    permutations: int = 20
    seed: int = 0


def main(config: IndicatorConfig) -> None:
    """Print the table.

    Raises:
        ValueError: fewer than two studies, so that no concept can be held out.
    """
    if len(config.studies) < 2:
        raise ValueError(f"studies={list(map(str, config.studies))} must be two folders or more, one a concept")
    tables = [pd.read_parquet(study / "table.parquet").assign(concept=study.name) for study in config.studies]
    found = success_from_texts(tables, config.budget, config.permutations, config.seed)
    print(found.to_markdown(index=False, floatfmt=".3f"))


if __name__ == "__main__":
    main(tyro.cli(IndicatorConfig, description=__doc__))
