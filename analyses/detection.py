"""Which score tells texts of a concept from others, on AxBench's detection task (Wu et al. 2025), and at which layer?

A text's score is the largest one of its tokens; its area under the ROC curve is over held-out texts of the concept and
others of the same model's writing. `hard` negatives are about something that shares words with the concept. Every
score is learned from the same texts: a barrier is no better informed than a mean, and what is trained through the model
(ReFT-r1) reads the texts of the concept again and again, but no others.
`python -m analyses.detection --data FOLDER --model smollm2 --layer 6 12 18 24 --out results/detection`
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

import odesteer_tl as ode
from analyses.command import command, from_command_line
from analyses.options import Layers, Model, Out
from analyses.runs import refuse_existing, save_run
from analyses.sources import refuse_missing_layers
from odesteer_tl._words import require_one_of


@dataclass(frozen=True)
class DetectionConfig:
    """AxBench's detection task."""

    data: Annotated[tuple[Path, ...], arg(help="folders with train_data.parquet and latent_eval_data.parquet")]
    layers: Layers
    out: Out
    model: Model = "smollm2"
    concepts: Annotated[tuple[int, ...], arg(help="their numbers in each folder; left out, all")] = ()
    scores: Annotated[tuple[str, ...], arg(help="names of scores; left out, all")] = ()


def main(config: DetectionConfig) -> int:
    """Run, save and print."""

    def study() -> tuple[object, object]:
        refuse_existing(config.out)
        refuse_missing_layers(config.layers, config.model)
        from analyses.reading.detection import detect, numbers_of  # what needs the model's libraries
        from analyses.scores import SCORES

        for folder in config.data:
            numbers_of(folder, config.concepts)
        for name in config.scores:
            require_one_of("scores", name, SCORES)
        scores = {name: SCORES[name] for name in config.scores or SCORES}
        found = detect(ode.load_model(config.model), config.data, config.layers, config.concepts, scores)
        tables = {"concepts": found.concepts, "table": found.frame()}
        return found, save_run(config.out, tables, {"config": asdict(config)})

    return command(study)


if __name__ == "__main__":
    sys.exit(from_command_line(DetectionConfig, main, __doc__))
