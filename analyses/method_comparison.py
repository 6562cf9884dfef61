"""Every method of the library on one model and concept, at equal angle, displacement and KL. `make compare`

A resumable sweep (analyses/effects): every prompt has its own strength, so that along its text it spends the same
whatever the method, one that acts on a few tokens included. The layer is declared, not chosen; the tests are declared
in analyses/effects/comparison.py.
`python -m analyses.method_comparison --contrast valence --layer 2 --out results/comparison`
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import tyro

import odesteer_tl as ode
from analyses.command import command, from_command_line
from analyses.effects.arms import compared_arms
from analyses.effects.grid import layers_meant, levels_meant, require_study
from analyses.effects.plan import Given
from analyses.effects.settings import EffectSettings
from analyses.models import layers_of
from analyses.options import NAMED, POSITIVE, Angles, AnyExecutor, DryRun, OneLayer, Out
from analyses.sweep import Study

if TYPE_CHECKING:  # what needs the model's libraries is imported once everything is checked
    from analyses.effects.comparison import ComparisonReport
    from analyses.effects.running import Finished


#: levels where none is asked for
USUAL = {"angle": (0.1, 0.3), "displacement": (0.2,), "kl": (0.01, 0.03, 0.1)}


@dataclass(frozen=True)
class ComparisonConfig:
    """Settings of the comparison.

    Args:
        methods: names in METHODS, or the layer study's own ways to steer; left out, all methods. The placebo and
            the unsteered model are always there.
        displacement: levels of the distance moved, as a share of the norm.
        kl: levels of the next token's KL to unsteered, nats. Of angle, displacement and kl, what is left out is not
            asked; without all three, angles of 0.1, 0.3, a displacement of 0.2 and levels of 0.01, 0.03, 0.1 are.
        between: pairs of methods, named before looking, whose scores are tested against each other, one pair after the
            other; "trained" and "fitted" are the mean of all that are.
    """

    effect: tyro.conf.OmitArgPrefixes[EffectSettings] = field(
        default_factory=lambda: EffectSettings(select=0, test=200, passage="text")
    )
    layer: OneLayer = None
    methods: Annotated[tuple[str, ...], NAMED] = ()
    angle: Angles = ()
    displacement: Annotated[tuple[float, ...], POSITIVE] = ()
    kl: Annotated[tuple[float, ...], POSITIVE] = ()
    executor: AnyExecutor = "local"
    out: Out = Path("results/comparison")
    dry_run: DryRun = False
    between: Annotated[tuple[tuple[str, str], ...], NAMED] = ()


def check(config: ComparisonConfig, given: Given | None = None) -> dict[str, tuple[float, ...]]:
    """The budgets that have levels; before the model's libraries are imported, refuse what cannot be done.

    Raises:
        ValueError: what is wrong, by argument, value and remedy.
    """
    if config.methods or config.between:  # all there are need their modules to be named
        labels = {arm.label for arm in compared_arms(config.methods)} | {"unsteered", "trained", "fitted"}
        if wrong := [name for pair in config.between for name in pair if name not in labels]:
            raise ValueError(f"between={wrong} are not compared here; choose from {', '.join(sorted(labels))}")
        if alike := [first for first, second in config.between if first == second]:
            raise ValueError(f"between={alike} against itself; name two that differ")
    levels = levels_meant({name: getattr(config, name) for name in USUAL}, USUAL)
    layers = () if config.layer is None else (config.layer,)
    return require_study(config.effect, config.executor, layers, levels, given)


def comparison_study(config: ComparisonConfig, given: Given | None = None) -> tuple[Study, int]:
    """The study and its layer.

    Raises:
        ValueError: what `check` refuses.
    """
    budgets = check(config, given)
    from analyses.effects.study import effect_study

    model = None if given is None else given.model
    if model is None and config.layer is None and layers_of(config.effect.model) is None:
        model = ode.load_model(config.effect.model)
    n = layers_of(config.effect.model) if model is None else int(model.cfg.n_layers)
    layer = (n or 0) // 2 if config.layer is None else layers_meant(config.effect, [config.layer], given)[0]
    name, arms = Path(config.effect.contrast).stem, compared_arms(config.methods)
    return effect_study(name, config.effect, [layer], arms, budgets, group="label", given=given), layer


def run_comparison(config: ComparisonConfig, given: Given | None = None) -> Finished:
    """Run the study, or what is left of it, and write its report.

    Args:
        given: model, contrast, prompts or outcome as objects, in the place of what the settings name.

    Raises:
        ValueError: what `check` refuses.
        IncompleteStudy: a cell failed; its traceback is in the folder.
    """
    study, layer = comparison_study(config, given)
    from analyses.effects.comparison import ComparisonReport
    from analyses.effects.running import report_study

    of = partial(ComparisonReport.of, between=config.between)
    said: dict[str, Any] = {"layer": layer, "between": config.between}
    if config.effect.concept:
        said["concept"] = config.effect.concept
    return report_study(study, config.out, config.executor, of, said)


def method_comparison(config: ComparisonConfig, given: Given | None = None) -> tuple[ComparisonReport, Path]:
    """`run_comparison`: its report and its folder, which holds `table.parquet`."""
    finished = run_comparison(config, given)
    return cast("ComparisonReport", finished.report), finished.directory


def dry_run(config: ComparisonConfig, given: Given | None = None) -> tuple[str, Path]:
    """What the study would cost, and where it would go.

    Raises:
        ValueError: what `check` refuses.
    """
    study, _ = comparison_study(config, given)
    from analyses.effects.running import said_of

    return said_of(study, config.out, config.executor)


def main(config: ComparisonConfig) -> int:
    """Run, write the report and print it, or say what that costs; 1 if a cell failed, 2 if something was refused."""
    return command(lambda: dry_run(config) if config.dry_run else method_comparison(config), config.dry_run)


if __name__ == "__main__":
    sys.exit(from_command_line(ComparisonConfig, main, __doc__))
