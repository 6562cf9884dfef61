"""Is the barrier property true of a learned h, for a method's realised paths, and how far can h itself be trusted?

`∇h·v > 0` says nothing of v = ∇h/‖∇h‖. What is proved here instead: h rises on the whole of every step; {h ≥ 0} and
{h ≥ h(a₀)} are not left; how much of what any steering of that angle could do was done; a radius of safety; what
other methods' directions do to the same h; and what h fitted on other data, later layers' own barriers and (on the
embedded model) the grammar itself say of it.
`python -m analyses.barrier_certification --model organism --contrast valence --layer all --method odesteer --out …`
`python -m analyses.barrier_certification --model smollm2 --contrast pairs.jsonl --prompts own.txt --layer 8 16`
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

import odesteer_tl as ode
from analyses.certification.plan import Plan
from analyses.certification.settings import CertificationSettings as CertificationSettings
from analyses.command import command, from_command_line
from analyses.effects.grid import read_and_steered
from analyses.effects.plan import Given as Given
from analyses.models import model_of, require_layers
from analyses.options import Contrast, DryRun, Executor, LayerNames, Model, Out, Pairs, Threads
from analyses.runs import cells_of, replaceable, require_same
from analyses.sources import CONCEPTS, own_or_held_out
from analyses.sweep import Study

if TYPE_CHECKING:  # what needs the model's libraries is imported once everything is checked
    from analyses.certification.result import BarrierCertification


@dataclass(frozen=True)
class CertificationConfig:
    """Command line of the study; what is unfinished is kept beside `out`, and the same command goes on from there.

    Args:
        prompts: a .txt file with one a line, or a .csv or .jsonl file with a column `prompt`; or "openers", the
            package's; or so many of those that go with the contrast (its held-out negatives, where it is a file).
    """

    model: Model = "organism"
    contrast: Contrast = "valence"
    layer: LayerNames = "all"
    out: Out = Path("results/certification")
    pairs: Pairs = 1000
    prompts: str = "200"
    executor: Executor = "local"
    threads: Threads = 1
    dry_run: DryRun = False
    settings: tyro.conf.OmitArgPrefixes[CertificationSettings] = field(default_factory=CertificationSettings)


def planned(config: CertificationConfig, given: Given | None = None) -> tuple[Plan, tuple[int, ...]]:
    """The plan and the layers, made without a model; no layers where only the loaded model knows how many it has.

    Raises:
        ValueError: what is wrong, by argument, value and remedy.
    """
    given, s = given or Given(), config.settings
    contrast, layers = read_and_steered(config, given)
    named = config.contrast if given.contrast is None else "given.jsonl"
    prompts = list(given.prompts) if given.prompts is not None else None
    if prompts is None:
        held_out = None
        if not s.cross_fit:
            held_out = Plan.of(s, contrast).parts["test"]
        prompts = own_or_held_out(config.prompts, named, s.seed + 1, held_out)
    return Plan.of(s, contrast, prompts, named if named in CONCEPTS else None), layers


def study_of(config: CertificationConfig, given: Given | None = None) -> Study:
    """The study; its cells are the layers.

    Raises:
        ValueError: what `planned` refuses.
    """
    plan, layers = planned(config, given)
    from analyses.certification.study import certification_study

    model, identity = model_of(config.model, None if given is None else given.model)
    if not layers:
        loaded = ode.load_model(model) if isinstance(model, str) else model
        layers = require_layers(config.layer, int(loaded.cfg.n_layers), config.model)
        model = loaded if config.executor == "local" else model
    return certification_study(model, identity, plan, layers, config.threads)


def run_certification(config: CertificationConfig, given: Given | None = None) -> tuple[BarrierCertification, Path]:
    """Run the study, or what is left of it, write its tables and figure to `out`.

    Raises:
        ValueError: what `planned` refuses, or `out` holds something else.
        IncompleteStudy: a layer failed.
    """
    require_same(config.out, None)
    study = study_of(config, given)
    require_same(config.out, study.digest)
    from analyses.certification.study import assembled, estimate
    from analyses.sweep.announce import run_announced
    from figures.certification import draw_certification  # only the picture needs matplotlib

    rows, _ = run_announced(study, cells_of(config.out), config.executor, estimate)
    found = assembled(rows)
    found.run["study"] = study.digest
    replaceable(config.out, study.digest)
    found.save(config.out)
    if len(found.strengths):  # some layer's h reads something
        draw_certification(found.strengths, source=found.warning()).save(config.out)
    return found, config.out


def dry_run(config: CertificationConfig, given: Given | None = None) -> tuple[str, Path]:
    """What the study would cost, and where it would go.

    Raises:
        ValueError: what `planned` refuses.
    """
    study = study_of(config, given)
    from analyses.certification.study import estimate
    from analyses.sweep.announce import announcement

    return announcement(study, cells_of(config.out), config.executor, estimate), config.out


def main(config: CertificationConfig) -> int:
    """Run, save, draw and print, or say what that costs; 1 if a layer failed, 2 if something was refused."""
    return command(lambda: dry_run(config) if config.dry_run else run_certification(config), config.dry_run)


if __name__ == "__main__":
    sys.exit(from_command_line(CertificationConfig, main, __doc__))
