"""What rewards prove: which candidates are not the best, and by how much at most a candidate falls short of it.

Rewards are a table of candidates × prompts whose columns stand in a random order, a row known up to some column. Two
candidates are compared on the same prompts, by the sequence of their differences. Where only one of the two was asked,
the other counts as it would at worst for what is to be shown, so a comparison needs no more than one of them; the
wealth can only be less than that of the whole table. Every statement is thus about a fixed table and a random order: it
holds whichever candidates were asked, when and why.

What may be false is counted: for the best candidate the comparison with each other one, for the unsteered one likewise,
and where there is a constraint, that the best candidate exceeds it, and for each candidate, that it does not. α is δ
over their number (a union bound, over statements about one candidate and not about all pairs).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from odesteer_tl.stats.sequences import refuted, upper_limit


@dataclass(frozen=True)
class Guarantee:
    """The tests of a race.

    Args:
        alpha: level of every single one.
        population: prompts there are, if the statement is of these; None: of prompts like these.
    """

    alpha: float
    population: int | None

    @classmethod
    def of(cls, arms: int, delta: float, constrained: bool, population: int | None) -> Guarantee:
        """The tests by which all that is said of so many candidates holds with probability ≥ 1 − δ."""
        statements = 2 * (arms - 1) + (1 + arms if constrained else 0)
        return cls(delta / max(statements, 1), population)

    def behind(
        self, rewards: Float[np.ndarray, "rows prompts"], best: Float[np.ndarray, " prompts"], by: float = 0.0
    ) -> Bool[np.ndarray, " rows"]:
        """Which rows are proven to exceed `best` by less than `by` in their mean.

        Args:
            rewards, best: in [0, 1], NaN where not asked.
        """
        return refuted(_differences(rewards, best), by, self.alpha, population=self.population)

    def lead(
        self, rewards: Float[np.ndarray, "rows prompts"], best: Float[np.ndarray, " prompts"]
    ) -> Float[np.ndarray, " rows"]:
        """By how much each row's mean exceeds that of `best` at most; negative where it is less for sure."""
        return upper_limit(_differences(rewards, best), self.alpha, bounds=(-1.0, 1.0), population=self.population)

    def exceeds(self, constraint: Float[np.ndarray, "rows prompts"], limit: float) -> Bool[np.ndarray, " rows"]:
        """Which rows are proven to have a mean constraint above a limit."""
        other = np.where(np.isnan(constraint), 1.0, 1 - constraint)
        return refuted(other, 1 - limit, self.alpha, population=self.population)

    def constraint(self, constraint: Float[np.ndarray, "rows prompts"]) -> Float[np.ndarray, " rows"]:
        """The largest mean constraint that a row may have."""
        return upper_limit(np.where(np.isnan(constraint), 1.0, constraint), self.alpha, population=self.population)


def _differences(rewards: NDArray[np.float64], best: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rewards less those of another candidate, unseen ones as the best of the former and the worst of the latter.

    Columns that nobody was asked are left out: they come last, and say nothing.
    """
    seen = ~np.isnan(rewards).all(0) | ~np.isnan(best)
    rewards, best = rewards[:, seen], best[seen]
    return np.where(np.isnan(rewards), 1.0, rewards) - np.where(np.isnan(best), 0.0, best)
