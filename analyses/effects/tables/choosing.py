"""Layer and level chosen on some prompts and reported on others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.effects.tables.rows import CELL, UNSTEERED, groups
from analyses.effects.units import by_unit, units
from odesteer_tl import stats

#: nats a token; texts that lose more are left out of the choice where others lose less, as they are often broken
LOST = 1.0
#: how a cell is chosen
RULE = (
    f"of the cells whose texts lose at most {LOST:g} nat, if any, the one with the most success there; of equals the "
    "one with the highest mean score, then the least lost, then the lowest layer and the least strength"
)


def choices(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Layer and level of each arm chosen on the select prompts and reported on test, beside the naive figure.

    The criterion, declared: `RULE`, of success that parses where the outcome says so. The share is also what is
    reported. `band_low` and `band_high` hold for all cells of the arm together, so they hold for whichever was chosen.
    `tied` other cells that lose as little did as well on the select prompts, before `score_on_select` was asked; of the
    other layers `next_layer` at `next_level` did best there by the same rule, with `next_on_select`. `lost` and
    `next_lost` are the two's `fluency_lost`, on the select prompts too, since it may be a reason to take the other;
    `lost_on_test` on the others.
    `aside_…` is the same of the best cell that loses more than `LOST`, if it does better there than the chosen one.
    `naive` chooses by the same rule on the test prompts that it reports on.

    Returns:
        A row an arm × budget.
    """
    rows: list[dict[str, Any]] = []
    lost, lost_on_test = fluency_lost(table), fluency_lost(table, "test")
    for (label, budget), arm in groups(table.query("label != 'unsteered'"), ["label", "budget"]):
        parts = [arm.query(f"split == {split!r}") for split in ("select", "test")]
        own = _matrix(parts[1])
        select, test = (by_unit(_matrix(part), arm) for part in parts)
        means = [
            (good.mean().to_numpy(), by_unit(_matrix(part, "score"), arm).mean().to_numpy())
            for good, part in zip((select, test), parts, strict=True)
        ]
        losses = [
            np.array([of.get((layer, label, budget, level), np.nan) for layer, level in select.columns])
            for of in (lost, lost_on_test)
        ]
        chosen, naive = (best(*each, loss) for each, loss in zip(means, losses, strict=True))
        # units whose prompts part are neither 0 nor 1
        whole = bool(test.isin((0, 1)).to_numpy().all())
        band = (stats.share_band if whole else stats.mean_band)(test.to_numpy(), seed=seed)
        at, (on_select, score) = test.columns[chosen], means[0]
        others = np.flatnonzero(select.columns.get_level_values("layer") != at[0])
        breaks = np.nan_to_num(losses[0]) > LOST
        broken = np.flatnonzero(breaks & (on_select > on_select[chosen]))
        alike = (breaks == breaks[chosen]) & (on_select == on_select[chosen])
        value = stats.share(own.iloc[:, chosen], groups=units(arm, own.index))
        rows.append(
            {
                "label": label, "budget": budget, "layer": at[0], "level": at[1],
                "success": value.value, "low": value.low, "high": value.high,
                "band_low": float(band.low[chosen]), "band_high": float(band.high[chosen]),
                "on_select": float(on_select[chosen]), "tied": int(alike.sum()) - 1,
                "score_on_select": float(score[chosen]),
                "lost": float(losses[0][chosen]), "lost_on_test": float(losses[1][chosen]),
                **_cell("next", select.columns, others, on_select, score, losses[0]),
                **_cell("aside", select.columns, broken, on_select, score, losses[0]),
                "naive": float(test.to_numpy().mean(0)[naive]),
                "naive_layer": test.columns[naive][0], "naive_level": test.columns[naive][1], "n": value.n,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def fluency_lost(table: pd.DataFrame, split: str = "select") -> dict[tuple[Any, ...], float]:
    """By `CELL`: what steering costs the log-likelihood of a prompt's text, nats a token, median over prompts.

    Nothing where no texts were written or unsteered was not measured.
    """
    rows = table.query("split == @split")
    plain: Any = rows.loc[rows["label"] == UNSTEERED].set_index("prompt")
    if "log_likelihood" not in rows or not len(plain):
        return {}
    loss = rows["prompt"].map(plain["log_likelihood"]) - rows["log_likelihood"]
    lost: Any = rows.assign(loss=loss).groupby(CELL, dropna=False, sort=False)["loss"].median()
    return dict(lost)


def best(success: NDArray[np.float64], score: NDArray[np.float64], lost: NDArray[np.float64]) -> int:
    """The place that `RULE` chooses among cells, in the order of layer and level, by their means over prompts.

    Args:
        lost: NaN where no texts were written; nothing is left out for it.
    """
    known = np.nan_to_num(lost)
    # the first of equals
    return max(range(len(success)), key=lambda cell: (known[cell] <= LOST, success[cell], score[cell], -known[cell]))


def _cell(
    name: str,
    cells: pd.Index,
    among: NDArray[np.intp],
    success: NDArray[np.float64],
    score: NDArray[np.float64],
    lost: NDArray[np.float64],
) -> dict[str, float]:
    """Layer, level, success and loss of the best of some cells, by `RULE`; NaN where there is none."""
    keys = [f"{name}_{what}" for what in ("layer", "level", "on_select", "lost")]
    if not len(among):
        return dict.fromkeys(keys, np.nan)
    cell = among[best(success[among], score[among], lost[among])]
    return dict(zip(keys, (*cells[cell], float(success[cell]), float(lost[cell])), strict=True))


def _matrix(rows: pd.DataFrame, of: str = "good") -> pd.DataFrame:
    """Prompts × (layer, level), in order: a column; by default whether it succeeds, and parses where that is said."""
    good = rows["success"] & rows["parses"] if "parses" in rows else rows["success"]
    rows = rows.assign(good=good)
    wide = rows.astype({of: float}).pivot(index="prompt", columns=["layer", "level"], values=of)
    return wide.sort_index(axis=1)  # which pivot leaves as they come
