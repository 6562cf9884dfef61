"""What the first tokens of a text foretell of all of it: of its success, its fluency, and which candidate is best.

`python -m analyses.early_looks results/evidence/smollm2/sentiment/texts/pairs-… results/whole-texts/pairs-… --prompts
results/concepts/sentiment/prompts.json results/concepts/questions/prompts.json --out results/early-looks`
A predictor (logistic regression, where SteerBoost boosts trees) learns from the studies whose outcome is another one.
It is held against what costs nothing, and against whole texts of as many tokens.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from analyses.command import from_command_line
from analyses.options import COUNTS


@dataclass(frozen=True)
class EarlyConfig:
    """Settings of the comparison.

    Args:
        studies: folders of finished layer studies of one model that wrote texts.
        prompts: the prompts' file of each.
        first: numbers of tokens that are looked at.
        out: a folder to be made, for `early.parquet`.

    Raises:
        ValueError: not a file of prompts for each study.
    """

    studies: Annotated[tuple[Path, ...], tyro.conf.Positional]
    prompts: tuple[Path, ...]
    first: Annotated[tuple[int, ...], COUNTS] = (2, 5)
    out: Path | None = None

    def __post_init__(self) -> None:
        if len(self.prompts) != len(self.studies):
            raise ValueError(
                f"prompts={[*map(str, self.prompts)]} are {len(self.prompts)} of {len(self.studies)} studies; "
                "give a file for each, in their order"
            )


if __name__ == "__main__":
    sys.exit(from_command_line(EarlyConfig, "analyses.search.early:run", __doc__))
