"""What kept tables of the real models say together: totals over cells, t intervals over concepts, rank correlations.

`python -m analyses.evidence.together` reads `analyses/measured` alone, so that nothing has to be run again for it, and
keeps there what it finds.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from analyses.command import command, from_command_line
from analyses.measured.__main__ import FOLDER


@dataclass(frozen=True)
class TogetherConfig:
    """Command line.

    Args:
        out: where the tables go, in the place of earlier ones.
    """

    out: Path = FOLDER


def write(config: TogetherConfig) -> tuple[str, Path]:
    """Write every table; says what is in them."""
    from analyses.evidence.over_cells import TABLES, text

    config.out.mkdir(parents=True, exist_ok=True)
    said = {name: text(name) for name in TABLES}
    for name, lines in said.items():
        (config.out / f"{name}.csv").write_text(lines, encoding="utf-8")
    return "\n".join(f"{name}\n{lines}" for name, lines in said.items()), config.out


def main(config: TogetherConfig) -> int:
    """Write and say what."""
    return command(lambda: write(config))


if __name__ == "__main__":
    sys.exit(from_command_line(TogetherConfig, main, __doc__))
