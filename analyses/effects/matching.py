"""Equal budgets: for every prompt the strength at which a method has spent a given amount."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

#: strengths tried before bisecting, and halvings after: 1.2 rad is then known to 2e-5
SCAN, HALVINGS = 12, 12

Measure = Callable[[Float[Tensor, " n"]], Float[Tensor, " n"]]


@dataclass(frozen=True, eq=False)
class Matched:
    """Strengths that spend a budget.

    Attributes:
        strength: one a prompt.
        reached: where the budget is spent; elsewhere `strength` is the one of those tried that spends most.
    """

    strength: Float[Tensor, " n"]
    reached: Bool[Tensor, " n"]


class Scan:
    """What is spent at `SCAN` evenly spaced strengths, from which any budget is matched.

    Args:
        measure: strengths, one a prompt, to what each spends; 0 at strength 0.
        n: prompts.
        highest: the largest strength tried.
    """

    def __init__(self, measure: Measure, n: int, highest: float) -> None:
        self.measure = measure
        self.grid = torch.linspace(0, highest, SCAN + 1, dtype=torch.float64)
        spent = [measure(strength.expand(n)).double() for strength in self.grid[1:]]
        self.spent = torch.stack([torch.zeros(n, dtype=torch.float64), *spent])

    def match(self, budget: float) -> Matched:
        """The least strength at which each prompt has spent `budget`, by bisection inside the first bracket.

        What is spent need not rise with the strength throughout: of several crossings the first is meant, as far as
        the scan can tell.
        """
        over = self.spent >= budget
        reached = over.any(0)
        after = torch.where(reached, over.int().argmax(0), self.spent.argmax(0)).clamp_min(1)
        low, high = self.grid[after - 1], self.grid[after]
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            enough = self.measure(middle).double() >= budget
            low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        best = torch.where(self.spent.amax(0) > 0, self.grid[self.spent.argmax(0)], self.grid[-1])
        return Matched(torch.where(reached, (low + high) / 2, best), reached)
