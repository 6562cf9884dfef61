"""What a search would have found, and what it would have cost, in the place of a grid that was run in full.

The rewards are those of the grid, so that nothing is computed again, and all that is compared sees the same ones. What
is found is judged on the grid's test prompts, which no search sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analyses.effects.units import by_unit
from analyses.search.answer import Answer
from analyses.search.race import UNSTEERED, Pull, Race
from analyses.search.reward import is_shift, reward
from analyses.search.rivals import random_search, successive_halving, tree_parzen
from analyses.search.rules import Rules

if TYPE_CHECKING:
    from analyses.effects.estimate import Shares

#: what tells the candidates of a layer study apart
ARM = ["layer", "label", "budget", "level"]


@dataclass(frozen=True, eq=False)
class Grid:
    """A finished grid: every candidate on every prompt.

    Attributes:
        arms: a row a candidate (`ARM`, and `layers` where some act on several), without the unsteered one, which stands
            before them in what follows.
        select, test: reward of each candidate (`analyses.search.reward`) on the prompts to choose on and to report on;
            those of one unit are joined.
        costs: of a candidate on one select prompt, as a share of what the grid costs.
        first: what every search spends before it asks: the unsteered prompts, where rewards are held against them.
        score: of each candidate, its mean on the test prompts; nats, where completions were asked for.
    """

    arms: pd.DataFrame
    select: NDArray[np.float64]
    test: NDArray[np.float64]
    costs: NDArray[np.float64]
    first: float
    score: NDArray[np.float64]

    @classmethod
    def of(cls, rows: pd.DataFrame, shares: Shares | None = None) -> Grid:
        """From the rows of a layer study.

        Args:
            shares: what a candidate costs by itself and what the grid does; left out, all candidates cost the same.

        Raises:
            ValueError: no select or no test prompts, no unsteered candidate, or a candidate that was not asked on all
                of them.
        """
        parts: list[NDArray[np.float64]] = []
        rows = rows.assign(reward=reward(rows, pd.DataFrame(rows[rows["label"] == UNSTEERED])))
        for split in ("select", "test"):
            some = rows[rows["split"] == split].pivot(index="prompt", columns=ARM, values="reward").sort_index(axis=1)
            wide = by_unit(some, rows).T
            if not len(wide) or wide.index.get_level_values("label")[0] != UNSTEERED or some.isna().to_numpy().any():
                raise ValueError(
                    f"rows must hold every candidate, the unsteered one among them, on every prompt; their split "
                    f"{split!r} does not: run the study with select and test prompts, and to its end"
                )
            parts.append(wide.to_numpy())
        each = rows.drop_duplicates(ARM).set_index(ARM, drop=False).loc[wide.index]
        configs = [{str(name): x for name, x in own.items() if pd.notna(x)} for own in each.to_dict("records")]
        arms = pd.DataFrame(configs)[[*ARM, *(["layers"] if "layers" in rows else [])]]
        costs, whole = np.ones(len(arms)), float(len(arms))
        if shares is not None:
            costs, whole = np.array([shares.alone(c) for c in configs]), shares.grid(configs)
        costs /= whole * parts[0].shape[1]
        test = rows[rows["split"] == "test"]
        score = by_unit(test.pivot(index="prompt", columns=ARM, values="score").sort_index(axis=1), rows).T.mean(axis=1)
        return cls(pd.DataFrame(arms.iloc[1:]).reset_index(drop=True), parts[0], parts[1], costs,
                   float(costs[0]) * parts[0].shape[1] * is_shift(rows), score.to_numpy(dtype=float))  # fmt: skip

    @property
    def names(self) -> list[str]:
        """Of the candidates, the unsteered one first."""
        return [UNSTEERED, *arm_names(self.arms)]

    def race(self, rules: Rules, looks: ArrayLike | None = None) -> tuple[Answer, int]:
        """The race that would have been run, and its candidate's row."""
        names = self.names
        costs = dict(zip(names, self.costs.tolist(), strict=True))
        race = Race(names[1:], self.select.shape[1], rules, places=places(self.arms), looks=looks, costs=costs,
                    whole=1 / self.select.shape[1])  # fmt: skip

        def ask(pulls: list[Pull]) -> list[dict[str, NDArray[np.float64]]]:
            return [{"reward": self.select[names.index(pull.arm), list(pull.prompts)]} for pull in pulls]

        answer = race.run(ask)
        return answer, names.index(answer.candidate)


def arm_names(arms: pd.DataFrame) -> list[str]:
    """A candidate in words: `CAA, layer 2, angle 0.2`; what acts on several layers has them in its label."""
    several = arms["layers"].notna() if "layers" in arms else np.zeros(len(arms), dtype=bool)
    where = np.where(several, "", ", layer " + arms["layer"].astype(str))
    return [f"{label}{at}, {budget} {level:g}" for label, at, budget, level in
            zip(arms["label"], where, arms["budget"], arms["level"], strict=True)]  # fmt: skip


def places(arms: pd.DataFrame) -> NDArray[np.float64]:
    """Where candidates lie: layer, rank of the level within its budget, and an axis for each further way to steer."""
    kinds = pd.get_dummies(arms["label"].astype(str) + arms["budget"].astype(str)).to_numpy(dtype=float)
    rank = arms.groupby("budget")["level"].rank(method="dense")
    return np.column_stack([arms["layer"].astype(float), rank, kinds[:, 1:]])


def replay(grid: Grid, rules: Rules, seeds: Sequence[int], looks: ArrayLike | None = None) -> pd.DataFrame:
    """Races and their rivals, each at the same share of the grid's cost.

    Returns:
        A row a search and seed: `how`, `seed`, `arm`, `cost` (share of the grid's), `reward` on the test prompts,
        `of_grid` (that as a share of what the candidate has that the whole grid would choose), `score` (how much more
        than that candidate's it is) and, of races, `verdict`, `epsilon`, `false` (whether the candidate falls short of
        the best on the select prompts by more than was said).
    """
    means, test = grid.select.mean(1), grid.test.mean(1)
    best = float(test[means.argmax()])
    if rules.budget <= grid.first:
        raise ValueError(f"rules.budget={rules.budget} is spent on the unsteered prompts, which cost {grid.first:.3f}")
    rules, rows = replace(rules, budget=rules.budget - grid.first), list[dict[str, object]]()
    for seed in seeds:
        for how, arm, cost, more in _searches(grid, replace(rules, seed=seed), looks):
            rows.append({"how": how, "seed": seed, "arm": grid.names[arm], "cost": cost,
                         "reward": test[arm], "of_grid": test[arm] / best if best else np.nan,
                         "score": grid.score[arm] - grid.score[means.argmax()], **more})  # fmt: skip
            if "epsilon" in more:
                rows[-1]["false"] = bool(means.max() - means[arm] > float(str(more["epsilon"])) + 1e-9)
    return pd.DataFrame(rows)


def _searches(grid: Grid, rules: Rules, looks: ArrayLike | None) -> Iterator[tuple[str, int, float, dict[str, object]]]:
    for how, some in (("race", None), ("race, told of others", looks)):
        if how == "race" or some is not None:
            answer, arm = grid.race(rules, some)
            yield how, arm, grid.first + answer.cost, {"verdict": answer.verdict, "epsilon": answer.epsilon}
    given = grid.select, grid.costs, rules.budget, rules.seed
    rivals = {"random search": random_search(*given), "successive halving": successive_halving(*given),
              "tree_parzen": tree_parzen(*given, grid.arms, rules.block)}  # fmt: skip
    for how, (arm, cost) in rivals.items():
        yield how, arm, grid.first + cost, {}
    if looks is not None:
        yield "best of others, not asked", 1 + int(np.argmax(looks)), 0.0, {}


def elsewhere(grid: Grid, others: Sequence[Grid]) -> NDArray[np.float64] | None:
    """What each candidate earned on other grids that have the same candidates, on average; None if there is none."""
    same = [other for other in others if other.arms.equals(grid.arms)]
    return np.mean([np.hstack([o.select, o.test]).mean(1)[1:] for o in same], axis=0) if same else None


def described(grid: Grid) -> dict[str, float | str | int]:
    """Of a grid, on its test prompts: the reward `unsteered`, of the `best` candidate (chosen on the others), and were
    `each` prompt given the candidate that is best for it; the best candidate's `score` above the unsteered one, and how
    many candidates come within 2 % of its reward (`near`)."""
    best, test = int(grid.select.mean(1).argmax()), grid.test.mean(1)
    return {"arms": len(test), "arm": grid.names[best], "unsteered": float(test[0]), "best": float(test[best]),
            "each": float(grid.test.max(0).mean()), "score": float(grid.score[best] - grid.score[0]),
            "near": int((test >= 0.98 * test[best]).sum())}  # fmt: skip


def compared(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each kind of search, over seeds: means, the `worst` share of the grid's, how often what it said is `false`."""
    some: Any = rows.astype({"epsilon": float, "false": float}).groupby("how", sort=False)
    return some.agg(
        cost=("cost", "mean"), reward=("reward", "mean"), of_grid=("of_grid", "mean"), worst=("of_grid", "min"),
        score=("score", "mean"), epsilon=("epsilon", "mean"), false=("false", "mean"), seeds=("seed", "size"),
    ).reset_index()  # fmt: skip
