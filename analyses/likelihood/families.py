"""Does the answer hang on the density? T* and exits of every arm under each family that p₊ could have been.

`python -m analyses.likelihood.families --contrast valence --layer 2 3 --out results/likelihood/valence/families.csv`
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import tyro

import odesteer_tl as ode
from analyses.likelihood.arms import ARMS, fitted_fields
from analyses.likelihood.referee import candidates
from analyses.likelihood.study import Settings
from analyses.likelihood.tables import mean, spread
from analyses.runs import refuse_existing
from analyses.sources import load_contrast, refuse_missing_layers
from odesteer_tl import stats
from odesteer_tl.certify import conformal_lower
from odesteer_tl.densities.path import EXIT_RANK


@dataclass(frozen=True)
class FamiliesConfig:
    """As the likelihood study's command line."""

    model: str = "organism"
    contrast: str = "valence"
    layer: tuple[int, ...] = (2,)
    out: Path = Path("results/likelihood/families.csv")
    pairs: int = 2500
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)


def families(parts: tuple[ode.ContrastSet, ...], model: Any, layer: int, s: Settings) -> list[dict[str, Any]]:
    """One row a family and arm.

    Returns:
        `held_out` (mean nats a dimension of the calibration split's positives), `t_star` (radians), and at the declared
        strength `change` (of log p₊, nats) and `outside` (share below 97.5 % of the calibration split's positives).
    """
    acts = [ode.collect_activations(model, part, [layer], batch_size=128)[layer] for part in parts]
    fields, a = fitted_fields(acts[0], s.seed), acts[3].negative
    points = {arm.label: arm.path(fields[arm.method], a, s.angle, s.steps) for arm in ARMS}
    rows: list[dict[str, Any]] = []
    for density in candidates(*acts[1].positive.shape):
        density.fit(acts[1].positive)
        held_out = density.log_prob(acts[2].positive)
        cut = conformal_lower(held_out.numpy(), EXIT_RANK)
        for method, path in points.items():
            curves = density.log_prob(path).mT.numpy()
            at = curves[:, s.step(s.declared)]
            peak = stats.peak(curves, [k * s.grid for k in range(s.steps + 1)])
            rows.append({"layer": layer, "family": density.name, "held_out": float(held_out.mean()) / density.d_model,
                         "method": method, **spread("t_star", peak), **spread("change", mean(at - curves[:, 0])),
                         **spread("outside", stats.share(at < cut)), "n": len(at)})  # fmt: skip
    return rows


def main(config: FamiliesConfig) -> None:
    """Write and print the table.

    Raises:
        ValueError: `out` exists, the model has no such layer, or cross_fit is asked for.
    """
    refuse_existing(config.out)
    refuse_missing_layers(config.layer, config.model)
    if config.settings.cross_fit:
        raise ValueError("cross_fit=True: families are compared on a calibration split of their own; give more pairs")
    model = ode.load_model(config.model)
    contrast = load_contrast(config.contrast, config.pairs, config.settings.seed)
    parts = contrast.split(config.settings.fractions, config.settings.seed)
    rows = [row for layer in config.layer for row in families(parts, model, layer, config.settings)]
    config.out.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(config.out, index=False)
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main(tyro.cli(FamiliesConfig, description=__doc__))
