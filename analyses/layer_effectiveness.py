"""Which layer, how strong, and does it really work there? Every arm at every layer, at equal angle and equal KL.

A resumable sweep: one cell an arm × layer × budget × level, one tidy row a prompt. Layer and strength are chosen on
some prompts and reported on others. All arguments and files are checked, and the judge is tried on a text, before a
model is loaded; `--dry-run` says what the study would cost.
`python -m analyses.layer_effectiveness --contrast valence --out results/layers`
`python -m analyses.layer_effectiveness --model DIR --contrast pairs.jsonl --prompts own.txt --outcome words.json`
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

import odesteer_tl as ode
from analyses.command import command
from analyses.effects.plan import Given, Plan, require_grid
from analyses.effects.settings import EffectSettings
from analyses.sources import layers_of
from analyses.sweep import Store, finish, require_executor

if TYPE_CHECKING:  # what needs the model's libraries is imported once everything is checked
    from analyses.effects.report import LayerReport


@dataclass(frozen=True)
class LayersConfig:
    """Settings of the layer study.

    Args:
        layers: 0-based; left out, all of them.
        arms: labels of the study's own arms ("CAA", "flow", …) or names of methods; left out, all of the study's own.
            The placebo and the unsteered model are always there.
        angle: levels of the angle turned, radians. kl: of the next token's KL to unsteered, nats.
        executor: local, processes:N, dask://host:port, slurm or slurm:name=value,…
        dry_run: say what would be done and about how long it takes here, and do nothing.
    """

    effect: tyro.conf.OmitArgPrefixes[EffectSettings] = field(default_factory=EffectSettings)
    layers: tuple[int, ...] = ()
    arms: tuple[str, ...] = ()
    angle: tuple[float, ...] = (0.1, 0.2, 0.4)
    kl: tuple[float, ...] = (0.01, 0.03, 0.1)
    executor: str = "local"
    out: Path = Path("results/layers")
    dry_run: bool = False


def check(config: LayersConfig, given: Given | None = None) -> None:
    """Refuse what cannot be done, without a model.

    Raises:
        ValueError: what is wrong, by argument, value and remedy.
    """
    require_executor(config.executor)
    require_grid(config.effect, config.layers, {"angle": config.angle, "kl": config.kl})
    Plan.of(config.effect, given)


def layer_effectiveness(config: LayersConfig, given: Given | None = None) -> tuple[LayerReport, Path]:
    """Run the study, or what is left of it, and return its report and its folder, which holds `table.parquet`.

    Args:
        given: contrast, prompts or outcome as objects, in the place of what the settings name.

    Raises:
        ValueError: what `check` refuses, or an arm that is none.
        IncompleteStudy: a cell failed; its traceback is in the folder.
    """
    check(config, given)
    from analyses.effects.arms import chosen_arms
    from analyses.effects.report import LayerReport
    from analyses.effects.study import effect_study

    arms = chosen_arms(config.arms)
    n = layers_of(config.effect.model) or int(ode.load_model(config.effect.model).cfg.n_layers)
    layers, name = config.layers or tuple(range(n)), Path(config.effect.contrast).stem
    study = effect_study(name, config.effect, layers, arms, {"angle": config.angle, "kl": config.kl}, given=given)
    directory = finish(study, config.out, config.executor)
    table = Store(directory).table(study)
    report = LayerReport.of(table, name)
    report.save(directory / "report", {**study.settings, "layers": list(layers), "rows": len(table)})
    return report, directory


def main(config: LayersConfig) -> int:
    """Run, write the report and print it; 1 if a cell failed, 2 if something was refused."""
    return command(lambda: layer_effectiveness(config))


if __name__ == "__main__":
    sys.exit(command(lambda: layer_effectiveness(tyro.cli(LayersConfig, description=__doc__))))
