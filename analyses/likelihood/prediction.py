"""Does the likelihood of a steered state predict what the text becomes? Rank correlation and AUC, prompts as units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from analyses.likelihood.arms import PLACEBO
from analyses.likelihood.tables import spread
from odesteer_tl import stats

#: what is asked to predict, at the prompt's last token and as the mean over the steered tokens
PREDICTORS = ("log_positive", "log_ratio", "directional_log_ratio", "h_calibrated")
PLACES = ("prompt_end", "tokens")
LEVEL = 0.95


def prediction(texts: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """How well each predictor ranks the true posterior of the continuations.

    Returns:
        A row a predictor, place and scope: each method (over prompts, averaged over its strengths), "within, all
        methods" (averaged over all cells of method and strength), and "between methods" (the cells' means over
        prompts). `rho` is Spearman's; `auc` that of ranking successes (posterior above ½) before failures. Intervals
        resample prompts, whole rows of the paired design, so that a prompt's methods stay together. NaN where the
        posterior does not vary.
    """
    rng = np.random.default_rng(seed)
    posterior = _wide(texts, "posterior")
    n = posterior.shape[1]
    draws = np.vstack([np.arange(n), rng.integers(0, n, (resamples, n))])
    methods = [str(m) for m in posterior.index.get_level_values("method")]
    y, success = posterior.to_numpy()[:, draws], posterior.to_numpy()[:, draws] > 0.5
    rows: list[dict[str, Any]] = []
    for place in PLACES:
        for predictor in PREDICTORS:
            x = _wide(texts, f"{place}_{predictor}").to_numpy()[:, draws]
            rho, auc = correlations(x, y), stats.areas(x, success)
            scopes = {m: [i for i, k in enumerate(methods) if k == m] for m in dict.fromkeys(methods)}
            scopes["within, all methods"] = [*range(len(methods))]
            for scope, cells in scopes.items():
                found = {**spread("rho", _estimate(rho[cells], n)), **spread("auc", _estimate(auc[cells], n))}
                row = {"place": place, "predictor": predictor, "scope": scope, "cells": len(cells), "n": n}
                rows.append({**row, **found})
            for scope, sets in _between(posterior.index).items():
                means = [correlations(x[cells].mean(2).T, y[cells].mean(2).T) for cells in sets]
                row = {"place": place, "predictor": predictor, "scope": scope, "cells": sum(len(c) for c in sets)}
                rows.append({**row, "n": n, **spread("rho", _estimate(np.stack(means), n))})
    return pd.DataFrame(rows)


def _between(index: pd.Index) -> dict[str, list[list[int]]]:
    """Which cells are ranked among each other when methods are compared; several sets are averaged over."""
    methods = [str(m) for m in index.get_level_values("method")]
    strengths = [float(s) for s in index.get_level_values("strength")]
    real = [i for i, method in enumerate(methods) if method != PLACEBO]
    levels = [[i for i in real if strengths[i] == s] for s in sorted({*strengths} - {0.0})]
    equal = [cells for cells in levels if len(cells) > 1]
    return {"between methods": [[*range(len(methods))]], "between, no placebo": [real],
            **({"between, equal strength": equal} if equal else {})}  # fmt: skip


def correlations(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Spearman's correlation along the last axis; NaN where either does not vary."""
    a, b = (rankdata(z, axis=-1) for z in (x, y))
    a, b = (z - z.mean(-1, keepdims=True) for z in (a, b))
    with np.errstate(divide="ignore", invalid="ignore"):
        return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))


def _wide(texts: pd.DataFrame, column: str) -> pd.DataFrame:
    """A row a method and strength, a column a prompt."""
    return texts.pivot(index=["method", "strength"], columns="prompt", values=column)


def _estimate(values: NDArray[np.float64], n: int) -> stats.Estimate:
    """The mean over cells; the first column is the sample itself, the others its resamples."""
    defined = values[np.isfinite(values[:, 0])]
    if not len(defined):
        return stats.Estimate(np.nan, np.nan, np.nan, n)
    with np.errstate(invalid="ignore"):  # a resample in which no cell varies says nothing
        means = np.nansum(defined, axis=0) / np.isfinite(defined).sum(axis=0)
    low, high = np.nanquantile(means[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return stats.Estimate(float(means[0]), float(low), float(high), n)
