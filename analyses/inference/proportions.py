"""Claims about shares, means and medians."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from analyses.inference import units
from analyses.inference.claim import LEVEL, Claim, inside
from analyses.inference.units import Rng, prompts_of
from odesteer_tl import stats

UNIT = (0.0, 1.0)


def shares() -> Iterator[Claim]:
    """Exact intervals of shares, also of rare successes and of prompts that repeat."""
    for p in (0.5, 0.95):
        yield Claim("share", f"binary, {p}", True, lambda r, n, s, p=p: inside(stats.share(units.flips(r, n, p)), p))
        yield Claim("share", f"binary, {p}, prompts repeat", False, lambda r, n, s, p=p: inside(
            stats.share(units.flips(r, n, p, True), groups=prompts_of(n)), p))  # fmt: skip
    yield Claim("share", "binary, one success in n", True, lambda r, n, s: inside(
        stats.share(units.flips(r, n, 1 / n)), 1 / n))  # fmt: skip
    for p in (0.5, 0.95):
        yield Claim("share", f"binary, {p}, prompts of unequal size", False, lambda r, n, s, p=p: inside(
            stats.share(*_unequal_flips(r, n, p)), p))  # fmt: skip


def _unequal_flips(rng: Rng, n: int, share: float) -> tuple[NDArray[np.bool_], float, NDArray[np.intp]]:
    """Successes of prompts of which a tenth has fifty rows, the level, and the prompt of each row."""
    prompts = units.unequal_prompts(n)
    own = rng.beta(share, 1 - share, size=n)
    return rng.random(len(prompts)) < own[prompts], LEVEL, prompts


def sequences() -> Iterator[Claim]:
    """Limits that hold at all times: they only close in, so that those after the last unit hold with all before."""
    for p in (0.5, 0.95):
        yield Claim("confidence sequence", f"binary, {p}, all times", True, lambda r, n, s, p=p: _at_all_times(
            r.random(n) < p, None, p))  # fmt: skip
    yield Claim("confidence sequence", "three values, without replacement, all times", True, lambda r, n, s: _of_half(
        r.choice([0.0, 0.5, 1.0], size=2 * n)))  # fmt: skip


def _of_half(x: NDArray[np.float64]) -> bool:
    """Whether half of a finite population, in random order, says where its mean is."""
    return _at_all_times(x[: len(x) // 2], len(x), float(x.mean()))


def _at_all_times(x: NDArray[np.generic], population: int | None, truth: float) -> bool:
    low, high = stats.confidence_sequence(x, LEVEL, population=population)
    return bool(low[-1] - 1e-9 <= truth <= high[-1] + 1e-9)


def means(k: int) -> Iterator[Claim]:
    """Means, within known bounds too, and medians; `k` resamples."""
    yield Claim("mean", "continuous, normal", False, lambda r, n, s: inside(
        stats.mean(r.normal(size=n), LEVEL, k, s), 0))  # fmt: skip
    yield Claim("mean", "continuous, skewed", False, lambda r, n, s: inside(
        stats.mean(units.skewed(r, n), LEVEL, k, s), 0))  # fmt: skip
    yield Claim("mean", "continuous, prompts repeat", False, lambda r, n, s: inside(
        stats.mean(units.skewed(r, n, True), LEVEL, k, s, prompts_of(n)), 0))  # fmt: skip
    yield Claim("mean", "three values, mean .95", False, lambda r, n, s: inside(
        stats.mean(units.area_values(r, n), LEVEL, k, s), 0.95))  # fmt: skip
    yield Claim("mean within bounds", "three values, mean .95", True, lambda r, n, s: inside(
        stats.mean(np.r_[units.area_values(r, n)] * 0.999, bounds=UNIT), 0.95 * 0.999))  # fmt: skip
    yield Claim("median", "continuous, skewed", True, lambda r, n, s: inside(
        stats.median(units.skewed(r, n)), float(np.log(2)) - 1))  # fmt: skip
    yield Claim("median", "ties, three values", True, lambda r, n, s: inside(
        stats.median(r.choice([0.0, 1.0, 2.0], p=[0.3, 0.3, 0.4], size=n)), 1))  # fmt: skip
    yield from _hard_means(k)


def _hard_means(k: int) -> Iterator[Claim]:
    """Heavy tails, prompts of unequal size, and what no n units can tell of: stated, or within bounds."""
    yield Claim("mean", "heavy tails, t with 2 d.f.", False, lambda r, n, s: inside(
        stats.mean(r.standard_t(2, size=n), LEVEL, k, s), 0))  # fmt: skip
    yield Claim("mean", "continuous, prompts of unequal size", False, lambda r, n, s: inside(
        stats.mean(*_unequal_numbers(r, n, k, s)), 0))  # fmt: skip
    for sigma, least in ((1.0, 0.92), (1.5, 0.86)):
        yield Claim("mean", f"skewed, lognormal {sigma:g}", False, lambda r, n, s, z=sigma: inside(
            stats.mean(r.lognormal(sigma=z, size=n), LEVEL, k, s), float(np.exp(z**2 / 2))), least)  # fmt: skip
    yield Claim("mean", "a jump in one of n", False, lambda r, n, s: inside(
        stats.mean(0.01 * r.normal(size=n) + (r.random(n) < 1 / n), LEVEL, k, s), 1 / n), 0.6)  # fmt: skip
    yield Claim("mean within bounds", "a jump in one of n", True, lambda r, n, s: inside(
        stats.mean(np.clip(0.5 * (r.random(n) < 1 / n) + 0.25, 0, 1), bounds=UNIT), 0.25 + 0.5 / n))  # fmt: skip


def _unequal_numbers(
    rng: Rng, n: int, k: int, seed: int
) -> tuple[NDArray[np.float64], float, int, int, NDArray[np.intp]]:
    """What `mean` is asked of prompts of which a tenth has fifty rows."""
    prompts = units.unequal_prompts(n)
    own = rng.exponential(size=n) - 1
    return own[prompts] + 0.3 * rng.normal(size=len(prompts)), LEVEL, k, seed, prompts
