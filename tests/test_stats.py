"""Intervals: against their definitions and by coverage."""

import numpy as np
import pytest
from scipy.stats import beta

from odesteer_tl import stats


@pytest.mark.parametrize(("k", "n"), [(0, 100), (3, 10), (817, 817), (250, 500)])
def test_share_is_clopper_pearson(k, n):
    found = stats.share([True] * k + [False] * (n - k))
    low = beta.ppf(0.025, k, n - k + 1) if k else 0.0
    high = beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    assert (found.value, found.n) == (k / n, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_paired_difference_covers_and_uses_the_pairing():
    rng = np.random.default_rng(0)
    covered, widths = 0, []
    for _ in range(60):
        base = rng.normal(size=80) * 5
        first, second = base + rng.normal(size=80) + 0.5, base + rng.normal(size=80)
        found = stats.paired_difference(first, second, resamples=300)
        covered += found.low <= 0.5 <= found.high
        widths.append(found.high - found.low)
    assert covered >= 50
    assert np.mean(widths) < 1.0  # unpaired, the spread of `base` would make it about 3


def test_bad_input():
    with pytest.raises(ValueError, match="successes is empty"):
        stats.share([])
    with pytest.raises(ValueError, match="paired difference"):
        stats.paired_difference([1.0], [1.0, 2.0])
    same = stats.paired_difference([1.0, 2.0], [1.0, 2.0])
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
