"""What predicts where steering works: a layer picked by an indicator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from analyses.effects.tables import best as best_of
from analyses.effects.units import by_unit, units
from odesteer_tl import stats

#: an indicator, and whether more of it is meant to be better
PICKS = {"probe_auc": 1, "slack": 1, "log_ratio_change": 1, "log_positive_change": 1, "nbf": -1, "gain": 1,
         "gain_all_positions": 1, "cosine_halves": 1}  # fmt: skip


def layer_picks(table: pd.DataFrame, label: str, budget: str, level: float) -> pd.DataFrame:
    """If the layer were picked by an indicator alone: which, what success it has on test, and what that costs.

    The indicator is averaged over the select prompts (medians), as is the success that picks "success on select".
    `regret` is the success on test of the layer that is best on select, minus that of the picked one, paired by prompt;
    `rank_correlation` is between the indicator and success on test over the layers: of so few layers it says little.
    """
    rows = table.query("label == @label and budget == @budget and level == @level").astype({"success": float})
    select, test = rows.query("split == 'select'"), rows.query("split == 'test'")
    success = test.pivot(index="prompt", columns="layer", values="success")
    layers, own = [int(layer) for layer in success], units(rows, success.index)
    chosen: Any = select.groupby("layer")
    on_select, scores = (
        by_unit(select.pivot(index="prompt", columns="layer", values=name), rows).mean().loc[layers].to_numpy(float)
        for name in ("success", "score")
    )
    indicators = {"success on select": on_select}
    indicators |= {name: sign * chosen[name].median().loc[layers].to_numpy() for name, sign in PICKS.items()
                   if name in rows}  # fmt: skip
    best = layers[best_of(on_select, scores, np.zeros(len(scores)))]
    found: list[dict[str, Any]] = []
    for name, values in indicators.items():
        if not np.isfinite(values).any():
            continue
        # a layer at which it is not known is not picked
        picked = best if name == "success on select" else layers[int(np.nanargmax(values))]
        share = stats.share(success[picked], groups=own)
        regret = stats.paired_difference(success[best], success[picked], groups=own)
        # where no layer differs from another, nothing can go with anything
        known = np.isfinite(values)
        reached = by_unit(success, rows).mean().to_numpy()[known]
        varies = len(set(values[known])) > 1 and len(set(reached)) > 1
        correlation = float(spearmanr(values[known], reached).statistic) if varies else np.nan  # pyright: ignore[reportAttributeAccessIssue]
        found.append({"picked by": name, "layer": picked, "success": share.value, "low": share.low, "high": share.high,
                      "regret": regret.value, "regret_low": regret.low, "regret_high": regret.high, "n": share.n,
                      "rank_correlation": correlation})  # fmt: skip
    return pd.DataFrame(found)
