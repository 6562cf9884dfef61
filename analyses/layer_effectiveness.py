"""Which layer, how strong, and does it really work there? Every arm at every layer, at equal angle and equal KL.

A resumable sweep: one cell an arm × layer × budget × level, one tidy row a prompt. Layer and strength are chosen on
some prompts and reported on others.
`python -m analyses.layer_effectiveness --contrast valence --out results/layers`
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import tyro

import odesteer_tl as ode
from analyses.effects import LAYER_ARMS, EffectSettings, effect_study
from analyses.effects.report import LayerReport
from analyses.sweep import finish, print_report


@dataclass(frozen=True)
class LayersConfig:
    """Settings of the layer study.

    Args:
        layers: 0-based; left out, all of them.
        angle: levels of the angle turned, radians. kl: of the next token's KL to unsteered, nats.
        executor: local, processes:N, dask://host:port, slurm or slurm:name=value,…
    """

    effect: tyro.conf.OmitArgPrefixes[EffectSettings] = field(default_factory=EffectSettings)
    layers: tuple[int, ...] = ()
    angle: tuple[float, ...] = (0.1, 0.2, 0.4)
    kl: tuple[float, ...] = (0.01, 0.03, 0.1)
    executor: str = "local"
    out: Path = Path("results/layers")


def layer_effectiveness(config: LayersConfig) -> tuple[LayerReport, Path]:
    """Run the study, or what is left of it, and return its report and its folder, which holds `table.parquet`.

    Raises:
        ValueError: what `effect_study` refuses.
        IncompleteStudy: a cell failed; its traceback is in the folder.
    """
    layers = config.layers or tuple(range(int(ode.load_model(config.effect.model).cfg.n_layers)))
    budgets = {name: x for name, x in (("angle", config.angle), ("kl", config.kl)) if x}
    name = Path(config.effect.contrast).stem
    study = effect_study(name, config.effect, layers, LAYER_ARMS, budgets)
    directory = finish(study, config.out, config.executor)
    table = pd.read_parquet(directory / "table.parquet")
    report = LayerReport.of(table, Path(config.effect.contrast).stem)
    report.save(directory / "report", {**study.settings, "layers": list(layers), "rows": len(table)})
    return report, directory


def main(config: LayersConfig) -> int:
    """Run, write the report and print it; 1 if a cell failed."""
    return print_report(lambda: layer_effectiveness(config))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(LayersConfig, description=__doc__)))
