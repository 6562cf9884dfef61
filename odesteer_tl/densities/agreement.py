"""Agreement of a calibrated barrier with the density ratio, and where they part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import linregress, spearmanr
from torch import Tensor

from odesteer_tl import stats
from odesteer_tl._check import require_finite
from odesteer_tl._display import stacked, table

if TYPE_CHECKING:
    import pandas as pd

#: fewer points or distinct values carry no correlation
LEAST_POINTS = 3


@dataclass(frozen=True)
class Line:
    """h against the ratio over a set of points: `h ≈ slope · ratio + intercept` by least squares.

    Attributes:
        correlation, rank_correlation: Pearson's and Spearman's; NaN, like the line, where either does not vary.
        gap: mean of h − ratio, nats: positive where h promises more than the densities keep.
        n: points.
    """

    correlation: float
    rank_correlation: float
    slope: float
    intercept: float
    gap: float
    n: int

    @classmethod
    def through(cls, ratio: np.ndarray, h: np.ndarray) -> Line:
        """Fit it."""
        gap = float(np.mean(h - ratio)) if len(h) else float("nan")
        if len(h) < LEAST_POINTS or np.ptp(ratio) == 0 or np.ptp(h) == 0:
            return cls(np.nan, np.nan, np.nan, np.nan, gap, len(h))
        line: Any = linregress(ratio, h)
        ranked: Any = spearmanr(ratio, h)
        return cls(float(line.rvalue), float(ranked.statistic), float(line.slope), float(line.intercept), gap, len(h))

    def frame(self) -> pd.DataFrame:
        """One row, a column an attribute."""
        return table([vars(self)])


@dataclass(frozen=True, eq=False)
class Agreement:
    """How a calibrated h and a log density ratio compare along paths.

    Attributes:
        overall, on_data, over_steered: at all points, and apart where log p₊ still rose and where it fell while h rose.
        gap: the mean over prompts of h − ratio at each step less that at step 0, with simultaneous bands, nats.
        parting_step: the first step at which the band of `gap` leaves 0; None if it never does.
    """

    overall: Line
    on_data: Line
    over_steered: Line
    gap: stats.Band
    parting_step: int | None

    def frame(self) -> pd.DataFrame:
        """One row a region of the path; the band of the gap has its own, `gap.frame()`."""
        regions = {"overall": self.overall, "on_data": self.on_data, "over_steered": self.over_steered}
        return stacked([line.frame().assign(region=name) for name, line in regions.items()])


def agreement(
    h: Float[Tensor, "steps_plus_1 n"],
    ratio: Float[Tensor, "steps_plus_1 n"],
    over_steering: Bool[Tensor, "steps n"],
    level: float = 0.95,
    seed: int = 0,
    groups: Iterable[int] | None = None,
) -> Agreement:
    """Compare a calibrated barrier with the recalibrated log ratio of directional densities along paths.

    Args:
        h: `Barrier.log_ratio` at the points.
        ratio: `PathScore.log_ratio` of a directional pair: a density of the activation would see its norm too.
        over_steering: `PathScore.over_steering`; a point belongs to the step that led to it.
        level, seed: of the band of the gap.
        groups: the prompt of each path, where prompts repeat (`PathScore.groups`).

    Returns:
        The comparison by point, by step and by prompt, with intervals over prompts.

    Raises:
        ValueError: the shapes differ, fewer than 5 prompts, or a value is not finite.
    """
    if h.ndim != 2 or h.shape != ratio.shape or over_steering.shape != (h.shape[0] - 1, h.shape[1]):
        raise ValueError(
            f"h has shape {tuple(h.shape)}, ratio {tuple(ratio.shape)} and over_steering {tuple(over_steering.shape)}; "
            "they must be [steps + 1, n] twice and [steps, n]"
        )
    require_finite("h", h)
    require_finite("ratio", ratio)
    region = torch.cat([torch.zeros_like(over_steering[:1]), over_steering]).cpu().numpy()
    x, y = ratio.double().cpu().numpy(), h.double().cpu().numpy()
    gap = (y - x) - (y - x)[:1]
    band = stats.mean_band(gap.T, level, seed=seed, groups=None if groups is None else np.array([*groups]))
    parted = np.flatnonzero((band.low > 0) | (band.high < 0))
    lines = [Line.through(x[where], y[where]) for where in (np.full_like(region, True), ~region, region)]
    return Agreement(lines[0], lines[1], lines[2], band, int(parted[0]) if len(parted) else None)
