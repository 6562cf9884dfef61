"""Paired shares: exact unconditional inference on the difference of two shares of the same units.

Of n units b succeed under the first condition alone and c under the second alone; the difference of the shares is
(b − c)/n. Its hypotheses have a nuisance, the rate at which the two conditions part, over which the p-value is the
largest there is: Hsueh, Liu and Chen (2001), Biometrics 57, 478; Sidik (2003), Statistics in Medicine 22, 265. Tables
are ordered by the score statistic of Tango (1998), Statistics in Medicine 17, 891, which rises with b and falls with c,
so that the supremum over a one-sided hypothesis lies at its edge (Barnard's convexity).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import bdtrc, gammaln

from odesteer_tl.stats.units import is_binary

#: rates of parting at which a p-value is first looked for, and how often the neighbourhood of its largest is refined
RATES, REFINEMENTS = 48, 3


def table_of(
    first: NDArray[np.float64], second: NDArray[np.float64], difference: NDArray[np.float64]
) -> tuple[int, int, int] | None:
    """b, c and n of paired 0 and 1 whose differences, by unit, are these; None of other numbers.

    Of prompts that repeat the unit is the prompt, if its rows agree.
    """
    if not (is_binary(first) and is_binary(second) and np.isin(difference, (-1, 0, 1)).all()):
        return None
    return int((difference > 0).sum()), int((difference < 0).sum()), len(difference)


def score(b: NDArray[Any], c: NDArray[Any], n: int, difference: float) -> NDArray[np.float64]:
    """Tango's (1998, eq. 9) z of a table against a difference of shares.

    Args:
        b, c: units that succeed under the first, and under the second condition alone.
        n: units.
        difference: the hypothesis, in [−1, 1].

    Returns:
        z, 0 where the table is what the hypothesis says and cannot vary, infinite where it cannot be.
    """
    # the second share of those that part, at its largest likelihood under the hypothesis
    linear = -b - c + (2 * n - b + c) * difference
    constant = -c * difference * (1 - difference)
    q = (np.sqrt(np.maximum(linear**2 - 8 * n * constant, 0)) - linear) / (4 * n)
    variance, excess = n * (2 * q + difference * (1 - difference)), b - c - n * difference
    fixed = variance <= 1e-12 * n
    z = excess / np.sqrt(np.where(fixed, 1.0, variance))
    return np.where(fixed, np.where(np.abs(excess) < 1e-9 * n, 0.0, np.copysign(np.inf, excess)), z)


def pvalue(b: int, c: int, n: int, difference: float) -> float:
    """Exact unconditional p-value of "the difference is at most this": the largest over the rate of parting.

    Args:
        b, c, n: the table.
        difference: the edge of the hypothesis, in [−1, 1].
    """
    least = _least_in_tail(float(score(np.array(b), np.array(c), n, difference)), n, difference)
    low, high = abs(difference), 1.0
    # denser toward both ends, where the probability bends most
    rates = low + (high - low) * np.sin(np.linspace(0, np.pi / 2, RATES)) ** 2
    found = _tail(least, n, difference, rates)
    best = float(found.max())
    for _ in range(REFINEMENTS):
        at = int(found.argmax())
        rates = np.linspace(rates[max(at - 1, 0)], rates[min(at + 1, len(rates) - 1)], 9)
        found = _tail(least, n, difference, rates)
        best = max(best, float(found.max()))
    return min(best, 1.0)


@lru_cache(maxsize=65536)
def limits(b: int, c: int, n: int, level: float) -> tuple[float, float]:
    """The differences that neither one-sided test refutes at (1 − level)/2: an interval that never covers too little.

    Args:
        b, c, n: the table.
        level: of the interval.

    Returns:
        Its ends in [−1, 1].
    """
    return _lower(b, c, n, (1 - level) / 2), -_lower(c, b, n, (1 - level) / 2)


def _lower(b: int, c: int, n: int, alpha: float) -> float:
    """The least difference that is not refuted from below."""
    if c == n:
        return -1.0
    end = (b - c) / n
    found = brentq(lambda d: pvalue(b, c, n, d) - alpha, -1.0, end, xtol=1e-6)
    assert isinstance(found, float)
    return found


def _least_in_tail(z: float, n: int, difference: float) -> NDArray[np.int64]:
    """For each c the least b whose score is at least z (n − c + 1 where none is), by bisection."""
    c = np.arange(n + 1)
    low, high = np.zeros_like(c), n - c + 1
    while bool((low < high).any()):
        middle = (low + high) // 2
        inside = score(np.minimum(middle, n - c), c, n, difference) >= z - 1e-9
        high = np.where(inside, middle, high)
        low = np.where(inside, low, np.minimum(middle + 1, high))
    return low


def _tail(least: NDArray[np.int64], n: int, difference: float, rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(b ≥ least[c]) for each rate of parting, the difference being as said."""
    c = np.arange(n + 1)
    second = np.clip((rates - difference) / 2, 0, 1)[:, None]
    first = np.clip((rates + difference) / 2, 0, 1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(c == 0, 0.0, c * np.log(second)) + np.where(c == n, 0.0, (n - c) * np.log1p(-second))
        weight = np.exp(gammaln(n + 1) - gammaln(c + 1) - gammaln(n - c + 1) + logs)
        share = np.clip(np.where(second < 1, first / (1 - second), 0.0), 0, 1)
    where = (weight > 1e-13) & (least <= n - c)
    terms = np.zeros_like(weight)
    rows, columns = np.nonzero(where)
    b, trials, p = least[columns], n - columns, share[rows, 0]
    terms[rows, columns] = np.where(b == 0, 1.0, bdtrc(np.maximum(b - 1, 0), trials, p)) * weight[rows, columns]
    # what was left out counts against us
    return terms.sum(1) + np.where(weight <= 1e-13, weight, 0.0).sum(1)
