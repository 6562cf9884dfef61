"""What the unembedding reads in every layer, and how a study's prompts stand there: by which a layer might be chosen.

`python -m analyses.evidence.lenses --model smollm2 --contrast results/concepts/sentiment/pairs.jsonl --outcome
results/concepts/sentiment/words.json --prompts results/concepts/sentiment/prompts.json --out …`
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import odesteer_tl as ode
from analyses.command import command, from_command_line

if TYPE_CHECKING:  # what needs the model's libraries is imported once everything is checked
    import pandas as pd


@dataclass(frozen=True)
class LensesConfig:
    """Command line of the study; what is unfinished is kept beside `out`, and the same command goes on from there.

    Args:
        model: a name, folder or file that `load_model` takes.
        contrast: a file of pairs, as of the other studies.
        outcome: a file of words for and against, as of the layer study.
        prompts: a file of prompts, as of the layer study.
        out: the folder of results.
    """

    model: str
    contrast: str
    outcome: Path
    prompts: str
    out: Path


def lenses(config: LensesConfig) -> tuple[pd.DataFrame, Path]:
    """The table of all layers, written to `out` beside the prompts' states in the middle layer.

    Finished layers are kept beside `out`, and are not read again.

    Raises:
        ValueError: `out` holds something else, or what reading and loading refuse.
        IncompleteStudy: a layer failed.
    """
    from analyses.outcomes.completions import Completions
    from analyses.runs import cells_of, replaceable, require_same, save_run
    from analyses.sources import load_contrast, read_grouped

    require_same(config.out, None)
    contrast, outcome = load_contrast(config.contrast, 0, 0), Completions.read(config.outcome)
    prompts = read_grouped(config.prompts)[0]
    from analyses.effects.per_prompt import prompt_states
    from analyses.evidence.lensing import accessibility_study, estimate
    from analyses.sweep.announce import run_announced

    model = ode.load_model(config.model)
    study = accessibility_study(model, contrast, outcome)
    require_same(config.out, study.digest)
    rows, _ = run_announced(study, cells_of(config.out), "local", estimate)
    layers = rows.drop(columns="cell")
    states = prompt_states(model, prompts, int(model.cfg.n_layers) // 2)
    settings = {**asdict(config), "out": str(config.out), "outcome": str(config.outcome)}
    run = {"settings": settings, "contrast": contrast.provenance, "model": asdict(ode.ModelIdentity.of(model)),
           "study": study.digest}  # fmt: skip
    replaceable(config.out, study.digest)
    save_run(config.out, {"lenses": layers, "states": states}, run)
    return layers, config.out


def main(config: LensesConfig) -> int:
    """Run, or what is left, save and print; 1 if a layer failed, 2 if something was refused."""
    return command(lambda: lenses(config))


if __name__ == "__main__":
    sys.exit(from_command_line(LensesConfig, main, __doc__))
