"""Claims about paired differences and equivalence."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from analyses.inference import units
from analyses.inference.claim import LEVEL, Claim, inside
from analyses.inference.units import MARGIN, Rng, prompts_of
from odesteer_tl import stats

UNIT = (0.0, 1.0)


def differences(k: int) -> Iterator[Claim]:
    """Paired differences of means and medians, of units with and without ties and repeats; `k` resamples."""

    def shares(r: Rng, n: int, s: int, apart: float, true: float) -> bool:
        return inside(stats.paired_difference(*units.pairs(r, n, apart, true)), true)

    for apart, true in ((0.02, 0.02), (0.1, 0.05), (0.5, 0.1)):
        yield Claim("paired difference", f"binary, {apart:.0%} part", True, partial(shares, apart=apart, true=true))
    yield Claim("paired difference", "binary, prompts repeat", True, lambda r, n, s: inside(
        stats.paired_difference(*units.grouped_pairs(r, n), groups=prompts_of(n)), MARGIN))  # fmt: skip
    yield Claim("paired difference", "continuous, skewed", False, lambda r, n, s: inside(
        stats.paired_difference(units.skewed(r, n), np.zeros(n), None, LEVEL, k, s), 0))  # fmt: skip
    yield Claim("paired difference", "continuous, prompts repeat", False, lambda r, n, s: inside(
        stats.paired_difference(units.skewed(r, n, True), units.skewed(r, n, True), None, LEVEL, k, s, prompts_of(n)),
        0))  # fmt: skip
    yield Claim("paired difference", "ties, mostly equal", False, lambda r, n, s: inside(
        stats.paired_difference(np.where(r.random(n) < 0.2, r.normal(size=n), 0), np.zeros(n), None, LEVEL, k, s),
        0))  # fmt: skip
    yield Claim("paired difference of medians", "continuous", False, lambda r, n, s: inside(
        stats.paired_difference(units.skewed(r, n), units.skewed(r, n), np.median, LEVEL, k // 4, s), 0))  # fmt: skip


def equivalence(k: int) -> Iterator[Claim]:
    """That units exactly at the margin are declared equivalent in 5 % of studies at most; `k` resamples."""

    def undeclared(a: Any, b: Any, s: int, **more: Any) -> bool:
        return not stats.equivalence(a, b, MARGIN, 0.05, k, s, **more).equivalent

    for apart in (0.1, 0.2, 0.5):
        yield Claim("equivalence at the margin", f"binary, {apart:.0%} part", True, lambda r, n, s, a=apart:
                    undeclared(*units.pairs(r, n, a, MARGIN), s))  # fmt: skip
    yield Claim("equivalence at the margin", "binary, prompts repeat", True, lambda r, n, s:
                undeclared(*units.grouped_pairs(r, n), s, groups=prompts_of(n)))  # fmt: skip
    # a spread at which some studies do declare it
    yield Claim("equivalence at the margin", "continuous, normal", False, lambda r, n, s:
                undeclared(MARGIN + 0.1 * np.sqrt(n / 10) * r.normal(size=n), np.zeros(n), s))  # fmt: skip
    yield Claim("equivalence at the margin", "continuous, skewed", False, lambda r, n, s:
                undeclared(-MARGIN + 0.1 * np.sqrt(n / 10) * units.skewed(r, n), np.zeros(n), s))  # fmt: skip
    yield Claim("equivalence at the margin", "three values within bounds", True, lambda r, n, s:
                undeclared(units.area_values(r, n), np.full(n, 0.95 - MARGIN), s, bounds=UNIT))  # fmt: skip
    # numbers without bounds: what is rarer than one in n cannot be told
    yield Claim("equivalence at the margin", "skewed, lognormal 1", False, lambda r, n, s:
                undeclared(MARGIN + 0.05 * np.sqrt(n / 10) * (r.lognormal(size=n) - np.exp(0.5)), np.zeros(n), s),
                0.86)  # fmt: skip
    yield Claim("equivalence at the margin", "a jump in one of n", False, lambda r, n, s:
                undeclared((r.random(n) < 1 / n) * n * MARGIN + 1e-3 * r.normal(size=n), np.zeros(n), s),
                0.6)  # fmt: skip
