"""Other ways to spend a part of the grid's cost, none of which says how sure it is: for comparison."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float


def random_search(
    rewards: Float[np.ndarray, "arms prompts"], costs: Float[np.ndarray, " arms"], budget: float, seed: int
) -> tuple[int, float]:
    """The best of as many arms, drawn at random, as can be asked on all prompts.

    Args:
        costs: of asking an arm on one prompt. budget: as a share of the whole grid's cost.

    Returns:
        The arm, and the share that was spent.
    """
    order = np.random.default_rng(seed).permutation(len(rewards))
    spent = np.cumsum(costs[order]) / costs.sum()
    some = order[: max(1, int((spent <= budget + 1e-12).sum()))]
    return int(some[rewards[some].mean(1).argmax()]), float(costs[some].sum() / costs.sum())


def successive_halving(
    rewards: Float[np.ndarray, "arms prompts"], costs: Float[np.ndarray, " arms"], budget: float, seed: int
) -> tuple[int, float]:
    """All arms on a few prompts, the better half on as many more for the same cost, and so on.

    The same prompts are asked of all arms that are left, and earlier ones count (Karnin, Koren and Somekh 2013, ICML;
    Jamieson and Talwalkar 2016, AISTATS). At least one prompt a round is asked.

    Returns:
        The arm, and the share that was spent.
    """
    rng = np.random.default_rng(seed)
    n, total = rewards.shape[1], float(costs.sum()) * rewards.shape[1]
    table, left = rewards[:, rng.permutation(n)], rng.permutation(len(rewards))
    rounds, asked, spent = max(1, math.ceil(math.log2(len(rewards)))), 0, 0.0
    for _ in range(rounds):
        more = min(n - asked, max(1, int(budget * total / rounds / costs[left].sum())))
        asked, spent = asked + more, spent + more * float(costs[left].sum())
        order = np.argsort(-table[left, :asked].mean(1), kind="stable")
        left = left[order[: max(1, math.ceil(len(left) / 2))]]
    return int(left[0]), spent / total
