"""Other ways to spend a part of the grid's cost, none of which says how sure it is: for comparison."""

from __future__ import annotations

import math
from importlib import import_module

import numpy as np
import pandas as pd
from jaxtyping import Float, Int


def random_search(
    rewards: Float[np.ndarray, "arms prompts"], costs: Float[np.ndarray, " arms"], budget: float, seed: int
) -> tuple[int, float]:
    """The best of as many candidates, drawn at random, as can be asked on all prompts.

    Args:
        costs: of asking a candidate on one prompt; like `budget`, as a share of the whole grid's.

    Returns:
        The candidate, and the share that was spent.
    """
    order, n = np.random.default_rng(seed).permutation(len(rewards)), rewards.shape[1]
    spent = np.cumsum(costs[order]) * n
    some = order[: max(1, int((spent <= budget + 1e-12).sum()))]
    return int(some[rewards[some].mean(1).argmax()]), float(costs[some].sum() * n)


def successive_halving(
    rewards: Float[np.ndarray, "arms prompts"], costs: Float[np.ndarray, " arms"], budget: float, seed: int
) -> tuple[int, float]:
    """All candidates on a few prompts, the better half on as many more for the same cost, and so on.

    The same prompts are asked of all candidates that are left, and earlier ones count (Karnin, Koren and Somekh 2013,
    ICML; Jamieson and Talwalkar 2016, AISTATS). At least one prompt a round is asked.

    Returns:
        The candidate, and the share that was spent.
    """
    rng = np.random.default_rng(seed)
    n = rewards.shape[1]
    table, left = rewards[:, rng.permutation(n)], rng.permutation(len(rewards))
    rounds, asked, spent = max(1, math.ceil(math.log2(len(rewards)))), 0, 0.0
    for _ in range(rounds):
        more = min(n - asked, max(1, int(budget / rounds / costs[left].sum())))
        asked, spent = asked + more, spent + more * float(costs[left].sum())
        order = np.argsort(-table[left, :asked].mean(1), kind="stable")
        left = left[order[: max(1, math.ceil(len(left) / 2))]]
    return int(left[0]), spent


def tree_parzen(
    rewards: Float[np.ndarray, "arms prompts"], costs: Float[np.ndarray, " arms"], budget: float, seed: int,
    arms: pd.DataFrame, block: int,
) -> tuple[int, float]:  # fmt: skip
    """Optuna's tree-structured Parzen estimator with its median pruner, both as they come (Akiba et al. 2019, KDD).

    A trial is a candidate, asked on a block of prompts after the other until all are asked or it is pruned; what was
    asked before costs nothing. The best of the candidates that were asked most is taken.

    Args:
        arms: layer, label, budget and level of all candidates but the first, unsteered one, which is no trial.

    Raises:
        ImportError: optuna is not installed.
    """
    try:
        optuna = import_module("optuna")
    except ImportError as error:
        raise ImportError("the rival tree_parzen needs optuna; pip install 'odesteer_tl[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    n = rewards.shape[1]
    table, asked = rewards[:, np.random.default_rng(seed).permutation(n)], np.zeros(len(rewards), dtype=int)
    kind = [f"{label}, {budget}" for label, budget in zip(arms["label"], arms["budget"], strict=True)]
    layer: list[int] = arms["layer"].rank(method="dense").astype(int).tolist()
    level: list[int] = arms.groupby("budget")["level"].rank(method="dense").astype(int).tolist()
    number = {place: i + 1 for i, place in enumerate(zip(kind, layer, level, strict=True))}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(2 * len(rewards)):  # once it proposes what it knows, nothing more is spent
        trial = study.ask()
        place = (trial.suggest_categorical("kind", sorted(set(kind))), trial.suggest_int("layer", 1, max(layer)),
                 trial.suggest_int("level", 1, max(level)))  # fmt: skip
        arm = number.get(place)
        state = optuna.trial.TrialState.PRUNED
        for end in () if arm is None else (*range(block, n, block), n):
            if float(costs @ asked) + max(0, end - asked[arm]) * costs[arm] > budget:
                return _taken(table, asked), float(costs @ asked)
            asked[arm] = max(end, asked[arm])
            trial.report(float(table[arm, :end].mean()), end)
            if end == n:
                state = optuna.trial.TrialState.COMPLETE
            elif trial.should_prune():
                break
        study.tell(trial, float(table[arm].mean()) if state == optuna.trial.TrialState.COMPLETE else None, state)
    return _taken(table, asked), float(costs @ asked)


def _taken(table: Float[np.ndarray, "arms prompts"], asked: Int[np.ndarray, " arms"]) -> int:
    """The best of the candidates that were asked most."""
    most = int(asked.max())
    return int(np.where(asked == most, table[:, : max(most, 1)].mean(1), -np.inf).argmax())
