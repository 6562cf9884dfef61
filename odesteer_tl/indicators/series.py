"""Ten numbers that summarise an indicator along a text."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

#: in the order of `summarise`'s columns
STATISTICS = ("mean", "std", "min", "lower_quartile", "median", "upper_quartile", "max", "first", "last", "slope")


def summarise(series: Float[Tensor, "n tokens"], kept: Bool[Tensor, "n tokens"]) -> Float[np.ndarray, "n statistics"]:
    """`STATISTICS` of every row over its kept tokens; NaN where none is kept.

    `slope` is that of least squares on the token's number (0 for a single token). The source (arXiv 2602.01716) says
    ten summary statistics; which ten is our choice.

    Args:
        series: an indicator at every generated token, in any unit.
        kept: the tokens that belong to the text.

    Returns:
        A row a text, a column a statistic, in the series' unit (`slope`: per token).
    """
    values, mask = series.double().cpu().numpy(), kept.cpu().numpy()
    return np.stack([_of_one(row[keep]) for row, keep in zip(values, mask, strict=True)])


def _of_one(x: NDArray[np.float64]) -> NDArray[np.float64]:
    if x.size == 0:
        return np.full(len(STATISTICS), np.nan)
    at = np.arange(x.size) - (x.size - 1) / 2
    slope = float(at @ x / (at @ at)) if x.size > 1 else 0.0
    return np.array([x.mean(), x.std(), *np.quantile(x, [0, 0.25, 0.5, 0.75, 1]), x[0], x[-1], slope])
