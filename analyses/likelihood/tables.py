"""What scored paths say: where log p₊ peaks, who leaves the data, what differs from what, and where h and the
ratio part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from odesteer_tl import stats
from odesteer_tl.barriers import Calibration
from odesteer_tl.densities import PathScore, agreement

Scores = Mapping[str, dict[str, PathScore]]
#: what curves and references are drawn of
QUANTITIES = ("log_positive", "log_negative", "log_ratio", "rank", "h_calibrated", "directional_log_ratio",
              "tied_log_ratio", "relative_mahalanobis")  # fmt: skip

#: a share of nobody
NOTHING = stats.Estimate(np.nan, 0.0, 1.0, 0)
#: a mean of nobody
NO_MEAN = stats.Estimate(np.nan, -np.inf, np.inf, 0)
#: a step this much shorter than the longest of all is none
AT_REST = 1e-3


def reach(score: PathScore) -> NDArray[np.intp]:
    """The last step on which each path moves (0: never); all points behind it are its end."""
    moved = score.displacement.diff(dim=0).abs().numpy()
    moves = moved > AT_REST * moved.max(initial=0)
    return np.where(moves.any(0), len(moves) - moves[::-1].argmax(0), 0)


def spread(name: str, estimate: stats.Estimate) -> dict[str, float]:
    """An estimate as three columns."""
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def mean(values: ArrayLike, seed: int = 0, groups: ArrayLike | None = None) -> stats.Estimate:
    """A mean over prompts with its interval; rows without a value (NaN) are left out of n, and few have none.

    Args:
        groups: of near copies, which count once.
    """
    x = np.asarray(values, dtype=float)
    known = np.isfinite(x)
    units = known.sum() if groups is None else len({*np.asarray(groups)[known]})
    if units < stats.LEAST:
        return replace(NO_MEAN, n=int(units))
    return stats.mean(x[known], seed=seed, groups=None if groups is None else np.asarray(groups)[known])


def curves(paths: pd.DataFrame) -> pd.DataFrame:
    """Mean of every quantity along the path, with simultaneous 95 % bands; one row a method and step.

    A path that stops before a strength stays in them as it ended; `summary` leaves it out.

    Args:
        paths: a row a step and prompt, with the `group` of near copies it belongs to; a group counts once, and is what
            `n` counts.
    """
    rows: list[pd.DataFrame] = []
    for method, of_method in paths.groupby("method", sort=False):
        for quantity in QUANTITIES:
            table = of_method.pivot(index="prompt", columns="step", values=quantity)
            band = stats.mean_band(table.to_numpy(), groups=grouping(of_method, table.index))
            steps = of_method.drop_duplicates("step")[["step", "strength"]].reset_index(drop=True)
            rows.append(steps.assign(method=method, quantity=quantity, center=band.center, low=band.low,
                                     high=band.high, n=band.n))  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def references(real: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Mean (with interval) and quantiles of every quantity over real held-out activations of each class.

    Of a mean a `group` of near copies counts once, and is what `n` counts; quantiles are of the activations.
    """
    rows: list[dict[str, Any]] = []
    for side, frame in real.items():
        for quantity in QUANTITIES:
            x = frame[quantity].to_numpy()
            q = dict(
                zip(("q05", "q25", "q50", "q75", "q95"), np.quantile(x, [0.05, 0.25, 0.5, 0.75, 0.95]), strict=True)
            )
            found = mean(x, groups=frame["group"])
            rows.append({"side": side, "quantity": quantity, **spread("mean", found), **q, "n": found.n})
    return pd.DataFrame(rows)


def turning(score: PathScore, grid: float) -> pd.DataFrame:
    """T* of each prompt and what else is one number a path, in radians asked for; `grid` is a step's length.

    A path that stops while log p₊ rises has no T*.
    """
    steps, last = score.turning_step.numpy(), reach(score)
    stopped = (last < len(score.slope) - 1) & (steps >= last)
    return pd.DataFrame(
        {
            "prompt": np.arange(score.log_positive.shape[1]),
            "t_star": np.where(stopped, np.nan, grid * steps),
            "ends": grid * last,
            "peak": grid * score.peak_step.double().numpy(),
            "exit": grid * score.exit_step.numpy(),
            "over_steered": score.over_steered.numpy(),
        }
    )


def summary(scores: Scores, grid: float, declared: int) -> pd.DataFrame:
    """One row a method; changes and shares are those at the declared step, T* that of the whole path.

    A path that stops before the declared step is in no change and no share there but `stops`: `n_declared` counts the
    others, and `angle_reached`, in radians, is the mean over all. Where the mean of log p₊ peaks is up to those that
    still move, since a path that has stopped changes it no more.

    Of all a group counts once, and is what `n` counts, but of `median_t_star`, the median of every prompt's own T*.
    """
    rows: list[dict[str, Any]] = []
    for method, found in scores.items():
        score, turned = found["ambient"], turning(found["ambient"], grid)
        groups = np.asarray(score.groups)
        going = reach(score) >= declared
        inside = ~score.outside[0].numpy() & going
        peaks = {name: found[name].population_peak() for name in found}
        of_paths = {
            "falls_at_once": turned["t_star"] == 0,
            "never_turns": turned["t_star"].isna(),
            "stops": ~going,
            "outside_at_start": score.outside[0].numpy(),
            "over_steered": turned["over_steered"],
        }
        there = {
            "outside": score.outside[declared].numpy(),
            "left": (score.exit_step <= declared).numpy(),
            "leaves": score.outside[declared].numpy(),
            "rises": score.change_positive[declared].numpy() > 0,
            "p_plus_moved": score.toward_positive[declared].numpy(),
        }
        means = {
            "log_positive_change": score.change_positive[declared],
            "log_negative_change": score.change_negative[declared],
            "log_ratio_change": score.log_ratio[declared] - score.log_ratio[0],
            "directional_log_positive_change": found["directional"].change_positive[declared],
            "rank": score.rank[declared],
            "gain_per_radian": score.gain_per_radian[declared],
            "gain_per_displacement": score.gain_per_displacement[declared],
            "relative_mahalanobis_change": score.relative_mahalanobis[declared] - score.relative_mahalanobis[0],
        }
        row: dict[str, Any] = {"method": method, "median_t_star": turned["t_star"].median()}
        for name, peak in peaks.items():
            row |= spread("t_star" if name == "ambient" else f"{name}_t_star", _scaled(peak, grid))
        for name, flags in of_paths.items():
            row |= spread(name, stats.share(flags, groups=groups))
        row |= spread("angle_reached", mean(score.angle[declared].numpy(), groups=groups))
        for name, flags in there.items():
            kept = inside if name == "leaves" else going
            row |= spread(name, stats.share(flags[kept], groups=groups[kept]) if kept.any() else NOTHING)
        for name, x in means.items():
            row |= spread(name, mean(x.numpy()[going], groups=groups[going]))
        row["n_declared"] = len({*groups[going]})
        rows.append({**row, "n": peaks["ambient"].n})
    return pd.DataFrame(rows)


def comparisons(scores: Scores, placebo: str, declared: int, seed: int = 0) -> pd.DataFrame:
    """Change of log p₊ at the declared step against no steering and against the placebo; Holm.

    Of the paths that go so far; NaN where these are fewer than an interval takes.
    """
    change = {method: found["ambient"].change_positive[declared].numpy() for method, found in scores.items()}
    groups = {method: np.asarray(found["ambient"].groups) for method, found in scores.items()}
    rows: list[dict[str, Any]] = []
    for method, x in change.items():
        for other, y in {"unsteered": np.zeros_like(x), placebo: change[placebo]}.items():
            if method == other:
                continue
            both = reach(scores[method]["ambient"]) >= declared
            own = groups[method][both]
            if len({*own}) < stats.LEAST:
                nothing = spread("difference", NO_MEAN)
                rows.append({"method": method, "against": other, **nothing, "pvalue": np.nan, "n": len({*own})})
                continue
            estimate = stats.paired_difference(x[both], y[both], groups=own)
            p = stats.difference_pvalue(x[both], y[both], seed=seed, groups=own)
            rows.append({"method": method, "against": other, **spread("difference", estimate), "pvalue": p,
                         "n": estimate.n})  # fmt: skip
    table = pd.DataFrame(rows)
    known = table["pvalue"].notna()
    table["holm"] = np.nan
    if True in set(known):
        table.loc[known, "holm"] = stats.holm(table.loc[known, "pvalue"])
    return table


def agreements(scores: Scores, calibration: Calibration, grid: float) -> pd.DataFrame:
    """Calibrated h against the log-ratio of each directional pair; `over all` is every method's points together."""
    rows: list[dict[str, Any]] = []
    for pair in ("directional", "tied"):
        for method, found in scores.items():
            score = found[pair]
            assert score.h is not None
            # where log p₊ falls while h rises is asked of the density of the activation
            h = calibration(score.h)
            result = agreement(h, score.log_ratio, found["ambient"].over_steering, groups=score.groups)
            parting = None if result.parting_step is None else grid * result.parting_step
            row: dict[str, Any] = {"pair": pair, "method": method, "parting": parting,
                                   "gap_at_end": result.gap.center[-1], "gap_at_end_low": result.gap.low[-1],
                                   "gap_at_end_high": result.gap.high[-1], "prompts": result.gap.n}  # fmt: skip
            for region in ("overall", "on_data", "over_steered"):
                line = getattr(result, region)
                row |= {f"{region}_{k}": getattr(line, k) for k in ("correlation", "rank_correlation", "slope", "n")}
            rows.append(row)
    return pd.DataFrame(rows)


#: where a mean falls below a limit, and the ends of its interval
CROSSING = ("crossing", "crossing_low", "crossing_high")


def crossing(texts: pd.DataFrame, quantity: str, limit: float, relative: bool, seed: int = 0) -> pd.DataFrame:
    """The strength at which a method's mean of `quantity` falls by `limit` (or by that share) below the unsteered mean.

    Linear between strengths, ∞ where it does not by the largest. The interval is from where the lower edge of the
    simultaneous band of the fall first passes the limit to where the upper edge does. Prompts without a value at some
    strength (a text too short for it) are left out; of the others a `group` of near copies counts once, and is what `n`
    counts. NaN where fewer groups are left than an interval takes.
    """
    plain = texts.query("method == 'unsteered'")
    base = plain.set_index("prompt")[quantity]
    rows: list[dict[str, Any]] = []
    for method, found in texts[texts["strength"] > 0].groupby("method", sort=False):
        table = found.pivot(index="prompt", columns="strength", values=quantity).loc[base.index]
        wide = np.column_stack([base.to_numpy(), table.to_numpy()])
        known = np.isfinite(wide).all(1)
        wide = wide[known]
        units = grouping(plain, base.index)[known]
        row = {"method": method, "quantity": quantity, **dict.fromkeys(CROSSING, np.nan)}
        if len(set(units)) < stats.LEAST:
            rows.append({**row, "n": len(set(units))})
            continue
        # above 0 until the limit is passed: a mean over prompts, at and between the strengths
        gap = wide - wide[:, :1] * (1 - limit) if relative else wide - wide[:, :1] + limit
        band = stats.mean_band(gap, seed=seed, groups=units)
        low, at, high = _first_below(np.stack([band.low, band.center, band.high]), np.array([0.0, *table.columns]))
        rows.append({**row, **dict(zip(CROSSING, (at, low, high), strict=True)), "n": band.n})
    return pd.DataFrame(rows)


def grouping(rows: pd.DataFrame, prompts: Iterable[Any]) -> NDArray[np.intp]:
    """The group of each of these prompts."""
    group = dict(zip(rows["prompt"], rows["group"], strict=True))
    return np.array([group[prompt] for prompt in prompts])


def _first_below(curves: NDArray[Any], grid: NDArray[Any]) -> NDArray[np.float64]:
    """Where each row first falls below 0: ∞ where it does not, 0 where it begins there."""
    below = curves < 0
    at = np.maximum(below.argmax(1), 1)
    rows = np.arange(len(curves))
    before, after = np.maximum(curves[rows, at - 1], 0), curves[rows, at]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(np.isinf(after), 0.0, before / (before - after))
        place = grid[at - 1] + (grid[at] - grid[at - 1]) * share
    return np.where(below.any(1), np.where(below[:, 0], 0.0, place), np.inf)


def _scaled(estimate: stats.Estimate, by: float) -> stats.Estimate:
    return stats.Estimate(estimate.value * by, estimate.low * by, estimate.high * by, estimate.n)
