"""Does what we report hold as often as it says? Every interval, band and test, on simulated units of a known truth.

At each number of prompts, for 0 and 1, for continuous numbers and for prompts that repeat (5 rows each): how often an
interval or band holds the truth, and how often a test does not reject what is true, beside the nominal share. The
equivalence test of 0 and 1 is enumerated besides. Fails if a row falls short by more than four standard errors of the
simulation. `python -m analyses.coverage --simulations 1000`
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from analyses.command import from_command_line
from analyses.options import COUNT, COUNTED, COUNTS, Seed

Prompts = Annotated[tuple[int, ...], arg(name="n-prompts", help="numbers of prompts that are tried"), COUNTED, COUNTS]


@dataclass(frozen=True)
class CoverageConfig:
    """Settings of the simulation.

    Raises:
        ValueError: `only` is no regular expression.
    """

    simulations: Annotated[int, COUNT] = 1000
    """a row"""
    prompts: Prompts = (10, 20, 50, 200)
    resamples: Annotated[int, COUNT] = 1000
    """of every bootstrap"""
    only: str = ""
    """a regular expression found in the names of what is simulated"""
    seed: Seed = 0
    out: Path | None = None
    """where the tables are kept; left out, they are printed alone"""

    def __post_init__(self) -> None:
        try:
            re.compile(self.only)
        except re.error as error:
            raise ValueError(
                f"only={self.only!r} is no regular expression ({error}); put a backslash before what is meant as it is"
            ) from error


if __name__ == "__main__":
    sys.exit(from_command_line(CoverageConfig, "analyses.inference.coverage:run", __doc__))
