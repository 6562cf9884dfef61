"""Which indicator would have picked the layer? Each one's regret on prompts that took no part in picking."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from analyses.effects.units import by_unit
from odesteer_tl import stats

#: columns of a layer study's rows, and whether more of each is meant to be better
INDICATORS = {"probe_auc": 1, "slack": 1, "curvature_angle": -1, "gain": 1, "efficiency": 1, "cosine_halves": 1,
              "norm_ratio": -1, "log_positive_change": 1}  # fmt: skip
#: rows of the readers' and the lenses' tables, likewise
READERS = {"log loss, kernel": -1, "LayerNavigator": 1, "LAP": 1}
#: how far the next token's branching factor is from the unsteered model's, as a ratio (arXiv 2602.01716); least is best
BRANCHING = "NBF"
BEST, RANDOM = "score on other prompts", "a layer at random"


def predictors(rows: pd.DataFrame, readers: pd.DataFrame, label: str, level: float) -> pd.DataFrame:
    """A row an indicator: the layer that it picks, and what that costs.

    Args:
        rows: of a layer study: `select` prompts are what indicators and the best layer are picked on.
        readers: of the same model and concept, a row a layer and what is read there; may be empty.
        label, level: the arm, and its KL.

    An indicator that is known at no layer is left out, and one that is not known at some layer does not pick it.

    Returns:
        `picked by`, `layer`, `regret` with `low` and `high` (nats of the score on the test prompts, by which the layer
        with the best score on the select prompts does better), `rank_correlation` with that score over the layers, `n`.
    """
    cell = rows.query("label == @label and level == @level")
    select, test = cell.query("split == 'select'"), cell.query("split == 'test'")
    on_select, score = (by_unit(of.pivot(index="prompt", columns="layer", values="score").astype(float), rows)
                        for of in (select, test))  # fmt: skip
    layers = [int(layer) for layer in score]
    by_layer: Any = select.groupby("layer")
    values = {BEST: on_select.mean().loc[layers].to_numpy(dtype=float)}
    values |= {name: sign * by_layer[name].median().loc[layers].to_numpy(dtype=float)
               for name, sign in INDICATORS.items() if name in cell}  # fmt: skip
    plain = rows.query("label == 'unsteered' and split == 'select'")
    if len(plain) and "branching" in plain:
        both: Any = select.merge(plain[["prompt", "branching"]], on="prompt", suffixes=("", "_before"))
        change = np.abs(np.log(both["branching"].astype(float) / both["branching_before"].astype(float)))
        values[BRANCHING] = -change.groupby(both["layer"]).median().loc[layers].to_numpy(dtype=float)
    for name, sign in READERS.items():
        said = readers.query("what == @name") if len(readers) else readers
        if len(said):
            values[name] = sign * said.set_index("layer").loc[layers, "value"].to_numpy(dtype=float)
    best = layers[int(values[BEST].argmax())]
    means = score.mean().to_numpy()
    picks = {name: layers[int(np.nanargmax(x))] for name, x in values.items() if np.isfinite(x).any()}
    found = [_row(name, layer, score[best], score[layer], _rank(values[name], means)) for name, layer in picks.items()]
    found.append(_row(RANDOM, None, score[best], score.mean(axis=1), None))
    return pd.DataFrame(found)


def _row(name: str, layer: int | None, best: Any, picked: Any, rank: float | None) -> dict[str, Any]:
    none = stats.Estimate(0.0, np.nan, np.nan, len(best))  # of the layer itself
    regret = asdict(none if best.equals(picked) else stats.paired_difference(best, picked))
    return {"picked by": name, "layer": layer, "regret": regret["value"], "low": regret["low"],
            "high": regret["high"], "rank_correlation": rank, "n": regret["n"]}  # fmt: skip


def _rank(values: Any, means: Any) -> float:
    known = np.isfinite(values)
    values, means = values[known], means[known]
    varies = len(set(values)) > 1 and len(set(means)) > 1
    return float(spearmanr(values, means).statistic) if varies else np.nan  # pyright: ignore[reportAttributeAccessIssue]
