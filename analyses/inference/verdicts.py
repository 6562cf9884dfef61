"""Claims about tests and p-values."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.stats import spearmanr

from analyses.inference import units
from analyses.inference.claim import Claim
from analyses.inference.units import Rng, prompts_of
from odesteer_tl import stats
from odesteer_tl.densities.calibration import rank_pvalue


def tests() -> Iterator[Claim]:
    """That p values of true null hypotheses fall below .05 in 5 % of studies at most, Holm's over eight of them."""

    def mean_zero(r: Rng, n: int, s: int) -> bool:
        x = r.standard_t(3, size=n) if s % 2 else units.skewed(r, n)
        return stats.difference_pvalue(x, np.zeros(n), seed=s) > 0.05

    def holm(r: Rng, n: int, s: int) -> bool:
        x = r.normal(size=(8, n))
        return bool((stats.holm([float(spearmanr(row, np.arange(n)).pvalue) for row in x]) > 0.05).all())  # pyright: ignore[reportAttributeAccessIssue]

    def ranks(r: Rng, n: int, s: int, repeated: bool) -> bool:
        own = r.normal(size=n)
        rows = np.repeat(own, units.ROWS) * np.sqrt(0.9) + np.sqrt(0.1) * r.normal(size=n * units.ROWS)
        found = (
            rank_pvalue(rows, r.normal(size=2000), prompts_of(n).tolist())
            if repeated
            else rank_pvalue(own, r.normal(size=2000))
        )
        return found > 0.05

    yield Claim("test of a mean difference", "continuous, skewed or heavy tails", False, mean_zero)
    yield Claim("test of a mean difference", "binary, half part", True, lambda r, n, s:
                stats.difference_pvalue(*units.pairs(r, n, 0.5, 0.0)) > 0.05)  # fmt: skip
    yield Claim("test of a mean difference", "continuous, prompts repeat", False, lambda r, n, s:
                stats.difference_pvalue(units.skewed(r, n, True), units.skewed(r, n, True), seed=s,
                                        groups=prompts_of(n)) > 0.05)  # fmt: skip
    yield Claim("eight tests, Holm", "continuous", False, holm)
    yield Claim("p-value of ranks", "continuous", True, partial(ranks, repeated=False))
    yield Claim("p-value of ranks", "continuous, prompts repeat", True, partial(ranks, repeated=True))
