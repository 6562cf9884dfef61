"""Equal budgets: for every prompt the strength at which a method has spent a given amount."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.optimize import elementwise
from torch import Tensor

#: strengths tried before a root is looked for
SCAN = 12
#: a root is found when this share of the budget is missing or the strength known to 1e-6 of the largest
TOLERANCES = {"fatol": 1e-4, "frtol": 0.0, "xrtol": 0.0}

Steered = Callable[[Float[Tensor, " n"]], Float[Tensor, "n pos d"]]
Spent = Callable[[Float[Tensor, "n pos d"]], Float[Tensor, " n"]]


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

    Args:
        steered: strengths, one a prompt, to what they lead to.
        budgets: what that spends, by name; 0 at strength 0.
        n: prompts.
        highest: the largest strength tried.
    """

    def __init__(self, steered: Steered, budgets: Mapping[str, Spent], n: int, highest: float) -> None:
        self.steered, self.budgets, self.n = steered, budgets, n
        self.grid = torch.linspace(0, highest, SCAN + 1, dtype=torch.float64)
        self._spent: dict[str, list[Float[Tensor, " n"]]] = {}

    def spent(self, budget: str, level: float = math.inf) -> Float[Tensor, "strengths n"]:
        """What is spent of a budget at the strengths of the scan, up to the first at which all have spent `level`.

        The first crossing is below that; strengths beyond are tried when a higher level asks for them.
        """
        rows = self._spent.setdefault(budget, [torch.zeros(self.n, dtype=torch.float64)])
        most = torch.stack(rows).amax(0)
        while len(rows) < len(self.grid) and not bool((most >= level).all()):
            strength = self.grid[len(rows)].expand(self.n)
            rows.append(self.budgets[budget](self.steered(strength)).double())
            most = torch.maximum(most, rows[-1])
        return torch.stack(rows)

    def match(self, budget: str, level: float) -> Matched:
        """The least strength at which each prompt has spent `level` of a budget, inside the first bracket.

        What is spent need not rise with the strength throughout: of several crossings the first is meant, as far as
        the scan can tell. Where it jumps over the level, the strength is that of the jump.
        """
        spent = self.spent(budget, level)
        over = spent >= level
        reached = over.any(0)
        after = over.int().argmax(0).clamp_min(1)
        found = self.grid[after]
        if reached.any():
            found[reached] = self._roots(budget, level, reached.nonzero()[:, 0], after)
        usual = found[reached].median() if reached.any() else self.grid[-1]
        best = torch.where(spent.amax(0) > 0, self.grid[spent.argmax(0)], usual)
        return Matched(torch.where(reached, found, best), reached)

    def _roots(
        self, budget: str, level: float, rows: Int[Tensor, " reached"], after: Int[Tensor, " n"]
    ) -> Float[Tensor, " reached"]:
        """Chandrupatla's roots of what is spent, for some of the prompts, each between two strengths of the scan."""
        ends = self.grid[after - 1].numpy(), self.grid[after].numpy()
        known = [self.spent(budget, level).gather(0, at[None])[0].numpy() for at in (after - 1, after)]

        def excess(strength: NDArray[np.float64], row: NDArray[np.int64]) -> NDArray[np.float64]:
            for end, spent in zip(ends, known, strict=True):
                if np.array_equal(strength, end[row]):  # where scipy begins: the scan has been there
                    return spent[row] / level - 1
            # scipy asks for the rows that are still open; the others stand anywhere, since a steer is of all prompts
            trial = torch.from_numpy(ends[1]).clone()
            trial[row] = torch.from_numpy(strength)
            return (self.budgets[budget](self.steered(trial)).double() / level - 1).numpy()[row]

        tolerances = {**TOLERANCES, "xatol": 1e-6 * float(self.grid[-1])}
        at = rows.numpy()
        root = elementwise.find_root(excess, (ends[0][at], ends[1][at]), args=(at,), tolerances=tolerances)
        return torch.from_numpy(root.x)
