"""Methods and barriers on pairs of Gaussians whose log-ratio is known."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int
from sklearn.metrics import roc_auc_score
from torch import Tensor
from tqdm.auto import tqdm

import odesteer_tl as ode
from analyses.effects import Arm
from analyses.effects.arms import KNOWN, ONE_STEP
from analyses.effects.matching import Scan
from analyses.effects.steer import angle_between
from analyses.intervals import with_intervals
from analyses.runs import refuse_existing, save_run
from analyses.synthetic_comparison import SyntheticConfig
from odesteer_tl.organism import SyntheticPair
from odesteer_tl.sites import BLOCK_OUTPUT

PAIRS = {"linear ratio": SyntheticPair.linear, "no linear part": SyntheticPair.quadratic}


#: barriers of growing stiffness, whose reading and steering are compared
GAMMAS, CS = (0.1, 1.0, 4.0), (1.0, 100.0, 10_000.0)


#: what is averaged over seeds, of methods and of barriers
STEERED, READ = ("success", "gain", "reached"), ("auc", "success", "gain")


def turned(
    field: ode.VectorField, arm: Arm, start: Float[Tensor, "n d"], config: SyntheticConfig
) -> tuple[Float[Tensor, "n d"], float]:
    """Where the arm leads when every row turns by the angle, and the share of rows that can."""

    def end(strength: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        return arm.flow(strength).solve(field, start).end

    def turned_by(budget: str, strength: Float[Tensor, " m"], rows: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
        return angle_between(start[rows], arm.flow(strength).solve(field, start[rows]).end)

    scan = Scan(turned_by, len(start), config.highest)
    matched = scan.match("angle", config.angle)
    return end(matched.strength).double(), float(matched.reached.double().mean())


def outcome(pair: SyntheticPair, start: Float[Tensor, "n d"], end: Float[Tensor, "n d"]) -> dict[str, float]:
    """Share of rows that end where p₊ > p₋, and the mean gain of the true log-ratio, nats."""
    after = pair.log_ratio(end)
    return {"success": float((after > 0).double().mean()), "gain": float((after - pair.log_ratio(start)).mean())}


def method_rows(config: SyntheticConfig) -> Iterator[dict[str, Any]]:
    """One row a pair × seed × method; a method that refuses the data (its message is printed) has none."""
    # (there is no model to train through)
    fitted = {name: method for name, method in ode.METHODS.items() if method.train is None}
    arms = [Arm.of(name) for name, method in fitted.items() if method.site == BLOCK_OUTPUT]
    for (name, make), seed in product(PAIRS.items(), range(config.seeds)):
        pair = make(config.d, seed=seed)
        fit, test = pair.sample(config.fit, 2 * seed), pair.sample(config.test, 2 * seed + 1)
        for arm in tqdm(arms, desc=f"{name}, seed {seed}", leave=False):
            try:
                field = ode.METHODS[arm.method].fit(*fit, seed)
            except ValueError as error:
                print(f"{name}, seed {seed}: {arm.label} cannot be fitted: {error}")
                continue
            end, reached = turned(field, arm, test[1], config)
            yield {"pair": name, "seed": seed, "method": arm.label, "reached": reached, **outcome(pair, test[1], end)}


def barrier_rows(config: SyntheticConfig) -> Iterator[dict[str, Any]]:
    """One row a pair × seed × barrier: how it reads held-out activations, and what one step along it does."""
    step = KNOWN[ONE_STEP]
    for (name, make), seed in product(PAIRS.items(), range(config.seeds)):
        pair = make(config.d, seed=seed)
        fit, test = pair.sample(config.fit, 2 * seed), pair.sample(config.test, 2 * seed + 1)
        labels = [1] * config.test + [0] * config.test
        for gamma, C in product(GAMMAS, CS):
            barrier = ode.KernelBarrier(gamma=gamma, C=C).fit(*fit)
            auc = roc_auc_score(labels, barrier.value(torch.cat(test).double()).numpy())
            end, _ = turned(ode.BarrierField(barrier), step, test[1], config)
            yield {"pair": name, "seed": seed, "gamma": gamma, "C": C, "auc": float(auc),
                   **outcome(pair, test[1], end)}  # fmt: skip


def over_seeds(rows: pd.DataFrame, keys: list[str], values: list[str]) -> pd.DataFrame:
    """Means over seeds, with their lowest and highest in columns `_low` and `_high`."""
    grouped: Any = rows.groupby(keys, sort=False)[values]
    return grouped.mean().join([grouped.min().add_suffix("_low"), grouped.max().add_suffix("_high")]).reset_index()


def for_reading(means: pd.DataFrame, keys: list[str], values: list[str]) -> str:
    """Means over seeds and their ranges, as Markdown."""
    shown = {value: with_intervals(means, value, ".2f") for value in values}
    return means[keys].assign(**shown).to_markdown(index=False)


def run(config: SyntheticConfig) -> None:
    """Run, write the rows and their means over seeds, and print the means.

    Raises:
        ValueError: `out` holds an earlier run.
    """
    refuse_existing(config.out)
    methods, barriers = pd.DataFrame(method_rows(config)), pd.DataFrame(barrier_rows(config))
    steered = over_seeds(methods, ["pair", "method"], [*STEERED]).sort_values("gain", ascending=False, kind="stable")
    read = over_seeds(barriers, ["pair", "gamma", "C"], [*READ])
    tables = {"methods": methods, "barriers": barriers, "methods_over_seeds": steered, "barriers_over_seeds": read}
    save_run(config.out, tables, {k: str(v) for k, v in vars(config).items()})
    for name in PAIRS:
        print(f"\n{name}: mean over {config.seeds} seeds [lowest, highest], {config.angle} rad\n")
        print(for_reading(steered.query("pair == @name"), ["method"], [*STEERED]))
        print(f"\n{name}: reading and steering of kernel barriers\n")
        print(for_reading(read.query("pair == @name"), ["gamma", "C"], [*READ]))
