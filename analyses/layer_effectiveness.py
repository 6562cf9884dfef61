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
from analyses.sweep import Store, run


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


def layer_effectiveness(config: LayersConfig) -> tuple[pd.DataFrame, Path]:
    """Run the study, or what is left of it, and return its table and folder.

    Raises:
        ValueError: no such layer, or what `effect_study` refuses.
    """
    layers = config.layers or tuple(range(int(ode.load_model(config.effect.model).cfg.n_layers)))
    budgets = {name: x for name, x in (("angle", config.angle), ("kl", config.kl)) if x}
    name = Path(config.effect.contrast).stem
    study = effect_study(name, config.effect, layers, LAYER_ARMS, budgets)
    status = run(study, config.out, config.executor)
    store = Store.of(study, config.out)
    if not status.complete:
        print(f"{status}; run again, or see `python -m analyses.sweep status {store.directory}`", file=sys.stderr)
    return pd.read_parquet(store.directory / "table.parquet"), store.directory


def main(config: LayersConfig) -> int:
    """Run and print the tables; 1 if a cell failed."""
    table, folder = layer_effectiveness(config)
    print(f"{len(table)} rows in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(LayersConfig, description=__doc__)))
