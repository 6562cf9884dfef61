"""What a search would have found in the place of a finished grid, and what its rivals would have at the same cost.

`python -m analyses.search_replay results/evidence/*/*/layers/pairs-* --rules.budget 0.1`
Nothing is computed by a model, which only says what its layers cost: the rewards are the grid's. What each search finds
is judged on the grid's test prompts. Of a concept whose grid has the same candidates for other concepts of the same
model, a race is also told what these candidates did there.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import tyro

from analyses.command import from_command_line
from analyses.labels import current_labels
from analyses.options import COUNT
from analyses.search.rules import Rules

if TYPE_CHECKING:
    from analyses.search.replay import Grid


#: the mean over grids, among their names
ALL = "all"


@dataclass(frozen=True)
class ReplayConfig:
    """Settings of the replay.

    Args:
        grids: folders of finished layer studies, whose `table.parquet` has select and test prompts.
        rules: of the race; its rivals have the same budget.
        seeds: orders of the prompts.
        out: a folder to be made, for `searches.parquet` (a row a grid and search) and `grids.parquet`; left out, none.
    """

    grids: Annotated[tuple[Path, ...], tyro.conf.Positional]
    rules: Rules = field(default_factory=lambda: Rules(budget=0.1))
    seeds: Annotated[int, COUNT] = 20
    out: Path | None = None


def named(folders: Sequence[Path]) -> list[str]:
    """Names of folders: of their paths as much as tells them apart."""
    if len(folders) == 1:
        return [folders[0].name]
    paths = [folder.resolve() for folder in folders]
    parts = [path.relative_to(os.path.commonpath(paths)).parts for path in paths]
    last = next((n for n in range(1, max(map(len, parts)) + 1) if len({p[:n] for p in parts}) == len(parts)), None)
    if last is None:
        raise ValueError(f"grids={[str(folder) for folder in folders]} names a folder twice")
    return ["/".join(p[:last]) for p in parts]


def read(folders: Sequence[Path]) -> dict[str, tuple[str, Grid]]:
    """Each grid with its model, by name.

    Raises:
        ValueError: a folder that holds no finished grid with prompts of both kinds.
    """
    import odesteer_tl as ode
    from analyses.effects.estimate import Shares
    from analyses.effects.settings import EffectSettings
    from analyses.search.replay import Grid

    load, found = cache(ode.load_model), dict[str, tuple[str, Grid]]()
    for name, folder in zip(named(folders), folders, strict=True):
        if not (folder / "table.parquet").is_file() or not (folder / "study.json").is_file():
            raise ValueError(f"grids={str(folder)!r} lacks table.parquet or study.json; name a finished layer study")
        own = json.loads((folder / "study.json").read_text())["settings"]
        rows = current_labels(pd.read_parquet(folder / "table.parquet"))
        settings = EffectSettings(passage=own["passage"], max_new_tokens=own["max_new_tokens"])
        found[name] = own["model"], Grid.of(rows, Shares.of_rows(settings, load(own["model"]), rows))
    return found


def replays(grids: Mapping[str, tuple[str, Grid]], rules: Rules, seeds: int) -> pd.DataFrame:
    """A row a grid, search and seed."""
    from analyses.search.replay import elsewhere, replay

    found: list[pd.DataFrame] = []
    for name, (model, grid) in grids.items():
        others = [other for key, (its, other) in grids.items() if key != name and its == model]
        found.append(replay(grid, rules, range(seeds), elsewhere(grid, others)).assign(grid=name))
    return pd.concat(found, ignore_index=True)


def shown(found: pd.DataFrame) -> pd.DataFrame:
    """A row a search: the share of the grid's choice that it has, mean and worst order, by grid and over all, by how
    much it said to fall short of the best at most, and what it cost."""
    said = [f"{mean:.3f}, worst {worst:.3f}" for mean, worst in zip(found["of_grid"], found["worst"], strict=True)]
    wide = found.assign(said=said).pivot(index="how", columns="grid", values="said")
    whole = found[found["grid"] == ALL].set_index("how")
    return wide.loc[list(dict.fromkeys(found["how"])), list(dict.fromkeys(found["grid"]))].join(
        whole[["epsilon", "cost"]].map("{:.3f}".format)
    )


def main(config: ReplayConfig) -> None:
    """Print what the grids are and what each search finds.

    Raises:
        ValueError: a folder that holds no finished grid with prompts of both kinds, or `out` is there.
    """
    from analyses.runs import refuse_existing, save_run
    from analyses.search.replay import compared, described

    if config.out is not None:
        refuse_existing(config.out)
    grids = read(config.grids)
    rows = replays(grids, config.rules, config.seeds)
    found = pd.concat([compared(some).assign(grid=name) for name, some in
                       [*rows.groupby("grid", sort=False), (ALL, rows)]], ignore_index=True)  # fmt: skip
    about = pd.DataFrame([{"grid": name, **described(grid)} for name, (_, grid) in grids.items()])
    print(f"\n{about.to_markdown(index=False, floatfmt='.3f')}\n\n{shown(found).to_markdown(disable_numparse=True)}")
    if config.out is not None:
        save_run(config.out, {"searches": found, "grids": about}, {"config": asdict(config)})


if __name__ == "__main__":
    sys.exit(from_command_line(ReplayConfig, main, __doc__))
