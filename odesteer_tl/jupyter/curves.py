"""Curves on matplotlib Axes: h along a path, a metric by layer, likelihood along the paths of many prompts."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from torch import Tensor

from odesteer_tl import stats
from odesteer_tl.barriers import Barrier, QuadraticBarrier
from odesteer_tl.certify import cap_bound, certify_path
from odesteer_tl.certify import ceiling as ceiling_of
from odesteer_tl.densities import PathScore
from odesteer_tl.flow import Path
from odesteer_tl.looks import BLUE, PURPLE, RED, Look, looks

#: how each verdict on a step is drawn
VERDICTS: dict[str, dict[str, Any]] = {
    "certified to rise": {"color": BLUE, "ls": "-", "lw": 2.5},
    "refuted: falls somewhere": {"color": RED, "ls": (0, (2, 1)), "lw": 2.5},
    "neither": {"color": "0.45", "ls": ":", "lw": 2.0},
}
#: layers named on an axis, so that no name stands in another
TICKS = 10
#: share of the gap between two layers over which the methods stand side by side
DODGE = 0.3
#: h is drawn on each step at this many points: between its ends it may fall
SAMPLES = 25


def plot_path(barrier: Barrier, path: Path, row: int = 0, ax: Axes | None = None, *, ceiling: bool = True) -> Axes:
    """Draw h along one recorded path, step by step as the certificate has it, under what any steering could reach.

    The abscissa is the length of the path in radians. At each length the cap bound says what no steering of that angle
    from the start exceeds, and the horizontal line what no activation does (both for quadratic barriers only).

    Args:
        barrier: one that `certify_path` takes.
        path: solved with `record=True`.
        row: which of its activations (of all batch dimensions, flattened).
        ax: where to draw; by default a new figure.
        ceiling: whether the line that no activation exceeds is drawn; it may be far above all else.

    Returns:
        The axes drawn on; `ax.figure.savefig("path.pdf")` writes the figure to a file.

    Raises:
        ValueError: the path was not recorded, it has no such row, or the barrier has no certificate.
    """
    points = _row(path, row)
    proof = certify_path(barrier, points[:, None])
    lengths = torch.cat([torch.zeros(1, dtype=torch.float64), proof.angle.cpu().squeeze(1).cumsum(0)])
    ax = ax or _new(6.0, 3.4)
    for k in range(len(proof.certified)):
        verdict = ("certified to rise" if proof.certified[k] else
                   "refuted: falls somewhere" if proof.refuted[k] else "neither")  # fmt: skip
        x, h = _along(barrier, points[k], points[k + 1])
        ax.plot(lengths[k] + x, h, **VERDICTS[verdict], solid_capstyle="butt", zorder=3)
    ends = barrier.value(points).cpu()
    ax.plot(lengths, ends, "o", ms=4, color="black", mfc="white", zorder=4)
    if barrier.is_quadratic:
        _limits_of_h(ax, barrier.quadratic, points[0], float(lengths[-1]), ceiling)
    handles = [Line2D([], [], label=f"step {name}", **look) for name, look in VERDICTS.items()]
    known = {"certified to rise": proof.certified, "refuted: falls somewhere": proof.refuted}
    shown = [h for h, name in zip(handles, VERDICTS, strict=True) if name not in known or bool(known[name].any())]
    neither = ~(proof.certified | proof.refuted)
    shown = shown if bool(neither.any()) else shown[:-1]
    ax.legend(handles=[*shown, *ax.get_legend_handles_labels()[0]], frameon=False, fontsize="small")
    ax.set(xlabel="length of the path (rad)", ylabel="barrier h")
    return ax


def plot_layers(table: pd.DataFrame, metric: str, ax: Axes | None = None) -> Axes:
    """Draw a metric by layer, a line a method, with its intervals as bars, side by side where methods coincide.

    Args:
        table: tidy; columns `layer`, `method`, `metric`, and its limits `metric_low` and `metric_high`; one row a layer
            and method.
        metric: the column to draw.
        ax: where to draw; by default a new figure.

    Returns:
        The axes drawn on.

    Raises:
        ValueError: a column is missing, or a method has several rows at a layer.
    """
    needed = ["layer", "method", metric, f"{metric}_low", f"{metric}_high"]
    missing = [name for name in needed if name not in table]
    if missing:
        raise ValueError(f"table lacks the column(s) {missing}; it has {list(table.columns)}")
    if bool(table.duplicated(["layer", "method"]).any()):
        raise ValueError("table has several rows for one layer and method; select one strength and split first")
    ax = ax or _new(6.0, 3.2)
    layers = sorted(set(table["layer"]))
    gap = float(np.diff(layers).min()) if len(layers) > 1 else 1.0
    methods = table.groupby("method", sort=False)
    look = looks(map(str, methods.groups))
    for k, (method, rows) in enumerate(methods):
        ordered = rows.sort_values("layer")
        names = ("layer", metric, f"{metric}_low", f"{metric}_high")
        layer, value, low, high = (ordered[name].to_numpy(dtype=float) for name in names)
        beside = DODGE * gap * ((k + 0.5) / len(methods) - 0.5)
        drawn: Look = {"ms": 5, **look[str(method)]}
        ax.plot(layer + beside, value, **drawn, label=str(method))
        ax.vlines(layer + beside, low, high, color=drawn["color"], lw=1.2)
    ax.set_xticks(layers[:: math.ceil(len(layers) / TICKS)])
    ax.set(xlabel="layer", ylabel=metric.replace("_", " "))
    ax.legend(frameon=False, fontsize="small")
    return ax


def plot_likelihood(score: PathScore, axes: tuple[Axes, Axes] | None = None) -> tuple[Axes, Axes]:
    """Draw how log p₊ and log p₋ (above) and h (below; the log-ratio where h was not scored) change along the paths.

    Means over prompts of the change since the start, with simultaneous 95 % bands. T* is where mean log p₊ peaks (with
    its bootstrap interval); behind it, while h rises, is over-steering. The abscissa is the mean angle from the start.

    Args:
        score: of paths of one start a prompt.
        axes: two to draw on; by default a new figure.

    Returns:
        The two axes drawn on.

    Raises:
        ValueError: fewer than 2 prompts or 3 points, of which no band or peak can be had.
    """
    if axes is None:
        figure = plt.figure(figsize=(6.0, 4.8), layout="constrained")
        first = figure.add_subplot(2, 1, 1)
        first.tick_params(labelbottom=False)
        axes = (first, figure.add_subplot(2, 1, 2, sharex=first))
        for ax in axes:
            ax.spines[["top", "right"]].set_visible(False)
    above, below = axes
    angle = score.angle.mean(1).cpu().numpy()
    prompts = np.array(score.groups)
    _band(above, angle, score.change_positive, prompts, "log $p_+$", BLUE, "-")
    _band(above, angle, score.change_negative, prompts, "log $p_-$", RED, "--")
    if score.h is None:
        _band(below, angle, score.log_ratio - score.log_ratio[:1], prompts, "calibrated log $p_+/p_-$", PURPLE, "-")
    else:
        _band(below, angle, score.h - score.h[:1], prompts, "barrier h", PURPLE, "-")
    peak = score.population_peak()
    place, low, high = (float(np.interp(x, range(len(angle)), angle)) for x in (peak.value, peak.low, peak.high))
    for ax in axes:
        ax.axvspan(low, high, color="0.6", alpha=0.35, lw=0)
        ax.axvline(place, color="black", lw=1, ls=(0, (5, 2)), label=f"$T^*$ = {place:.2f} rad [{low:.2f}, {high:.2f}]")
        ax.axhline(0, color="0.7", lw=0.8, zorder=0)
        ax.legend(frameon=False, fontsize="small")
    above.set(ylabel="change (nats)")
    below.set(xlabel="angle from the start (rad)", ylabel="change of h" if score.h is not None else "change (nats)")
    return axes


def _new(width: float, height: float) -> Axes:
    ax = plt.subplots(figsize=(width, height), layout="constrained")[1]
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _row(path: Path, row: int) -> Float[Tensor, "steps_plus_1 d"]:
    """One path in float64."""
    if path.points is None:
        raise ValueError("path has no points; solve with record=True")
    rows = path.points.reshape(len(path.points), -1, path.points.shape[-1])
    if not 0 <= row < rows.shape[1]:
        raise ValueError(f"row={row} is out of range; the path has {rows.shape[1]} activation(s)")
    return rows[:, row].double()


def _along(barrier: Barrier, start: Float[Tensor, " d"], end: Float[Tensor, " d"]) -> tuple[Tensor, Tensor]:
    """Angle from `start`, and h, on the straight segment to `end`."""
    a = start + torch.linspace(0, 1, SAMPLES, dtype=start.dtype, device=start.device).unsqueeze(1) * (end - start)
    u, v = a / a.norm(dim=1, keepdim=True), start / start.norm()
    return 2 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1)).cpu(), barrier.value(a).cpu()


def _limits_of_h(
    ax: Axes, quadratic: QuadraticBarrier, start: Float[Tensor, " d"], length: float, ceiling: bool
) -> None:
    """The cap bound at every length, and the ceiling if it is wanted."""
    angles = torch.linspace(0, min(length, math.pi), 40, dtype=torch.float64, device=start.device)
    bound = cap_bound(quadratic, start.expand(len(angles), -1), angles).bound
    ax.plot(angles.cpu(), bound.cpu(), color="black", lw=1.2, ls="--", zorder=5,
            label="bound on any steering of this angle")  # fmt: skip
    if ceiling:
        ax.axhline(float(ceiling_of(quadratic)), color="0.5", lw=1.2, ls=(0, (6, 2, 1, 2)), label="ceiling of h")


def _band(
    ax: Axes, x: np.ndarray, curves: Float[Tensor, "points n"], groups: np.ndarray, label: str, color: str, pattern: str
) -> None:
    band = stats.mean_band(curves.mT.cpu().numpy(), groups=groups)
    ax.plot(x, band.center, color=color, ls=pattern, label=label)
    ax.fill_between(x, band.low, band.high, color=color, alpha=0.2, lw=0)
