"""Does steering lead to where positive activations live, or merely across a classifier's boundary and off the data?

Four disjoint splits by prompt: the methods and the barrier h are fitted on one, densities p₊ and p₋ on the second,
h and the densities are calibrated on the third, and negatives of the fourth, or prompts of your own, are steered. Their
paths are scored step by step, and so are the tokens of the texts behind them. Results go to one folder a layer: tidy
parquet tables, `run.json`, figures.
`python -m analyses.trajectory_likelihood --model organism --contrast valence --layer 2 3 --out results/likelihood`
`python -m analyses.trajectory_likelihood --model smollm2 --contrast pairs.jsonl --prompts own.txt --layer 15 --dry-run`
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from analyses import options
from analyses.command import command, from_command_line
from analyses.effects.grid import read_and_steered
from analyses.effects.plan import Given as Given
from analyses.likelihood.plan import Plan
from analyses.likelihood.study import Settings
from analyses.models import model_of
from analyses.runs import cells_of, require_same
from analyses.sources import CONCEPTS, read_prompts
from analyses.sweep import Study

if TYPE_CHECKING:  # what needs the model's libraries is imported once everything is checked
    from analyses.likelihood.running import Layers


@dataclass(frozen=True)
class LikelihoodConfig:
    """The command line; what is unfinished is kept beside `out`, and the same command goes on from there.

    Args:
        prompts: a .txt file with one a line, or a .csv or .jsonl file with a column `prompt`; or "openers", the
            package's; left out, the negative texts of the test split are steered.
        outcome: judge of the steered texts: vader, regex:PATTERN, FILE.py:FUNCTION and others, as the layer study
            takes them; left out, the embedded model's grammar where its own contrasts are steered, and else none.
    """

    model: options.Model = "organism"
    contrast: options.Contrast = "valence"
    layer: options.Layers = (2,)
    out: options.Out = Path("results/likelihood")
    pairs: options.Pairs = 2500
    prompts: str = ""
    outcome: str = ""
    executor: options.Executor = "local"
    threads: options.Threads = 1
    dry_run: options.DryRun = False
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)


def planned(config: LikelihoodConfig, given: Given | None = None) -> tuple[Plan, tuple[int, ...]]:
    """The plan and the layers, made without a model.

    Raises:
        ValueError: what is wrong, by argument, value and remedy.
    """
    given, s = given or Given(), config.settings
    contrast, layers = read_and_steered(config, given)
    prompts = given.prompts
    if prompts is None and config.prompts:
        prompts = read_prompts(config.prompts)
    judged = given.outcome or config.outcome or None
    if judged is None and given.contrast is None and config.contrast in CONCEPTS:
        judged = config.contrast
    if not isinstance(judged, str | None) and config.executor != "local":
        raise ValueError(
            f"executor={config.executor!r} cannot send an outcome that is an object; name FILE.py:FUNCTION"
        )
    return Plan.of(s, contrast, prompts, judged), layers


def study_of(config: LikelihoodConfig, given: Given | None = None) -> Study:
    """The study; its cells are the layers.

    Raises:
        ValueError: what `planned` refuses, or a layer's folder holds something else.
    """
    for layer in config.layer:
        require_same(config.out / f"layer-{layer}", None)
    plan, layers = planned(config, given)
    from analyses.likelihood.running import likelihood_study

    model, identity = model_of(config.model, None if given is None else given.model)
    study = likelihood_study(model, identity, plan, layers, config.threads)
    for layer in layers:
        require_same(config.out / f"layer-{layer}", study.digest)
    return study


def run_likelihood(config: LikelihoodConfig, given: Given | None = None) -> tuple[Layers, Path]:
    """Run every layer, or what is left of them, each into a folder of its own.

    Raises:
        ValueError: what `study_of` refuses.
        IncompleteStudy: a layer failed.
    """
    study = study_of(config, given)
    from analyses.likelihood.running import Layers, estimate
    from analyses.sweep.announce import run_announced

    rows, _ = run_announced(study, cells_of(config.out), config.executor, estimate)
    found = Layers.of(rows, study.digest)
    found.save(config.out)
    return found, config.out


def dry_run(config: LikelihoodConfig, given: Given | None = None) -> tuple[str, Path]:
    """What the study would cost, and where it would go.

    Raises:
        ValueError: what `study_of` refuses.
    """
    study = study_of(config, given)
    from analyses.likelihood.running import estimate
    from analyses.sweep.announce import announcement

    return announcement(study, cells_of(config.out), config.executor, estimate), config.out


def main(config: LikelihoodConfig) -> int:
    """Run, save, draw and print, or say what that costs; 1 if a layer failed, 2 if something was refused."""
    return command(lambda: dry_run(config) if config.dry_run else run_likelihood(config), config.dry_run)


if __name__ == "__main__":
    sys.exit(from_command_line(LikelihoodConfig, main, __doc__))
