"""The equivalence test of paired 0 and 1 without simulation: how often it is declared, over every table there is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy

from odesteer_tl.stats import paired

ALPHA = 0.05
#: all n to 60, then some
SIZES = (*range(5, 61), 80, 100, 150, 200)
MARGINS = (0.05, 0.1, 0.2)
#: rates of parting at which the chances are added up
RATES = 800


def tables(n: int) -> NDArray[np.intp]:
    """Every b and c of n units: [tables, 2]."""
    b, c = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    return np.column_stack([b[b + c <= n], c[b + c <= n]])


def declared(every: NDArray[np.intp], n: int, margin: float) -> NDArray[np.bool_]:
    """Which tables are declared equivalent.

    The p-value of one side falls as the score of the table rises, so the least score that is declared is found by
    bisection. (The tests ask `stats.equivalence` itself of tables on either side of that edge.)
    """
    b, c = every.T
    z = np.minimum(paired.score(b, c, n, -margin), paired.score(c, b, n, -margin))
    order = np.argsort(z, kind="stable")
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        b, c = (int(k) for k in every[order[middle]])
        found = max(paired.pvalue(b, c, n, -margin), paired.pvalue(c, b, n, -margin))
        low, high = (low, middle) if found <= ALPHA else (middle + 1, high)
    region = np.zeros(len(every), dtype=bool)
    region[order[low:]] = True
    # scores that are equal but for rounding are on one side
    return region | (z >= z[order[low]] - 1e-9) if low < len(order) else region


def worst(n: int, margin: float, rates: int = RATES) -> float:
    """The largest chance that two conditions which differ by the margin are declared equivalent.

    Over the rates at which they part, from the least there can be (the margin) to 1, denser toward both ends.
    """
    every = tables(n)
    b, c = every[declared(every, n, margin)].T
    ways = gammaln(n + 1) - gammaln(b + 1) - gammaln(c + 1) - gammaln(n - b - c + 1)
    apart = margin + (1 - margin) * np.sin(np.linspace(0, np.pi / 2, rates)) ** 2
    return max((float(np.exp(ways + xlogy(b, (r + margin) / 2) + xlogy(c, max(r - margin, 0) / 2)
                             + xlogy(n - b - c, 1 - r)).sum()) for r in apart), default=0.0)  # fmt: skip
