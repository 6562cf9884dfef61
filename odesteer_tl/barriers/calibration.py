"""Platt's calibration: the affine map from a score to a log-ratio, and how much of it n held-out texts can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from odesteer_tl._difference import NoDifference
from odesteer_tl._display import Result, table

if TYPE_CHECKING:
    import pandas as pd

#: scores whose spread is below this share of their size differ by rounding
ROUNDING = 64 * np.finfo(np.float64).eps


class ScoresAlike(NoDifference):
    """A score is one number for all held-out texts within rounding: it reads nothing, and has no scale in nats."""


@dataclass(frozen=True, repr=False)
class Calibration(Result):
    """The affine map from a score to a log-ratio: `slope · h + intercept` (Platt 1999, held-out data).

    Attributes:
        slope, intercept: of the map.
        n_positive, n_negative: the held-out texts behind it (groups where groups were given, else rows).
        bound: the most nats that are claimed, either way, where the held-out scores are separated; None where they
            overlap, and the slope is the data's own.
    """

    slope: float
    intercept: float
    n_positive: int
    n_negative: int
    bound: float | None = None

    def __call__(self, score: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """The log-ratio of a score, nats."""
        ratio = self.slope * score + self.intercept
        return ratio if self.bound is None else ratio.clamp(-self.bound, self.bound)

    @classmethod
    def of(
        cls,
        positive: Float[Tensor, " n"],
        negative: Float[Tensor, " m"],
        counts: tuple[int, int] | None = None,
    ) -> Calibration:
        """Fit the map to held-out scores: logistic loss with the classes weighted equally, and Platt's targets.

        Smoothed targets, here as weights of both outcomes for every row, stand for one text more on either side
        (Platt 1999), so that separated scores give a finite slope. But a slope that only these targets limit says
        nothing of scores beyond, so that separated scores are also bounded: with n texts a class, no set of scores can
        be shown to have a larger log-ratio than log 2(n + 1), both shares estimated with half a text added to it. So
        slope and intercept are shrunk together until no held-out text is claimed to have more, and nor is what lies
        beyond them.

        Args:
            counts: texts behind the positive and the negative scores; one a row by default.

        Raises:
            ScoresAlike: all scores are equal within rounding; a `ValueError`.
        """
        scores = torch.cat([positive, negative]).double().cpu().numpy()
        middle, scale = float(np.median(scores)), float(scores.std())
        if scale <= ROUNDING * float(np.abs(scores).max()):
            raise ScoresAlike(
                f"positive and negative held-out scores are all {middle:.6g} within rounding; this score tells nothing "
                "apart here and cannot be calibrated: use another layer, or other texts"
            )
        n, m = counts or (len(positive), len(negative))
        slope, intercept = _affine((scores - middle) / scale, len(positive), n, m)
        apart = float(positive.min()) > float(negative.max()) or float(negative.min()) > float(positive.max())
        bound = math.log(2 * (min(n, m) + 1)) if apart else None
        if bound is not None:
            # h = 0 of the map stays where it is
            shrink = min(1.0, bound / float(np.abs(slope * (scores - middle) / scale + intercept).max()))
            slope, intercept = shrink * slope, shrink * intercept
        return cls(slope / scale, intercept - slope * middle / scale, n, m, bound)

    def _facts(self) -> dict[str, object]:
        return {
            "slope (ideally 1)": self.slope,
            "intercept (nats)": self.intercept,
            "held-out positives": self.n_positive,
            "held-out negatives": self.n_negative,
            "bound (nats)": "none: held-out scores overlap" if self.bound is None else self.bound,
        }

    def frame(self) -> pd.DataFrame:
        """One row, a column an attribute."""
        return table([vars(self)])


def _affine(scores: Float[np.ndarray, " rows"], rows: int, n: int, m: int) -> tuple[float, float]:
    """Slope and intercept on standardised scores, the first `rows` of them positive."""
    sizes = [rows, len(scores) - rows]
    hit = np.repeat([(n + 1) / (n + 2), 1 / (m + 2)], sizes)
    weight = np.repeat([1 / size for size in sizes], sizes)
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    outcomes, total = np.repeat([1, 0], len(scores)), len(scores)
    model.fit(
        np.tile(scores, 2).reshape(-1, 1),
        outcomes,
        sample_weight=np.concatenate([weight * hit, weight * (1 - hit)]) * total,
    )
    return float(np.ravel(model.coef_)[0]), float(np.ravel(model.intercept_)[0])
