"""The tables of the findings on real models, from the results of `python -m analyses.evidence`.

`python -m analyses.evidence.tables` writes them to `results/evidence/tables`; `python -m analyses.measured` keeps them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from analyses.command import command, from_command_line
from analyses.evidence.run import RESULTS


@dataclass(frozen=True)
class TablesConfig:
    """Command line.

    Args:
        results: of the runs.
        out: where the tables go, in the place of earlier ones.
    """

    results: Path = RESULTS
    out: Path = RESULTS / "tables"


def write(config: TablesConfig) -> tuple[str, Path]:
    """Write every table for which there are results, as csv beside `run.json`; says how many rows each has.

    Raises:
        ValueError: there are no results.
    """
    from analyses.evidence import reading_tables, steering_tables
    from analyses.runs import code

    every = (*reading_tables.TABLES, *steering_tables.TABLES)
    tables = {make.__name__: table for make in every if len(table := make(config.results))}
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
