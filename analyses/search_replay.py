"""What a search would have found in the place of a finished grid, and what its rivals would have at the same cost.

`python -m analyses.search_replay results/layers/valence-… --rules.budget 0.1`
Nothing is computed by a model: the rewards are the grid's. What each finds is judged on the grid's test prompts.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

from analyses.command import from_command_line
from analyses.search.rules import Rules


@dataclass(frozen=True)
class ReplayConfig:
    """Settings of the replay.

    Args:
        grids: folders of finished layer studies, whose `table.parquet` has select and test prompts.
        rules: of the race; its rivals have the same budget.
        seeds: orders of the prompts.
    """

    grids: Annotated[tuple[Path, ...], tyro.conf.Positional]
    rules: Rules = field(default_factory=lambda: Rules(budget=0.1))
    seeds: int = 20


def replays(config: ReplayConfig) -> pd.DataFrame:
    """A row a grid, search and seed.

    Raises:
        ValueError: a folder that holds no finished grid with prompts of both kinds.
    """
    from analyses.search.replay import Grid, replay

    found: list[pd.DataFrame] = []
    for folder in config.grids:
        if not (folder / "table.parquet").is_file():
            raise ValueError(f"grids={str(folder)!r} holds no table.parquet; name the folder of a finished layer study")
        grid = Grid.of(pd.read_parquet(folder / "table.parquet"))
        found.append(replay(grid, config.rules, range(config.seeds)).assign(grid=folder.name))
    return pd.concat(found, ignore_index=True)


def main(config: ReplayConfig) -> None:
    """Print the comparison, a grid at a time and then over all.

    Raises:
        ValueError: a folder that holds no finished grid with prompts of both kinds.
    """
    rows = replays(config)
    from analyses.search.replay import compared

    for name, some in [*rows.groupby("grid", sort=False), ("all grids", rows)]:
        print(f"\n{name}\n\n{compared(some).to_markdown(index=False, floatfmt='.3f')}")


if __name__ == "__main__":
    sys.exit(from_command_line(ReplayConfig, main, __doc__))
