"""How often what a race says is false, over simulated problems: `python -m analyses.search --problems 10000`.

Leaves with 1 if any of it is false in more than δ of them. Interrupted, it goes on where it was.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
from tyro.conf import arg

from analyses.command import from_command_line
from analyses.options import COUNT, COUNTED, Formerly, Out, Seed
from analyses.search.rules import Rules

Candidates = Annotated[int, arg(name="candidates", help="to choose from, in each problem"), Formerly(("arms",)), COUNT]
Prompts = Annotated[int, arg(name="n-prompts", help="prompts of each problem"), COUNTED, COUNT]
#: what may be false, by column of `simulate`
SAID = {
    "short": "falls short by more than it said",
    "short_new": "the same, of new prompts",
    "out": "the best candidate was said not to be it",
    "gain": "gains less than it said",
    "refutable": "any race could have said something false",
}
#: problems of a cell
EACH = 50


@dataclass(frozen=True)
class SimulationConfig:
    """Settings of the simulation."""

    problems: Annotated[int, COUNT] = 10_000
    """how many are drawn"""
    arms: Candidates = 60
    prompts: Prompts = 100
    seed: Seed = 0
    executor: str = f"processes:{os.cpu_count() or 1}"
    """local, or processes:N"""
    out: Out = Path("results/search")


def simulation(config: SimulationConfig) -> pd.DataFrame:
    """A row a problem."""
    from analyses.search.simulation import some  # worker processes can import it there, as they cannot this module
    from analyses.sweep import Store, Study, finish, require_executor

    require_executor(config.executor)
    settings = {"arms": config.arms, "prompts": config.prompts, "seed": config.seed}
    cells = tuple({"first": i, "last": min(i + EACH, config.problems)} for i in range(0, config.problems, EACH))
    study = Study("races", some, partial(dict, settings), settings, "1", cells)
    return Store(finish(study, config.out, config.executor)).table(study)


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """How often each thing that was said is false, with its exact interval."""
    from odesteer_tl import stats

    return pd.DataFrame([{"false": what, "share": (found := stats.share(rows[name])).value, "low": found.low,
                          "high": found.high, "problems": found.n} for name, what in SAID.items()])  # fmt: skip


def main(config: SimulationConfig) -> int:
    """Run and print; 1 if something is false too often."""
    rows = simulation(config)
    table = shown(rows)
    print(table.to_markdown(index=False, floatfmt=".4f"))
    by = rows.pivot_table(["cost", "epsilon", "missed"], ["gap", "budget"])
    print("\nMeans over problems: cost (share of the grid's), epsilon that was said, reward that was missed\n")
    print(by.to_markdown(floatfmt=".3f"))
    return int((table["low"].to_numpy() > Rules.delta).any())


if __name__ == "__main__":
    sys.exit(from_command_line(SimulationConfig, main, __doc__))
