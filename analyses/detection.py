"""Which score tells texts of a concept from others, on AxBench's detection task (Wu et al. 2025), and at which layer?

A text's score is the largest one of its tokens; its area under the ROC curve is over held-out texts of the concept and
others of the same model's writing. `hard` negatives are about something that shares words with the concept. Every
score is learned from the same texts: a barrier is no better informed than a mean, and what is trained through the model
(ReFT-r1) reads the texts of the concept again and again, but no others. A run that was cut short goes on where it was.
`python -m analyses.detection --data FOLDER --model smollm2 --layer 6 12 18 24 --out results/detection`
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from analyses.command import command, from_command_line
from analyses.models import refuse_missing_layers
from analyses.options import NATURAL, SOME, DryRun, Executor, Layers, Model, Out
from analyses.runs import cells_of, replaceable, require_same, save_run
from analyses.sweep import Study, require_executor
from odesteer_tl._words import require_one_of


@dataclass(frozen=True)
class DetectionConfig:
    """AxBench's detection task."""

    data: Annotated[tuple[Path, ...], arg(help="folders with train_data.parquet and latent_eval_data.parquet"), SOME]
    layers: Layers
    out: Out
    model: Model = "smollm2"
    concepts: Annotated[tuple[int, ...], arg(help="their numbers in each folder; left out, all"), NATURAL] = ()
    scores: Annotated[tuple[str, ...], arg(help="names of scores; left out, all")] = ()
    executor: Executor = "local"
    dry_run: DryRun = False


def study_of(config: DetectionConfig) -> Study:
    """The study, made without a model.

    Raises:
        ValueError: what is wrong, by argument, value and remedy.
    """
    refuse_missing_layers(config.layers, config.model)
    from analyses.reading.detecting import detection_study  # what needs the model's libraries
    from analyses.scores import SCORES

    for name in config.scores:
        require_one_of("scores", name, SCORES)
    return detection_study(config.model, config.data, config.layers, config.concepts, config.scores or tuple(SCORES))


def main(config: DetectionConfig) -> int:
    """Run or go on, save and print, or say what that costs."""

    def study() -> tuple[object, object]:
        require_executor(config.executor)
        require_same(config.out, None)
        planned = study_of(config)
        require_same(config.out, planned.digest)
        from analyses.reading.detecting import estimate
        from analyses.reading.detection import Detection
        from analyses.sweep.announce import announcement, run_announced

        if config.dry_run:
            return announcement(planned, cells_of(config.out), config.executor, estimate), config.out
        rows, _ = run_announced(planned, cells_of(config.out), config.executor, estimate)
        found = Detection(rows.drop(columns="cell"))
        replaceable(config.out, planned.digest)
        tables = {"concepts": found.concepts, "table": found.frame()}
        return found, save_run(config.out, tables, {"config": asdict(config), "study": planned.digest})

    return command(study, config.dry_run)


if __name__ == "__main__":
    sys.exit(from_command_line(DetectionConfig, main, __doc__))
