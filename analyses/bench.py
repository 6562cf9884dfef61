"""Benchmarks: every figure is a ratio of two things run in turn in this process. `make bench`.

Absolute times depend on the machine and are printed for orientation only.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from analyses.command import from_command_line
from analyses.options import Out, Threads


@dataclass(frozen=True)
class BenchConfig:
    """Settings of the benchmarks."""

    out: Out = Path("results/bench")
    threads: Threads = 2
    only: str = ""
    """run only the groups whose name contains this"""


if __name__ == "__main__":
    sys.exit(from_command_line(BenchConfig, "analyses.cost.bench:run", __doc__))
