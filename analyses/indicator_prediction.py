"""Do mechanistic indicators along a text say whether steering it worked, on a concept they were not fitted on?

Reads finished layer studies, one a concept, and writes one table; see `analyses/effects/prediction.py`.
`python -m analyses.indicator_prediction results/layers/valence-… results/layers/agreement-…`
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import tyro

from analyses.effects.prediction import success_from_texts
from analyses.runs import refuse_existing, save_run


@dataclass(frozen=True)
class IndicatorConfig:
    """Which studies.

    Args:
        studies: folders with a `table.parquet`; a concept is named by its folder.
        budget: rows of which budget. permutations: of the baseline; p cannot be below 1 / (1 + permutations).
        seed: of the forests and the permutations. out: the table's folder.
    """

    studies: tyro.conf.Positional[tuple[Path, ...]]
    budget: str = "kl"
    permutations: int = 20
    seed: int = 0
    out: Path = Path("results/indicators")


def main(config: IndicatorConfig) -> None:
    """Write the table and print it.

    Raises:
        ValueError: fewer than two studies, so that no concept can be held out; or `out` holds an earlier run.
    """
    refuse_existing(config.out)
    if len(config.studies) < 2:
        raise ValueError(f"studies={list(map(str, config.studies))} must be two folders or more, one a concept")
    tables = [pd.read_parquet(study / "table.parquet").assign(concept=study.name) for study in config.studies]
    found = success_from_texts(tables, config.budget, config.permutations, config.seed)
    save_run(config.out, {"prediction": found}, {"settings": asdict(config)})
    print(found.to_markdown(index=False, floatfmt=".3f"))


if __name__ == "__main__":
    main(tyro.cli(IndicatorConfig, description=__doc__))
