"""What predicts where steering works: a layer picked by an indicator, and success predicted from texts' indicators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from odesteer_tl import stats
from odesteer_tl.indicators import STATISTICS

#: an indicator, and whether more of it is meant to be better
PICKS = {"probe_auc": 1, "slack": 1, "log_ratio_change": 1, "log_positive_change": 1, "nbf": -1, "gain": 1,
         "gain_all_positions": 1, "cosine_halves": 1}  # fmt: skip
SERIES = ("kl", "bf", "nbf")


def layer_picks(table: pd.DataFrame, label: str, budget: str, level: float) -> pd.DataFrame:
    """If the layer were picked by an indicator alone: which, what success it has on test, and what that costs.

    The indicator is averaged over the select prompts (medians), as is the success that picks "success on select".
    `regret` is the success on test of the layer that is best on select, minus that of the picked one, paired by prompt;
    `rank_correlation` is between the indicator and success on test over the layers: of so few layers it says little.
    """
    rows = table.query("label == @label and budget == @budget and level == @level").astype({"success": float})
    select, test = rows.query("split == 'select'"), rows.query("split == 'test'")
    success = test.pivot(index="prompt", columns="layer", values="success")
    layers = [int(layer) for layer in success]
    chosen: Any = select.groupby("layer")
    indicators = {"success on select": chosen["success"].mean().loc[layers].to_numpy()}
    indicators |= {name: sign * chosen[name].median().loc[layers].to_numpy() for name, sign in PICKS.items()
                   if name in rows}  # fmt: skip
    best = layers[int(indicators["success on select"].argmax())]
    found: list[dict[str, Any]] = []
    for name, values in indicators.items():
        picked = layers[int(values.argmax())]
        share = stats.share(success[picked])
        regret = stats.paired_difference(success[best], success[picked])
        correlation: Any = spearmanr(values, success.mean())
        found.append({"picked by": name, "layer": picked, "success": share.value, "low": share.low, "high": share.high,
                      "regret": regret.value, "regret_low": regret.low, "regret_high": regret.high, "n": share.n,
                      "rank_correlation": float(correlation.statistic)})  # fmt: skip
    return pd.DataFrame(found)


def success_from_texts(
    tables: Sequence[pd.DataFrame], budget: str, permutations: int = 100, seed: int = 0
) -> pd.DataFrame:
    """Success of a prompt predicted from the ten statistics of each indicator along its text, concepts held out whole.

    A random forest (arXiv 2602.01716) is fitted on the other concepts' prompts and scored on those of the held-out
    one; the baseline refits it on outcomes permuted within each cell, so that it may know which cells work best, but
    nothing of the prompt.

    Args:
        tables: one a concept, with a column `concept`.

    Returns:
        A row a held-out concept: `auc`, the mean and 97.5 % quantile of the permuted ones, and the share of
        permutations that do as well (its p value); `auc_within` is the mean AUC inside cells where both outcomes occur.
    """
    rows = pd.concat(tables, ignore_index=True).query("label != 'unsteered' and budget == @budget")
    features = [f"text_{name}_{statistic}" for name in SERIES for statistic in STATISTICS]
    cells = rows.groupby(["concept", "layer", "label", "level"], sort=False).ngroup().to_numpy()
    X, y, concept = rows[features].to_numpy(), rows["success"].to_numpy(dtype=bool), rows["concept"].to_numpy()
    rng = np.random.default_rng(seed)
    found: list[dict[str, Any]] = []
    for held_out in dict.fromkeys(concept):
        train, test = concept != held_out, concept == held_out

        def score(outcome: Any, train: Any = train, test: Any = test) -> Any:
            forest = RandomForestClassifier(100, min_samples_leaf=20, max_samples=0.3, random_state=seed, n_jobs=1)
            return forest.fit(X[train], outcome[train]).predict_proba(X[test])[:, 1]

        predicted = score(y)
        auc = float(roc_auc_score(y[test], predicted))
        null = [float(roc_auc_score(y[test], score(_permuted(y, cells, rng)))) for _ in range(permutations)]
        found.append({"held_out": held_out, "auc": auc, "auc_within": _within(y[test], predicted, cells[test]),
                      "permuted": float(np.mean(null)), "permuted_high": float(np.quantile(null, 0.975)),
                      "p": (1 + sum(x >= auc for x in null)) / (1 + permutations), "n": int(test.sum()),
                      "permutations": permutations})  # fmt: skip
    return pd.DataFrame(found)


def _permuted(y: Any, cells: Any, rng: np.random.Generator) -> Any:
    """The outcomes shuffled within each cell."""
    shuffled = np.lexsort((rng.random(len(y)), cells))
    original = np.argsort(cells, kind="stable")
    out = np.empty_like(y)
    out[original] = y[shuffled]
    return out


def _within(y: Any, predicted: Any, cells: Any) -> float:
    """Mean AUC over the cells that hold both outcomes."""
    groups = (cells == cell for cell in np.unique(cells))
    aucs = [roc_auc_score(y[rows], predicted[rows]) for rows in groups if y[rows].any() and not y[rows].all()]
    return float(np.mean(aucs)) if aucs else float("nan")
