"""Does the likelihood of a steered state predict what the text becomes? Rank correlation and AUC, groups as units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import rankdata, t

from analyses.likelihood.arms import PLACEBO, POSITIVES
from analyses.likelihood.tables import grouping, spread
from odesteer_tl import stats
from odesteer_tl.stats.units import codes_of, joined

#: what is asked to predict, at the prompt's last token and as the mean over the steered tokens
PREDICTORS = ("log_positive", "log_ratio", "directional_log_ratio", "h_calibrated")
PLACES = ("prompt_end", "tokens")
#: what it is to predict: the judge's score, and how likely the unsteered model finds the text
OUTCOMES = ("score", "log_likelihood")
LEVEL = 0.95
#: fewer groups carry no interval
LEAST = 10


def prediction(texts: pd.DataFrame) -> pd.DataFrame:
    """How well each predictor ranks the texts by each of `OUTCOMES`.

    Args:
        texts: a row a method, strength and prompt, with the `group` of near copies that the prompt belongs to.

    Returns:
        A row an outcome (`of`), predictor, place and scope: each method (over prompts, averaged over its strengths),
        "within, all methods" (averaged over all cells of method and strength, so that strength itself predicts
        nothing), and "between methods" (the cells' means over prompts). `rho` is Spearman's; `auc`, of the score, that
        of ranking successes before failures. Intervals
        within cells leave out one group of prompts at a time with all its cells, so that a prompt's methods stay
        together; `n` counts groups. Those
        between cells have none: means that noise puts in another order rank less well than the true ones, and no
        resampling of prompts covers that. NaN where the outcome does not vary; a text that is empty is as unlikely as
        the least likely one.
    """
    steered = texts.loc[texts["method"] != POSITIVES]
    return pd.concat([_of(steered, name).assign(of=name) for name in OUTCOMES], ignore_index=True)


def _of(texts: pd.DataFrame, outcome: str) -> pd.DataFrame:
    """`prediction` of one outcome."""
    wide = _wide(texts, outcome)
    groups = grouping(texts, wide.columns)
    n = len(set(groups))
    methods = [str(m) for m in wide.index.get_level_values("method")]
    y = wide.fillna(wide.min(axis=None)).to_numpy()
    succeeds = _wide(texts, "success").to_numpy(dtype=bool) if outcome == OUTCOMES[0] else None
    rows: list[dict[str, Any]] = []
    for place in PLACES:
        for predictor in PREDICTORS:
            x = _wide(texts, f"{place}_{predictor}").to_numpy()
            rho = each(correlations, x, y, groups)
            auc = np.full_like(rho, np.nan) if succeeds is None else each(stats.areas, x, succeeds, groups)
            scopes = {m: [i for i, k in enumerate(methods) if k == m] for m in dict.fromkeys(methods)}
            scopes["within, all methods"] = [*range(len(methods))]
            for scope, cells in scopes.items():
                found = {**spread("rho", averaged(rho[cells], -1.0)), **spread("auc", averaged(auc[cells], 0.0))}
                row = {"place": place, "predictor": predictor, "scope": scope, "cells": len(cells), "n": n}
                rows.append({**row, **found})
            for scope, sets in _between(wide.index).items():
                means = [float(correlations(*(joined(z[cells].T, groups).mean(0) for z in (x, y)))) for cells in sets]
                row = {"place": place, "predictor": predictor, "scope": scope, "cells": sum(len(c) for c in sets)}
                known = [rho for rho in means if np.isfinite(rho)]
                value = stats.Estimate(float(np.mean(known)) if known else np.nan, np.nan, np.nan, n)
                rows.append({**row, "n": n, **spread("rho", value)})
    return pd.DataFrame(rows)


def each(
    statistic: Callable[[Any, Any], Any], x: NDArray[Any], y: NDArray[Any], groups: ArrayLike | None = None
) -> NDArray[np.float64]:
    """A statistic of every cell over all prompts, then without each group of them: [cells, 1 + groups]."""
    codes = codes_of(groups, x.shape[1])
    sizes = np.bincount(codes)
    without = np.empty((len(x), len(sizes)))
    for size in np.unique(sizes):  # groups of one size leave equally many prompts, and are left out together
        own = np.flatnonzero(sizes == size)
        others = np.stack([np.flatnonzero(codes != group) for group in own])
        without[:, own] = statistic(x[:, others], y[:, others])
    return np.column_stack([statistic(x, y), without])


def averaged(values: NDArray[np.float64], lowest: float) -> stats.Estimate:
    """The mean over cells with its jackknife interval (Efron and Tibshirani 1993, §11), on a scale without ends.

    That scale is Fisher's z of correlations, the logit of areas. Cells in which a value is not defined are left out.

    Args:
        values: [cells, 1 + groups] as `each` has them.
        lowest: what the statistic can be at least; at most it is 1.

    Returns:
        The mean; its interval is all there is between `lowest` and 1 where no group makes a difference, and where a
        group alone decides whether a cell counts.
    """
    n = values.shape[1] - 1
    defined = values[np.isfinite(values[:, 0])]
    if not len(defined):
        return stats.Estimate(np.nan, np.nan, np.nan, n)
    means, whole = defined.mean(0), stats.Estimate(float(defined[:, 0].mean()), lowest, 1.0, n)
    if n < LEAST or not np.isfinite(means).all() or np.ptp(means) < 1e-12:
        return whole
    # no nearer to an end than half a pair of prompts in the wrong order
    share = np.clip((means - lowest) / (1 - lowest), 1 / n**2, 1 - 1 / n**2)
    z, own = logit(share[1:]), logit(share[0])
    half = t.ppf((1 + LEVEL) / 2, n - 1) * np.sqrt((n - 1) / n * ((z - z.mean()) ** 2).sum())
    low, high = lowest + (1 - lowest) * expit([own - half, own + half])
    return stats.Estimate(whole.value, min(float(low), whole.value), max(float(high), whole.value), n)


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
