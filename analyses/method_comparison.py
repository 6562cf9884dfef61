"""Every method of the library on one model and concept, at equal angle, displacement and KL. `make compare`

A resumable sweep (analyses/effects): every prompt has its own strength, so that along its text it spends the same
whatever the method, one that acts on a few tokens included. The layer is declared, not chosen; the tests are declared
in analyses/effects/comparison.py.
`python -m analyses.method_comparison --contrast valence --layer 2 --out results/comparison`
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import tyro

import odesteer_tl as ode
from analyses.effects import Arm, EffectSettings, effect_study
from analyses.effects.comparison import ComparisonReport
from analyses.sweep import finish, print_report

#: the primary contrast's, on the same barrier as `optimal_cap`
PRIMARY_ARMS = (
    Arm("Euler-10", "odesteer_kernel", "euler", 10),
    Arm("one geodesic step", "odesteer_kernel", "geodesic", 1),
)
#: methods whose papers fit several layers one after the other
IN_TURN = ("linear_act", "mean_act", "pid")


@dataclass(frozen=True)
class ComparisonConfig:
    """Settings of the comparison.

    Args:
        layer: 0-based; left out, the middle one.
        methods: names in METHODS; left out, all.
        angle, displacement, kl: levels of each budget (radians; share of the norm; nats).
        executor: local, processes:N, dask://host:port, slurm or slurm:name=value,…
    """

    effect: tyro.conf.OmitArgPrefixes[EffectSettings] = field(
        default_factory=lambda: EffectSettings(select=0, test=200, passage="text")
    )
    layer: int | None = None
    methods: tuple[str, ...] = ()
    angle: tuple[float, ...] = (0.1, 0.3)
    displacement: tuple[float, ...] = (0.2,)
    kl: tuple[float, ...] = (0.01, 0.03, 0.1)
    executor: str = "local"
    out: Path = Path("results/comparison")


def method_comparison(config: ComparisonConfig) -> tuple[ComparisonReport, Path]:
    """Run the study, or what is left of it, and return its report and its folder, which holds `table.parquet`.

    Raises:
        ValueError: what `effect_study` refuses.
        IncompleteStudy: a cell failed; its traceback is in the folder.
    """
    layer = int(ode.load_model(config.effect.model).cfg.n_layers) // 2 if config.layer is None else config.layer
    names = config.methods or tuple(ode.METHODS)
    arms = [Arm.of(name) for name in names]
    arms += [*PRIMARY_ARMS, *(Arm.of(name, in_turn=True) for name in IN_TURN if name in names)]
    budgets = {name: getattr(config, name) for name in ("angle", "displacement", "kl") if getattr(config, name)}
    concept = Path(config.effect.contrast).stem
    study = effect_study(concept, config.effect, [layer], arms, budgets, group="label")
    directory = finish(study, config.out, config.executor)
    report = ComparisonReport.of(pd.read_parquet(directory / "table.parquet"), concept)
    report.save(directory / "report", {**study.settings, "layer": layer})
    return report, directory


def main(config: ComparisonConfig) -> int:
    """Run, write the report and print it; 1 if a cell failed."""
    return print_report(lambda: method_comparison(config))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(ComparisonConfig, description=__doc__)))
