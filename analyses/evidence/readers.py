"""Does a curved barrier read a concept better than the published sketch, or than a linear one as stiff as it may be?

At every layer: three barriers, each fitted on four fifths of the wordings and asked about the fifth, calibrated on what
is said of the other fifths, and compared by the log loss of the texts left out.
`python -m analyses.evidence.readers --model smollm2 --contrast results/concepts/sentiment/pairs.jsonl --out …`
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import odesteer_tl as ode
from analyses.command import command, from_command_line
from analyses.options import SEED

if TYPE_CHECKING:  # what needs the model's libraries is imported once everything is checked
    import pandas as pd


@dataclass(frozen=True)
class ReadersConfig:
    """Command line of the study; what is unfinished is kept beside `out`, and the same command goes on from there.

    Args:
        model: a name, folder or file that `load_model` takes.
        contrast: a file of pairs, as of the other studies.
        out: the folder of results.
        seed: of the folds.
    """

    model: str
    contrast: str
    out: Path
    seed: Annotated[int, SEED] = 0


def readers(config: ReadersConfig) -> tuple[pd.DataFrame, Path]:
    """The table of all layers, written to `out`; finished layers are kept beside it, and are not read again.

    Raises:
        ValueError: `out` holds something else, or what loading and fitting refuse.
        IncompleteStudy: a layer failed.
    """
    from analyses.runs import cells_of, replaceable, require_same, save_run
    from analyses.sources import load_contrast

    require_same(config.out, None)
    contrast = load_contrast(config.contrast, 0, config.seed)
    from analyses.evidence.reading import estimate, reading_study
    from analyses.sweep.announce import run_announced

    model = ode.load_model(config.model)
    study = reading_study(model, contrast, config.seed)
    require_same(config.out, study.digest)
    rows, _ = run_announced(study, cells_of(config.out), "local", estimate)
    table = rows.drop(columns="cell")
    run = {"settings": {**asdict(config), "out": str(config.out)}, "contrast": contrast.provenance,
           "model": asdict(ode.ModelIdentity.of(model)), "study": study.digest}  # fmt: skip
    replaceable(config.out, study.digest)
    save_run(config.out, {"readers": table}, run)
    return table, config.out


def main(config: ReadersConfig) -> int:
    """Run, or what is left, save and print; 1 if a layer failed, 2 if something was refused."""
    return command(lambda: readers(config))


if __name__ == "__main__":
    sys.exit(from_command_line(ReadersConfig, main, __doc__))
