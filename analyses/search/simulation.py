"""Races of simulated candidates, whose means are known: how often what is said of them is false.

Problems differ in how far the best candidate is ahead (not at all, to half), in what the others are like, and in what a
reward is: 0 and 1, numbers, or 0 and 1 that hang together since some prompts are easy. Each is asked twice: of one
race, what it said; and of all races there could be, whatever they ask and whenever they end, whether any could have
said what is false.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.search.guarantee import Guarantee
from analyses.search.race import Pull, Race
from analyses.search.rules import Rules
from odesteer_tl.stats.sequences import refuted

#: by how much the best candidate is ahead of the next
GAPS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
#: what rewards are
KINDS = ("binary", "numbers", "easy and hard")
BUDGETS = (0.1, 0.3, 1.0)


@dataclass(frozen=True, eq=False)
class Problem:
    """Arms of known means, the first one unsteered.

    Attributes:
        means: over all prompts there could be. rewards: [candidates, prompts].
    """

    means: NDArray[np.float64]
    rewards: NDArray[np.float64]

    @classmethod
    def of(cls, number: int, arms: int, prompts: int, seed: int) -> Problem:
        """The problem of a number, among candidates of which one is the unsteered one."""
        rng = np.random.default_rng([seed, number])
        gap, kind = GAPS[number % len(GAPS)], KINDS[number % len(KINDS)]
        top = rng.uniform(max(0.5, gap), 1)
        means = np.full(arms, top - gap)
        if rng.random() < 0.5:
            means = rng.uniform(0, top - gap, arms)
            means[rng.integers(arms)] = top - gap
        means[rng.integers(arms)] = top
        if kind == "numbers":
            shape = np.clip(means, 1e-9, 1 - 1e-9)[:, None]
            return cls(means, rng.beta(2 * shape, 2 * (1 - shape), (arms, prompts)))
        easy = rng.random(prompts)
        own = rng.random((arms, prompts))
        if kind == "easy and hard":  # the same for seven candidates in ten, and uniform in any case
            own = np.where(rng.random((arms, prompts)) < 0.7, easy, own)
        return cls(means, (own < means[:, None]).astype(float))

    def false(self, number: int, seed: int) -> dict[str, float | bool | str]:
        """One race: what it said that is not so, and what it cost."""
        rules = Rules(
            budget=BUDGETS[number // len(KINDS) % len(BUDGETS)],
            block=20,
            width=12,
            new_prompts=number % 2 == 1,
            seed=seed,
        )
        race = Race([f"arm {i}" for i in range(1, len(self.means))], self.rewards.shape[1], rules)

        def ask(pulls: list[Pull]) -> list[dict[str, NDArray[np.float64]]]:
            return [{"reward": self.rewards[race.arms.index(p.arm), list(p.prompts)]} for p in pulls]

        said = race.run(ask)
        arm, true = race.arms.index(said.candidate), self.means if rules.new_prompts else self.rewards.mean(1)
        return {
            "short": bool(true.max() - true[arm] > said.epsilon + 1e-9),
            "short_new": bool(self.means.max() - self.means[arm] > said.epsilon_new + 1e-9),
            "out": not race.standing[true >= true.max() - 1e-12].any(),
            "gain": bool(said.gain > 0 and true[arm] - true[0] < said.gain - 1e-9),
            "verdict": said.verdict, "cost": said.cost, "epsilon": said.epsilon,
            "missed": float(true.max() - true[arm]),
        }  # fmt: skip

    def refutable(self, seed: int, *, new_prompts: bool, delta: float = 0.05) -> bool:
        """Whether any race, asking what it likes and ending when it likes, could say something false of it."""
        arms, prompts = self.rewards.shape
        guarantee = Guarantee.of(arms, delta, constrained=False, population=None if new_prompts else prompts)
        rewards = self.rewards[:, np.random.default_rng(seed).permutation(prompts)]
        true = self.means if new_prompts else rewards.mean(1)
        return any(bool(refuted(rewards[arm] - rewards, true[arm] - true, guarantee.alpha,
                                population=guarantee.population).any()) for arm in (int(true.argmax()), 0))  # fmt: skip


def simulate(first: int, last: int, arms: int = 60, prompts: int = 100, seed: int = 0) -> pd.DataFrame:
    """Problems of these numbers: a row each, with what was false (`short`, `short_new`, `out`, `gain`, `refutable`)."""
    rows: list[dict[str, object]] = []
    for number in range(first, last):
        problem, own = Problem.of(number, arms, prompts, seed), seed + number
        rows.append({
            "problem": number, "gap": GAPS[number % len(GAPS)], "kind": KINDS[number % len(KINDS)],
            "budget": BUDGETS[number // len(KINDS) % len(BUDGETS)], "new_prompts": number % 2 == 1,
            **problem.false(number, own), "refutable": problem.refutable(own, new_prompts=number % 2 == 1),
        })  # fmt: skip
    return pd.DataFrame(rows)


def some(context: Mapping[str, int], config: Mapping[str, Any]) -> pd.DataFrame:
    """The problems of a cell; what worker processes import."""
    return simulate(config["first"], config["last"], **context)
