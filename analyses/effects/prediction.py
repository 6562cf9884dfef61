"""What predicts where steering works: a layer picked by an indicator, and success predicted from texts' indicators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
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
        if not np.isfinite(values).any():
            continue
        # a layer at which it is not known is not picked
        picked = layers[int(np.nanargmax(values))]
        share = stats.share(success[picked])
        regret = stats.paired_difference(success[best], success[picked])
        # where no layer differs from another, nothing can go with anything
        known = np.isfinite(values)
        reached = success.mean().to_numpy()[known]
        varies = len(set(values[known])) > 1 and len(set(reached)) > 1
        correlation = float(spearmanr(values[known], reached).statistic) if varies else np.nan  # pyright: ignore[reportAttributeAccessIssue]
        found.append({"picked by": name, "layer": picked, "success": share.value, "low": share.low, "high": share.high,
                      "regret": regret.value, "regret_low": regret.low, "regret_high": regret.high, "n": share.n,
                      "rank_correlation": correlation})  # fmt: skip
    return pd.DataFrame(found)


def success_from_texts(
    tables: Sequence[pd.DataFrame], budget: str, permutations: int = 100, seed: int = 0
) -> pd.DataFrame:
    """Success of a prompt predicted from the ten statistics of each indicator along its text, concepts held out whole.

    A random forest (arXiv 2602.01716) is fitted on the other concepts' prompts and scored on those of the held-out
    one; the baseline refits it on outcomes that prompts of one concept exchange, all cells of a prompt together, so
    that it may know which cells work best, but nothing of the prompt. (Exchanged cell by cell, what all texts of a
    prompt have in common would count as found.)

    Args:
        tables: one a concept, with a column `concept`.

    Returns:
        A row a held-out concept: `auc`, the mean and 97.5 % quantile of the permuted ones, and the share of
        permutations that do as well (its p value); `auc_within` is the mean AUC inside cells where both outcomes occur.
    """
    rows = pd.concat(tables, ignore_index=True).query("label != 'unsteered' and budget == @budget")
    features = [f"text_{name}_{statistic}" for name in SERIES for statistic in STATISTICS]
    cells = rows.groupby(["concept", "layer", "label", "level"], sort=False).ngroup().to_numpy()
    blocks = exchangeable(rows.groupby(["concept", "prompt"], sort=False).ngroup().to_numpy(), cells)
    X, y, concept = rows[features].to_numpy(), rows["success"].to_numpy(dtype=bool), rows["concept"].to_numpy()
    rng = np.random.default_rng(seed)
    found: list[dict[str, Any]] = []
    for held_out in dict.fromkeys(concept):
        train, test = concept != held_out, concept == held_out

        def score(outcome: Any, train: Any = train, test: Any = test) -> Any:
            forest = RandomForestClassifier(100, min_samples_leaf=20, max_samples=0.3, random_state=seed, n_jobs=1)
            return forest.fit(X[train], outcome[train]).predict_proba(X[test])[:, 1]

        def area(outcome: Any, score: Any = score, test: Any = test) -> float:
            return float(roc_auc_score(outcome[test], score(outcome)))

        auc, null, p = permutation_test(area, y, blocks, permutations, rng)
        found.append({"held_out": held_out, "auc": auc, "auc_within": _within(y[test], score(y), cells[test]),
                      "permuted": float(np.mean(null)), "permuted_high": float(np.quantile(null, 0.975)),
                      "p": p, "n": int(test.sum()), "permutations": permutations})  # fmt: skip
    return pd.DataFrame(found)


def exchangeable(prompts: NDArray[np.intp], cells: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Rows that may be exchanged: a matrix [prompts, cells] for all prompts that stand in the same cells."""
    order = np.lexsort((cells, prompts))
    rows = np.split(order, np.flatnonzero(np.diff(prompts[order])) + 1)
    alike: dict[tuple[int, ...], list[NDArray[np.intp]]] = {}
    for own in rows:
        alike.setdefault(tuple(cells[own].tolist()), []).append(own)
    return [np.stack(own) for own in alike.values()]


def permutation_test(
    statistic: Callable[[Any], float], y: Any, blocks: Sequence[NDArray[np.intp]], permutations: int,
    rng: np.random.Generator,
) -> tuple[float, list[float], float]:  # fmt: skip
    """A statistic of outcomes, those of outcomes that prompts have exchanged, and the share of these as large (p)."""
    own = statistic(y)
    null: list[float] = []
    for _ in range(permutations):
        shuffled = y.copy()
        for block in blocks:
            shuffled[block] = y[rng.permutation(block)]
        null.append(statistic(shuffled))
    return own, null, (1 + sum(x >= own for x in null)) / (1 + permutations)


def _within(y: Any, predicted: Any, cells: Any) -> float:
    """Mean AUC over the cells that hold both outcomes."""
    groups = (cells == cell for cell in np.unique(cells))
    aucs = [roc_auc_score(y[rows], predicted[rows]) for rows in groups if y[rows].any() and not y[rows].all()]
    return float(np.mean(aucs)) if aucs else float("nan")
