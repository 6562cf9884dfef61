"""Claims about bands along curves and where they peak."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from analyses.inference import units
from analyses.inference.claim import LEVEL, Claim, inside, over
from analyses.inference.units import Rng, prompts_of
from odesteer_tl import stats


def curves(k: int) -> Iterator[Claim]:
    """Bands of means and of shares, and the peak of a mean curve; `k` resamples."""
    zeros, steps = np.zeros(11), np.arange(11)
    yield Claim("band of means", "continuous, 11 points", False, lambda r, n, s: over(
        stats.mean_band(units.curves(r, n), LEVEL, k, s), zeros))  # fmt: skip
    yield Claim("band of means", "continuous, prompts repeat", False, lambda r, n, s: over(
        stats.mean_band(units.curves(r, n, repeated=True), LEVEL, k, s, prompts_of(n)), zeros))  # fmt: skip
    for p in (0.5, 0.95):
        yield Claim("band of shares", f"binary, {p}, 12 points", False, lambda r, n, s, p=p: over(
            stats.share_band(r.random((n, 12)) < p, LEVEL, k, s), np.full(12, p)))  # fmt: skip

    def peak(r: Rng, n: int, s: int, mean: NDArray[np.float64], true: float, repeated: bool = False) -> bool:
        x = mean + units.curves(r, n, repeated=repeated)
        return inside(stats.peak(x, steps, LEVEL, k, s, prompts_of(n) if repeated else None), true)

    tent = partial(peak, mean=units.kink(), true=5.4)
    yield Claim("peak", "a smooth curve", False, partial(peak, mean=units.parabola(), true=5.0))
    yield Claim("peak", "a kink between grid points", False, tent)
    yield Claim("peak", "a kink, prompts repeat", False, partial(tent, repeated=True))
    yield from _hard_curves(k)


def _hard_curves(k: int) -> Iterator[Claim]:
    """Curves that all start at 0, heavy tails, shares that hang together, exclude each other or lie near 0 and 1."""

    def walks(r: Rng, n: int, s: int, heavy: bool) -> bool:
        steps = r.standard_t(3, size=(n, 20)) if heavy else r.exponential(size=(n, 20)) - 1
        return over(stats.mean_band(np.cumsum(np.c_[np.zeros(n), steps], axis=1), LEVEL, k, s), np.zeros(21))

    def shares(r: Rng, n: int, s: int, kind: str) -> bool:
        own, p = r.random((n, 1)), np.full(12, 0.8)
        if kind == "exclude":
            p = np.repeat([0.8, 0.2], 6)
            return over(stats.share_band(np.hstack([np.repeat(own < 0.8, 6, 1), np.repeat(own >= 0.8, 6, 1)]),
                                         LEVEL, k, s), p)  # fmt: skip
        if kind == "mixed":
            p = np.linspace(0.01, 0.99, 12)
            return over(stats.share_band(r.random((n, 12)) < p, LEVEL, k, s), p)
        return over(stats.share_band(np.where(r.random((n, 12)) < 0.7, own, r.random((n, 12))) < p, LEVEL, k, s), p)

    yield Claim("band of means", "walks from 0, skewed", False, partial(walks, heavy=False))
    yield Claim("band of means", "walks from 0, heavy tails", False, partial(walks, heavy=True))
    yield Claim("band of shares", "binary, alike, 12 points", False, partial(shares, kind="alike"))
    yield Claim("band of shares", "binary, exclude each other", False, partial(shares, kind="exclude"))
    yield Claim("band of shares", "binary, .01 to .99", False, partial(shares, kind="mixed"))
    yield Claim("peak", "at the end of the grid", False, lambda r, n, s: inside(
        stats.peak(-0.05 * np.arange(11) + units.curves(r, n), np.arange(11), LEVEL, k, s), 0))  # fmt: skip
