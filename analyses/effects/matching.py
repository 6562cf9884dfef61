"""Equal budgets: for every prompt the strength at which a method has spent a given amount."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

#: strengths tried before a root is looked for
SCAN = 12
#: how what is spent grows with a small strength: its root of this order is nearly a straight line
ORDERS = {"kl": 2.0}
#: a root is found when this share of the budget is missing or the strength known to 1e-6 of the largest; what a budget
#: does to an outcome is known to a few hundredths of it
MISSING = 1e-3
#: of a search, which has long ended
STEPS = 100

#: a budget, strengths, and the prompts that have them, to what each of these spends; 0 at strength 0
Spent = Callable[[str, Float[Tensor, " m"], Int[Tensor, " m"]], Float[Tensor, " m"]]


@dataclass(frozen=True, eq=False)
class Matched:
    """Strengths that spend a budget.

    Attributes:
        strength: one a prompt.
        reached: where the budget is spent; elsewhere `strength` is the one of those tried that spends most, and where
            nothing is spent at any, the median of those that reached it (the largest tried, if none did).
    """

    strength: Float[Tensor, " n"]
    reached: Bool[Tensor, " n"]


class Scan:
    """What is spent at `SCAN` evenly spaced strengths, from which any level of any budget is matched.

    Only prompts whose strength is still open are asked for: a prompt that has spent a level is done with it. A cell's
    strengths do not depend on which cells came before, of which only the scan is kept.

    Args:
        spent: what prompts spend.
        n: prompts.
        highest: the largest strength tried.
        levels: the highest that will be asked for, by budget, up to which is scanned at once; for time alone.
    """

    def __init__(self, spent: Spent, n: int, highest: float, levels: Mapping[str, float] = MappingProxyType({})):
        self.spent, self.n, self.levels = spent, n, levels
        self.grid = torch.linspace(0, highest, SCAN + 1, dtype=torch.float64)
        self._tables: dict[str, Float[Tensor, "strengths n"]] = {}

    def scanned(self, budget: str, level: float) -> Float[Tensor, "strengths n"]:
        """What is spent of a budget at the strengths of the scan; NaN where a prompt was not asked for.

        Each prompt is asked for up to the first strength at which it has spent `level`: the first crossing is below.
        """
        level = max(level, self.levels.get(budget, level))
        empty = torch.full((len(self.grid), self.n), torch.nan, dtype=torch.float64)
        empty[0] = 0.0
        table = self._tables.setdefault(budget, empty)
        for k in range(1, len(self.grid)):
            over = (table[:k] >= level).any(0)
            rows = (~over & table[k].isnan()).nonzero()[:, 0]
            if len(rows):
                table[k, rows] = self.spent(budget, self.grid[k].expand(len(rows)), rows).double()
        return table

    def match(self, budget: str, level: float) -> Matched:
        """The least strength at which each prompt has spent `level` of a budget, inside the first bracket.

        What is spent need not rise with the strength throughout: of several crossings the first is meant, as far as
        the scan can tell. Where it jumps over the level, the strength is that of the jump.
        """
        table = self.scanned(budget, level)
        over = table >= level
        reached = over.any(0)
        after = over.int().argmax(0).clamp_min(1)
        found = self.grid[after]
        if reached.any():
            rows = reached.nonzero()[:, 0]
            found[rows] = self._roots(budget, level, rows, after[rows])
        usual = found[reached].median() if reached.any() else self.grid[-1]
        tried = table.nan_to_num(nan=-math.inf)
        best = torch.where(tried.amax(0) > 0, self.grid[tried.argmax(0)], usual)
        return Matched(torch.where(reached, found, best), reached)

    def _roots(
        self, budget: str, level: float, rows: Int[Tensor, " m"], after: Int[Tensor, " m"]
    ) -> Float[Tensor, " m"]:
        """Where what is spent crosses the level, each row between the strength of the scan before `after` and that.

        Brent's inverse quadratic steps, every fourth one a halving. Unlike scipy's roots, which begin by halving, the
        first step already uses the scan: a halving less is a third of the cost.
        """
        order = ORDERS.get(budget, 1.0)

        def excess(spent: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
            return (spent.double().clamp_min(0) / level).pow(1 / order) - 1

        at = torch.stack([(after - 2).clamp_min(0), after - 1, after])
        x, y = self.grid[at], excess(self._tables[budget][at, rows])
        # of three points, the last two are the ends of the bracket
        for k in range(1, STEPS):
            open_ = ((x[2] - x[1] > 1e-6 * self.grid[-1]) & (y[1:].abs().amin(0) > MISSING / order)).nonzero()[:, 0]
            if not len(open_):
                break
            tried = _inverse_quadratic(x[:, open_], y[:, open_], halve=k % 4 == 0)
            value = excess(self.spent(budget, tried, rows[open_]))
            x[:, open_], y[:, open_] = _tightened(x[:, open_], y[:, open_], tried, value)
        return x[1:].gather(0, y[1:].abs().argmin(0, keepdim=True))[0]


def _inverse_quadratic(x: Float[Tensor, "3 m"], y: Float[Tensor, "3 m"], halve: bool) -> Float[Tensor, " m"]:
    """Where the parabola x(y) through three points is at y = 0; the line through the last two, or the middle between
    them, where that is not inside of them."""
    low, high = x[1], x[2]
    middle = (low + high) / 2
    if halve:
        return middle
    line = low - y[1] * (high - low) / (y[2] - y[1])
    a, b, c = y
    parabola = (
        x[0] * b * c / ((a - b) * (a - c)) + x[1] * a * c / ((b - a) * (b - c)) + x[2] * a * b / ((c - a) * (c - b))
    )
    found = torch.where((parabola > low) & (parabola < high), parabola, line)
    return torch.where((found > low) & (found < high), found, middle)


def _tightened(
    x: Float[Tensor, "3 m"], y: Float[Tensor, "3 m"], tried: Float[Tensor, " m"], value: Float[Tensor, " m"]
) -> tuple[Float[Tensor, "3 m"], Float[Tensor, "3 m"]]:
    """The bracket with a new end; the end that it replaces is the third point."""
    below = value < 0
    return tuple(
        torch.stack([torch.where(below, z[1], z[2]), torch.where(below, new, z[1]), torch.where(below, z[2], new)])
        for z, new in ((x, tried), (y, value))
    )  # pyright: ignore[reportReturnType]
