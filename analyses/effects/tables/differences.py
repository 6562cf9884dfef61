"""Arms against each other: areas at equal KL, declared differences, and prompts that a steer pushes the wrong way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.effects.tables.rows import ALPHA, CELL, UNSTEERED, groups, of_cell
from analyses.effects.units import units
from odesteer_tl import stats

#: what a share, and an area under one, can be
UNIT = (0.0, 1.0)
#: columns of `contrasts`
CONTRAST = ("layer", "level", "first", "second", "difference", "low", "high", "p", "equivalence_p", "equivalent", "n")


def areas(table: pd.DataFrame, layer: int, reference: str, margin: float = 0.05) -> pd.DataFrame:
    """Area under success over log KL, on the common range of levels, and each arm's paired difference to a reference.

    Args:
        layer: at which.
        reference: an arm's label.
        margin: of the equivalence test, in units of success; declared before looking.

    Returns:
        A row an arm: `area` (mean success over the range), `difference` to the reference, both with intervals that
        hold for any numbers in [0, 1], `equivalence_p` and whether it is `equivalent` within the margin.
    """
    rows = table.query("split == 'test' and budget == 'kl' and layer == @layer")
    by_arm = {str(label): _area(arm) for (label,), arm in groups(rows, ["label"])}
    own = units(rows, sorted(set(rows["prompt"])))
    plain = table.query("split == 'test' and label == @UNSTEERED").sort_values("prompt")
    if len(plain):
        by_arm = {UNSTEERED: plain["success"].to_numpy(dtype=float), **by_arm}
    if reference not in by_arm:
        raise ValueError(f"reference={reference!r} is not in this table; choose one of {', '.join(by_arm)}")
    found: list[dict[str, Any]] = []
    for label, area in by_arm.items():
        difference = stats.paired_difference(area, by_arm[reference], groups=own, bounds=UNIT)
        value = stats.mean(area, groups=own, bounds=UNIT)
        row: dict[str, Any] = {"label": label, "area": value.value, "low": value.low, "high": value.high,
                               "n": value.n}  # fmt: skip
        if label != reference:
            test = stats.equivalence(area, by_arm[reference], margin, groups=own, bounds=UNIT)
            row |= {"difference": difference.value, "difference_low": difference.low,
                    "difference_high": difference.high, "equivalence_p": test.pvalue,
                    "equivalent": test.equivalent}  # fmt: skip
        found.append(row)
    return pd.DataFrame(found)


def _area(arm: pd.DataFrame) -> NDArray[np.float64]:
    """Each prompt's mean success over log KL, by the trapezoid rule."""
    wide = arm.assign(success=arm["success"].astype(float)).pivot(index="prompt", columns="level", values="success")
    at = np.log(wide.columns.to_numpy(dtype=float))
    if len(at) == 1:
        return wide.to_numpy()[:, 0]
    return np.trapezoid(wide.to_numpy(), at, axis=1) / (at[-1] - at[0])


def anti_steerable(table: pd.DataFrame, budget: str) -> pd.DataFrame:
    """Share of test prompts whose score *falls* with the budget (Tan et al., 2024), with its exact interval.

    A prompt's slope is that of least squares of its score on the number of the level, the unsteered text counted as
    level 0. Sampled texts are noisy: under no effect at all half of the slopes are negative.
    """
    rows = table.query("split == 'test'")
    plain = rows.query("label == 'unsteered'").set_index("prompt")["score"]
    found: list[dict[str, Any]] = []
    for (layer, label), arm in groups(rows.query("budget == @budget"), ["layer", "label"]):
        wide = arm.pivot(index="prompt", columns="level", values="score")
        scores = np.column_stack([plain.loc[wide.index].to_numpy(dtype=float), wide.to_numpy(dtype=float)])
        at = np.arange(scores.shape[1]) - (scores.shape[1] - 1) / 2
        share = stats.share(scores @ at < 0, groups=units(arm, wide.index))
        found.append({"layer": layer, "label": label, "anti_steerable": share.value, "low": share.low,
                      "high": share.high, "n": share.n})  # fmt: skip
    return pd.DataFrame(found)


def contrasts(table: pd.DataFrame, budget: str, pairs: Sequence[tuple[str, str]], margin: float = 0.05) -> pd.DataFrame:
    """Declared differences in success between arms, at every layer and level, paired by test prompt.

    Pairs of which the table has no arm are left out.

    Returns:
        A row a pair × layer × level: `difference` (first − second) with its exact interval, the p value that goes
        with it, also with Holm's correction over the rows returned, and the exact equivalence test within `margin`.
    """
    rows = table.query("split == 'test' and budget == @budget")
    found: list[dict[str, Any]] = []
    for (layer, level), cell in groups(rows, ["layer", "level"]):
        wide = cell.pivot(index="prompt", columns="label", values="success")
        for first, second in (pair for pair in pairs if {*pair} <= set(wide)):
            a, b = (wide[name].to_numpy(dtype=float) for name in (first, second))
            own = units(cell, wide.index)
            difference, test = stats.paired_difference(a, b, groups=own), stats.equivalence(a, b, margin, groups=own)
            found.append({"layer": layer, "level": level, "first": first, "second": second,
                          "difference": difference.value, "low": difference.low, "high": difference.high,
                          "p": stats.difference_pvalue(a, b, groups=own), "equivalence_p": test.pvalue,
                          "equivalent": test.equivalent, "n": difference.n})  # fmt: skip
    if not found:
        return pd.DataFrame(columns=[*CONTRAST, "p_holm"])
    out = pd.DataFrame(found)
    return out.assign(p_holm=stats.holm(out["p"]))


def at_chosen(table: pd.DataFrame, chosen: pd.DataFrame, second: str, of: str = "success") -> pd.DataFrame:
    """Of each choice how much more it does than `second`, on the test prompts, where there is that.

    Other prompts chose the cell, so that here it is one fixed beforehand: `p_holm` is corrected over the choices alone,
    and not over all that is declared.

    Args:
        table: the study's rows. chosen: `choices` of them, the placebo's left out. of: "success" or "score".
        second: "unsteered", or an arm's label: that arm at the same cell.
    """
    test, found = table.query("split == 'test'"), list[dict[str, Any]]()
    plain, rows = test.query("label == @UNSTEERED"), cast(list[dict[str, Any]], chosen.to_dict("records"))
    for row in rows:
        cell, other = of_cell(test, row), plain if second == UNSTEERED else of_cell(test, {**row, "label": second})
        if not len(other):
            continue
        own = units(cell, cell["prompt"])
        a, b = (x.set_index("prompt").loc[cell["prompt"], of].to_numpy(dtype=float) for x in (cell, other))
        difference = stats.paired_difference(a, b, groups=own)
        p = stats.difference_pvalue(a, b, groups=own)
        found.append({**{name: row[name] for name in CELL}, "second": second, "difference": difference.value,
                      "low": difference.low, "high": difference.high, "p": p, "n": difference.n})  # fmt: skip
    out = pd.DataFrame(found)
    return out.assign(p_holm=stats.holm(out["p"])) if found else out


def least_changed(family: int, prompts: int) -> int:
    """Of so many prompts those that must change, all the same way, for one of a family of differences in success to be
    significant; one more than there are where all are too few.

    Args:
        family: differences that Holm's correction is over; the smallest p is multiplied by their number.
    """
    for k in range(1, prompts + 1):
        if family * stats.difference_pvalue(np.arange(prompts) < k, np.zeros(prompts)) < ALPHA:
            return k
    return prompts + 1
