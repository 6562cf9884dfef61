"""Does what we report hold as often as it says? Every interval, band and test, on simulated units of a known truth.

At each number of prompts, for 0 and 1, for continuous numbers and for prompts that repeat (5 rows each): how often an
interval or band holds the truth, and how often a test does not reject what is true, beside the nominal share.
`python -m analyses.coverage --simulations 1000`
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tyro
from tqdm.auto import tqdm

from analyses.inference.claims import LEVEL, Claim, claims
from odesteer_tl import stats


@dataclass(frozen=True)
class CoverageConfig:
    """Settings of the simulation."""

    simulations: int = 1000
    prompts: tuple[int, ...] = (10, 20, 50, 200)
    resamples: int = 1000
    """of every bootstrap"""
    only: str = ""
    """a regular expression found in the names of what is simulated"""
    seed: int = 0


def attained(claim: Claim, n: int, config: CoverageConfig) -> stats.Estimate:
    """How often it holds, with the exact interval of that share."""
    rng = np.random.default_rng([config.seed, n])
    return stats.share([claim.holds(rng, n, i) for i in range(config.simulations)])


def simulate(config: CoverageConfig) -> pd.DataFrame:
    """A row a claim and number of prompts.

    Returns:
        `nominal`, `attained` with its exact 95 % interval `low` to `high`, and whether the claim is `exact`: those may
        not lie below nominal at any n, the others approach it.
    """
    chosen = [c for c in claims(config.resamples) if re.search(config.only, f"{c.name}, {c.data}")]
    rows: list[dict[str, object]] = []
    for claim in tqdm(chosen, desc="claims", leave=False):
        for n in config.prompts:
            found = attained(claim, n, config)
            rows.append({"claim": claim.name, "data": claim.data, "exact": claim.exact, "n": n, "nominal": LEVEL,
                         "attained": found.value, "low": found.low, "high": found.high})  # fmt: skip
    return pd.DataFrame(rows)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """A row a claim, a column a number of prompts."""
    keys = ["claim", "data", "exact", "nominal"]
    return table.pivot_table(index=keys, columns="n", values="attained", sort=False).reset_index()


if __name__ == "__main__":
    found = simulate(tyro.cli(CoverageConfig, description=__doc__))
    print(shown(found).to_string(index=False, float_format="%.3f"))
