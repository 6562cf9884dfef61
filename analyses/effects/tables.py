"""Tables of an effect study: profiles, choice without cheating, areas at equal KL, anti-steerable prompts.

The unit is the prompt throughout, unless rows have a `unit`: prompts that are judged by the same texts share one, and
what is judged is then of units, each the mean of its prompts. `report` rows are of the test prompts alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.effects.units import by_unit, pvalue, units
from analyses.intervals import with_interval
from odesteer_tl import stats

CELL = ["layer", "label", "budget", "level"]
#: summarised over a cell's prompts by the median, and by the mean
MEDIANS = ("kl", "kl_all_positions", "kl_neutral", "nbf", "perplexity", "log_likelihood",
           "angle", "displacement", "norm_ratio", "gain",
           "efficiency", "ceiling_share", "slack", "curvature_angle", "log_positive_change", "log_ratio_change",
           "gain_all_positions")  # fmt: skip
#: what a share, and an area under one, can be
UNIT = (0.0, 1.0)
SHARES = ("reached", "parses", "outside", "certified", "empty", "repetition", "score")
#: of the layer, the same in all its rows
PROBE = ("probe_auc", "probe_auc_low", "probe_auc_high", "probe_log_loss", "probe_slope")
UNSTEERED = "unsteered"
#: how a cell is chosen
RULE = "the most success there; of equals the highest mean score, then the lowest layer, then the least strength"
#: prompts that the interval of a mean takes
LEAST = 5
#: columns of `contrasts`
CONTRAST = ("layer", "level", "first", "second", "difference", "low", "high", "p", "equivalence_p", "equivalent", "n")


def profile(table: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """One row an arm × layer × budget × level: success with its exact interval, and medians over prompts.

    Returns:
        `CELL`, `success`, `success_low`, `success_high`, `n`; means of `score`, and of texts' `repetition` and the
        share that is `empty`; `parses` (share, where the outcome says so); medians of cost and geometry; `reached`
        (share of prompts that could spend the budget); the probe's figures. What was not measured is left out.
    """
    rows: list[dict[str, Any]] = []
    for key, cell in groups(table.query("split == @split"), CELL):
        success = stats.share(cell["success"], groups=cell.get("unit"))
        last = [c for c in cell if str(c).startswith("gain_at_")][-1:]
        rows.append(
            {
                **dict(zip(CELL, key, strict=True)),
                "success": success.value, "success_low": success.low, "success_high": success.high, "n": success.n,
                **{name: by_unit(cell.set_index("prompt")[name].astype(float), cell).mean() for name in SHARES
                   if name in cell},
                **{name: cell[name].median() for name in [*MEDIANS, *last] if name in cell},
                **{name: cell[name].iloc[0] for name in PROBE if name in cell},
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """How much each arm changes the score of the test prompts, prompt by prompt, against the unsteered model.

    Where success has no room the score, such as log-odds, may still have.

    Returns:
        `CELL`, `change` (mean) with its interval `low` to `high`, and `n`; nothing where unsteered was not measured, or
        on fewer prompts than an interval takes.
    """
    rows = table.query("split == 'test'")
    plain = rows.query("label == @UNSTEERED").set_index("prompt")["score"].astype(float)
    found: list[dict[str, Any]] = []
    for key, cell in groups(rows.query("label != @UNSTEERED"), CELL) if len(plain) >= LEAST else ():
        score = cell.set_index("prompt")["score"].astype(float)
        change = stats.paired_difference(score, plain.loc[score.index], groups=cell.get("unit"))
        found.append({**dict(zip(CELL, key, strict=True)), "change": change.value, "low": change.low,
                      "high": change.high, "n": change.n})  # fmt: skip
    return pd.DataFrame(found)


def with_score_intervals(cells: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """`profile` with the interval of the mean score, `score_low` to `score_high`; NaN: nothing is known of that end.

    As it is where the score is success, whose exact interval it has.
    """
    rows = table.query("split == 'test'").astype({"score": float})
    if rows["score"].equals(rows["success"].astype(float)):
        return cells
    means = [stats.mean(cell["score"], groups=cell.get("unit")) for _, cell in groups(rows, CELL)]
    known = [[end if np.isfinite(end) else np.nan for end in (mean.low, mean.high)] for mean in means]
    return cells.join(pd.DataFrame(known, cells.index, ["score_low", "score_high"]))


def frontier(table: pd.DataFrame, concept: str) -> pd.DataFrame:
    """`profile` of the test prompts with `method`, `concept`, and the median KL with its exact interval.

    Unsteered stands first, with a KL of 0.
    """
    steered = table.query("label != 'unsteered'")
    cells = steered.query("split == 'test'").groupby(CELL, sort=False)["kl"]
    kl = [stats.median(values) for _, values in cells]
    found = profile(steered).rename(columns={"label": "method"})
    spent = {"kl": [e.value for e in kl], "kl_low": [e.low for e in kl], "kl_high": [e.high for e in kl]}
    found = found.assign(concept=concept, **spent)
    plain = table.query("label == @UNSTEERED")
    if not len(plain):
        return found
    first = profile(plain).rename(columns={"label": "method"}).assign(concept=concept, kl=0.0, kl_low=0.0, kl_high=0.0)
    return pd.concat([first, found], ignore_index=True)


def choices(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Layer and level of each arm chosen on the select prompts and reported on test, beside the naive figure.

    The criterion, declared: `RULE`, of success that parses where the outcome says so. The share is also what is
    reported. `band_low` and `band_high` hold for all cells of the arm together, so they hold for whichever was chosen.
    `tied` other cells did as well on the select prompts, before the score was asked; of the other layers `next_layer`
    at `next_level` did best there by the same rule, with `next_on_select`. `lost` and `next_lost` are the two's
    `fluency_lost`, on the select prompts too, since it may be a reason to take the other. `naive` chooses by the same
    rule on the test prompts that it reports on.

    Returns:
        A row an arm × budget.
    """
    rows: list[dict[str, Any]] = []
    lost = fluency_lost(table)
    for (label, budget), arm in groups(table.query("label != 'unsteered'"), ["label", "budget"]):
        parts = [arm.query(f"split == {split!r}") for split in ("select", "test")]
        own = _matrix(parts[1])
        select, test = (by_unit(_matrix(part), arm) for part in parts)
        means = [
            (good.mean().to_numpy(), by_unit(_matrix(part, "score"), arm).mean().to_numpy())
            for good, part in zip((select, test), parts, strict=True)
        ]
        chosen, naive = (best(*each) for each in means)
        # units whose prompts part are neither 0 nor 1
        whole = bool(test.isin((0, 1)).to_numpy().all())
        band = (stats.share_band if whole else stats.mean_band)(test.to_numpy(), seed=seed)
        at, (on_select, score) = test.columns[chosen], means[0]
        beside = _best_elsewhere(select.columns, on_select, score, at[0])
        value = stats.share(own.iloc[:, chosen], groups=units(arm, own.index))
        rows.append(
            {
                "label": label, "budget": budget, "layer": at[0], "level": at[1],
                "success": value.value, "low": value.low, "high": value.high,
                "band_low": float(band.low[chosen]), "band_high": float(band.high[chosen]),
                "on_select": float(on_select[chosen]), "tied": int((on_select == on_select[chosen]).sum()) - 1,
                "lost": lost.get((at[0], label, budget, at[1]), np.nan),
                "next_layer": beside[0], "next_level": beside[1], "next_on_select": beside[2],
                "next_lost": lost.get((beside[0], label, budget, beside[1]), np.nan),
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
    plain: Any = rows.query("label == @UNSTEERED").set_index("prompt")
    if "log_likelihood" not in rows or not len(plain):
        return {}
    loss = rows["prompt"].map(plain["log_likelihood"]) - rows["log_likelihood"]
    lost: Any = rows.assign(loss=loss).groupby(CELL, dropna=False, sort=False)["loss"].median()
    return dict(lost)


def best(success: NDArray[np.float64], score: NDArray[np.float64]) -> int:
    """The place that `RULE` chooses among cells, in the order of layer and level, by their means over prompts."""
    return max(range(len(success)), key=lambda cell: (success[cell], score[cell]))  # the first of equals


def _best_elsewhere(
    cells: pd.Index, success: NDArray[np.float64], score: NDArray[np.float64], layer: int
) -> tuple[float, float, float]:
    """Layer, level and success of the best cell of the other layers; NaN where there is no other."""
    others = np.flatnonzero(cells.get_level_values("layer") != layer)
    if not len(others):
        return np.nan, np.nan, np.nan
    cell = others[best(success[others], score[others])]
    return (*cells[cell], float(success[cell]))


def _matrix(rows: pd.DataFrame, of: str = "good") -> pd.DataFrame:
    """Prompts × (layer, level), in order: a column; by default whether it succeeds, and parses where that is said."""
    good = rows["success"] & rows["parses"] if "parses" in rows else rows["success"]
    rows = rows.assign(good=good)
    wide = rows.astype({of: float}).pivot(index="prompt", columns=["layer", "level"], values=of)
    return wide.sort_index(axis=1)  # which pivot leaves as they come


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


def room(table: pd.DataFrame) -> str:
    """What unsteered texts leave to be gained, as a sentence or two; it belongs in the first line of every report.

    A share stands at the floor or the ceiling where it is no further from it than from the other end of its interval.
    """
    rows = table.query("split == 'test'")
    plain = rows.query("label == @UNSTEERED")
    if not len(plain):
        return "Unsteered was not measured: what is achieved below may have been there before."
    share = stats.share(plain["success"], groups=plain.get("unit"))
    said = f"Unsteered succeeds on {with_interval(share.value, share.low, share.high)} of {share.n} test prompts"
    said = f"{said}, those judged by the same texts counted once" if share.n < len(plain) else said
    end = _end(share)
    if end:
        # texts that never show a concept are what one steers; those that always do are a fault of the material
        warned, seen = ("WARNING: ", "lowers") if end == "ceiling" else ("", "raises")
        said = f"{warned}{said}, the {end}: only what {seen} that can be seen"
    steered = groups(rows.query("label != @UNSTEERED"), CELL)
    arms = [stats.share(cell["success"], groups=cell.get("unit")) for _, cell in steered]
    if stuck := _common_end(arms):
        said = f"{said}. WARNING: every method is at the {stuck} too: success tells nothing apart"
        said = f"{said}; try other levels, layers or prompts, or a judge whose score has more than two values"
    return f"{said}."


def measure(cells: pd.DataFrame) -> str:
    """What to look at, "success" or "score": the score where the judge gives one and success has no room.

    That is where unsteered texts are at the ceiling, or all methods at one end: what `room` warns of.

    Args:
        cells: `profile`, with `method` in the place of `label`.
    """
    if "score" not in cells or bool((cells["score"] == cells["success"]).all()):
        return "success"
    plain, arms = (
        [stats.Estimate(*row) for row in rows[["success", "success_low", "success_high", "n"]].itertuples(index=False)]
        for rows in (cells.query("method == @UNSTEERED"), cells.query("method != @UNSTEERED"))
    )
    return "score" if "ceiling" in map(_end, plain) or _common_end(arms) else "success"


def _common_end(shares: Sequence[stats.Estimate]) -> str:
    """The end at which all of them stand, if they do."""
    ends = {_end(share) for share in shares}
    return ends.pop() if len(ends) == 1 else ""


def _end(share: stats.Estimate) -> str:
    """The end of the scale at which a share stands, if it does."""
    if 1 - share.value <= share.value - share.low:
        return "ceiling"
    return "floor" if share.value <= share.high - share.value else ""


def survival(table: pd.DataFrame, label: str, budget: str, level: float) -> pd.DataFrame:
    """Median calibrated gain by layer steered (rows) and layer looked at (columns), nats; test prompts."""
    rows = table.query("split == 'test' and label == @label and budget == @budget and level == @level")
    columns = [c for c in rows if str(c).startswith("gain_at_")]
    found = {int(str(c).removeprefix("gain_at_")): rows.groupby("layer")[c].median() for c in columns}
    return pd.DataFrame(found)


def contrasts(table: pd.DataFrame, budget: str, pairs: Sequence[tuple[str, str]], margin: float = 0.05) -> pd.DataFrame:
    """Declared differences in success between arms, at every layer and level, paired by test prompt.

    Pairs of which the table has no arm are left out.

    Returns:
        A row a pair × layer × level: `difference` (first − second) with its exact interval, the exact McNemar p value
        with Holm's correction over the rows returned (`pvalue`), and the exact equivalence test within `margin`.
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
                          "p": pvalue(a, b, own), "equivalence_p": test.pvalue, "equivalent": test.equivalent,
                          "n": difference.n})  # fmt: skip
    if not found:
        return pd.DataFrame(columns=[*CONTRAST, "p_holm"])
    out = pd.DataFrame(found)
    return out.assign(p_holm=stats.holm(out["p"]))


def groups(rows: pd.DataFrame, keys: list[str]) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The groups in order of first appearance, their keys as a tuple."""
    for key, group in rows.groupby(keys, sort=False):
        assert isinstance(key, tuple)
        yield key, group
