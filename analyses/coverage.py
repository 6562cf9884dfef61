"""Do our bands and intervals cover? Simulated curves with a known mean, as many as asked.

Simultaneous bands of the mean curve and the bootstrap interval of its peak, at a nominal 95 %, on skewed, correlated,
heteroscedastic curves; the share that covers stands beside its exact binomial interval.
`python -m analyses.coverage --simulations 1000`
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import tyro
from numpy.typing import NDArray
from tqdm.auto import tqdm

from odesteer_tl import stats


@dataclass(frozen=True)
class CoverageConfig:
    """Settings of the simulation."""

    simulations: int = 1000
    prompts: tuple[int, ...] = (50, 100, 300)
    steps: int = 11
    resamples: int = 1000
    level: float = 0.95
    seed: int = 0


def curves(n: int, steps: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Curves about the parabola −(t − T*)²/10, T* in the middle: skewed random walks, levels and noise of their own."""
    walk = np.cumsum(rng.exponential(size=(n, steps)) - 1, axis=1)
    return mean_curve(steps) + 0.3 * walk + rng.normal(size=(n, 1)) + 0.2 * rng.normal(size=(n, steps))


def mean_curve(steps: int) -> NDArray[np.float64]:
    """The true mean."""
    return -((np.arange(steps) - (steps - 1) / 2) ** 2) / 10


def covered(n: int, config: CoverageConfig, seed: int) -> dict[str, bool]:
    """One simulation: which of the intervals hold the truth."""
    x = curves(n, config.steps, np.random.default_rng([config.seed, n, seed]))
    truth = mean_curve(config.steps)
    band = stats.mean_band(x, config.level, config.resamples, seed)
    summit = stats.peak(x, range(config.steps), config.level, config.resamples, seed)
    return {
        "simultaneous band": bool(((band.low <= truth) & (truth <= band.high)).all()),
        "peak interval": summit.low <= (config.steps - 1) / 2 <= summit.high,
    }


def simulate(config: CoverageConfig) -> pd.DataFrame:
    """Coverage of each interval for each number of prompts."""
    rows: list[dict[str, object]] = []
    for n in config.prompts:
        runs = [covered(n, config, i) for i in tqdm(range(config.simulations), desc=f"{n} prompts", leave=False)]
        for name in runs[0]:
            found = stats.share([run[name] for run in runs])
            row = {"interval": name, "prompts": n, "simulations": found.n, "nominal": config.level}
            rows.append({**row, "coverage": found.value, "low": found.low, "high": found.high})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    print(simulate(tyro.cli(CoverageConfig, description=__doc__)).round(4).to_string(index=False))
