"""The declared comparisons of the layer studies: of one prompt with itself under two ways to steer, at equal KL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import sem, t

from analyses.effects import tables
from analyses.effects.arms import ONE_STEP, PLACEBO
from analyses.effects.tables import UNSTEERED
from analyses.evidence.plan import NATS
from odesteer_tl import stats

#: first against second: the primary comparison, and the secondary ones
PAIRS = (
    ("odesteer_kernel", ONE_STEP),
    ("odesteer_kernel", "odesteer"),
    ("odesteer_kernel", "caa"),
    ("odesteer_kernel", PLACEBO),
)
CELL = ["layer", "label", "level"]
KEY = ["model", "concept"]
PROFILE = ("score", "change", "low", "high", "success", "success_low", "success_high", "angle", "reached", "n")
DRAWS = 4000


def profile(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a layer, arm and level of a study's test prompts: the score's change from unsteered, and success.

    Returns:
        `model`, `concept`, `CELL`, `change` with `low` and `high`, `success` with `success_low` and `success_high`,
        `angle` (median, radians), `reached` (share that spent the KL), `n`; unsteered first, with a change of 0.
    """
    found = tables.profile(rows).merge(tables.changes(rows).drop(columns="n"), on=tables.CELL, how="left")
    # of the unsteered model itself, of which this is the change, it is 0 by definition
    found.loc[found["label"] == UNSTEERED, "change"] = 0.0
    own = {name: rows[name].iloc[0] for name in KEY}
    return found.assign(**own).reindex(columns=[*KEY, *CELL, *PROFILE])


def by_cell(rows: pd.DataFrame, margin: float = NATS) -> pd.DataFrame:
    """A row a pair of arms, layer and level: mean difference of the score, nats, and whether it is equivalent."""
    groups: Any = _wide(rows).groupby(["layer", "level"])
    found: list[dict[str, Any]] = []
    for (layer, level), cell in groups:
        for first, second in PAIRS:
            if {first, second} <= set(cell):
                tested = stats.equivalence(cell[first], cell[second], margin)
                apart = stats.paired_difference(cell[first], cell[second])
                found.append({**{name: rows[name].iloc[0] for name in KEY}, "layer": layer, "level": level,
                              "first": first, "second": second, "difference": apart.value, "low": apart.low,
                              "high": apart.high, "equivalent": tested.equivalent, "n": apart.n})  # fmt: skip
    return pd.DataFrame(found)


def pooled(studies: Sequence[pd.DataFrame], margin: float = NATS, seed: int = 0) -> pd.DataFrame:
    """A row a pair of arms and level over all studies: a prompt's mean difference over layers, then over prompts and
    concepts; prompts that are judged by the same texts are one.

    Intervals are of a bootstrap that draws studies (a model and concept) first and prompts within each; it takes the
    studies for a sample of what might be asked, and of few studies it is narrow (`over_concepts` is not). `concepts`
    says of how many.
    """
    wides = [_wide(rows) for rows in studies]
    random = np.random.default_rng(seed)
    found: list[dict[str, Any]] = []
    for level in sorted({level for wide in wides for level in wide["level"]}):
        for first, second in PAIRS:
            units = [
                _differences(wide[wide["level"] == level], first, second)
                for wide in wides
                if {first, second} <= {*wide}
            ]
            if units:
                low, high, low90, high90 = np.quantile(_drawn(units, random), (0.025, 0.975, 0.05, 0.95))
                value = float(np.mean([unit.mean() for unit in units]))
                found.append({"level": level, "first": first, "second": second, "difference": value, "low": low,
                              "high": high, "equivalent": max(-low90, high90) < margin, "concepts": len(units),
                              "n": sum(map(len, units))})  # fmt: skip
    return pd.DataFrame(found)


def over_concepts(profiles: pd.DataFrame, margin: float = NATS) -> pd.DataFrame:
    """The same by a t interval of the means of concepts, which of so few holds what the bootstrap of `pooled` does not.

    Args:
        profiles: what `profile` says of every model and concept, one below the other: no prompt is needed.
        margin: nats; equivalent where the 90 % interval is within it.

    Returns:
        A row a pair of arms, level and unit: "concept" (the mean over its models, which have the same texts) and "model
        and concept"; `difference` with `low` and `high` (95 %), `low_90` and `high_90`, `equivalent`, `n` units.
    """
    steered = profiles.loc[profiles["label"] != UNSTEERED]
    wide: Any = steered.pivot(index=[*KEY, "layer", "level"], columns="label", values="change")
    found: list[dict[str, Any]] = []
    for level, at in wide.groupby("level"):
        for first, second in PAIRS:
            if {first, second} <= set(at):
                apart: Any = (at[first] - at[second]).dropna().groupby(KEY).mean()
                for unit, means in (("concept", apart.groupby("concept").mean()), ("model and concept", apart)):
                    own = mean_of_few(means)
                    equivalent = max(-own["low_90"], own["high_90"]) < margin
                    found.append({"level": level, "first": first, "second": second, "unit": unit,
                                  "difference": own.pop("value"), **own, "equivalent": equivalent,
                                  "n": len(means)})  # fmt: skip
    return pd.DataFrame(found)


def mean_of_few(values: Any) -> dict[str, float]:
    """A mean with Student's t interval, of 95 and of 90 %; infinite of a single value."""
    x = np.asarray(values, dtype=float)
    mean, error = x.mean(), sem(x) if len(x) > 1 else np.inf
    found = {"value": float(mean)}
    for level, ending in ((0.95, ""), (0.9, "_90")):
        half = t.ppf((1 + level) / 2, max(len(x) - 1, 1)) * error
        found |= {f"low{ending}": float(mean - half), f"high{ending}": float(mean + half)}
    return found


def _drawn(units: Sequence[Float[np.ndarray, " units"]], random: np.random.Generator) -> Float[np.ndarray, " draws"]:
    """Means over studies drawn with repetition, and over prompts drawn within each."""
    means = np.stack([unit[random.integers(len(unit), size=(DRAWS, len(unit)))].mean(1) for unit in units], 1)
    return np.take_along_axis(means, random.integers(len(units), size=means.shape), 1).mean(1)


def _differences(wide: Any, first: str, second: str) -> Float[np.ndarray, " units"]:
    """Each unit's difference, averaged over layers."""
    apart: Any = wide[first] - wide[second]
    return apart.groupby(wide["unit"]).mean().to_numpy(dtype=float)


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a layer, level and independent unit of test prompts, a column an arm: scores, the means of the prompts'."""
    steered = rows.query("split == 'test' and label != @UNSTEERED")
    steered = steered.assign(unit=steered["unit"] if "unit" in steered else steered["prompt"])
    at = ["layer", "level", "unit"]
    wide: Any = steered.pivot(index=[*at, "prompt"], columns="label", values="score").astype(float)
    return wide.groupby(at).mean().rename_axis(columns=None).reset_index()
