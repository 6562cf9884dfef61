"""What a search would have found, and what it would have cost, in the place of a grid that was run in full.

The rewards are those of the grid, so that nothing is computed again, and all that is compared sees the same ones. What
is found is judged on the grid's test prompts, which no search sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.search.answer import Answer
from analyses.search.race import UNSTEERED, Pull, Race
from analyses.search.rivals import random_search, successive_halving
from analyses.search.rules import Rules
from odesteer_tl import stats

#: what tells the arms of a layer study apart
ARM = ["layer", "label", "budget", "level"]


@dataclass(frozen=True, eq=False)
class Grid:
    """A finished grid: every arm on every prompt.

    Attributes:
        arms: a row an arm (`ARM`), without the unsteered one, which stands before them in what follows.
        select, test: success of each arm on the prompts to choose on and to report on.
        costs: of an arm on one prompt.
    """

    arms: pd.DataFrame
    select: NDArray[np.float64]
    test: NDArray[np.float64]
    costs: NDArray[np.float64]

    @classmethod
    def of(cls, rows: pd.DataFrame, costs: Mapping[int, float] | None = None) -> Grid:
        """From the rows of a layer study.

        Args:
            costs: of one prompt by layer (−1: unsteered); left out, all cost the same.

        Raises:
            ValueError: no select or no test prompts, no unsteered arm, or an arm that was not asked on all of them.
        """
        parts: list[NDArray[np.float64]] = []
        for split in ("select", "test"):
            wide = rows[rows["split"] == split].pivot(index=ARM, columns="prompt", values="success").astype(float)
            wide = wide.sort_index()
            if not len(wide) or wide.index.get_level_values("label")[0] != UNSTEERED or wide.isna().to_numpy().any():
                raise ValueError(
                    f"rows must hold every arm, the unsteered one among them, on every prompt; their split {split!r} "
                    "does not: run the study with select and test prompts, and to its end"
                )
            parts.append(wide.to_numpy())
            arms = wide.index.to_frame(index=False)
        layers = arms["layer"].astype(int)
        return cls(pd.DataFrame(arms.iloc[1:]).reset_index(drop=True), parts[0], parts[1],
                   np.array([1.0 if costs is None else costs[layer] for layer in layers]))  # fmt: skip

    @property
    def names(self) -> list[str]:
        """Of the arms, the unsteered one first."""
        return [UNSTEERED, *arm_names(self.arms)]

    def race(self, rules: Rules, looks: pd.DataFrame | None = None) -> tuple[Answer, int]:
        """The race that would have been run, and its arm's row."""
        names = self.names
        costs = dict(zip(names, self.costs.tolist(), strict=True))
        race = Race(names[1:], self.select.shape[1], rules, places=places(self.arms), looks=looks, costs=costs)

        def ask(pulls: list[Pull]) -> list[dict[str, NDArray[np.float64]]]:
            return [{"reward": self.select[names.index(pull.arm), list(pull.prompts)]} for pull in pulls]

        answer = race.run(ask)
        return answer, names.index(answer.arm)


def arm_names(arms: pd.DataFrame) -> list[str]:
    """An arm in words: `CAA, layer 2, angle 0.2`."""
    return [f"{a['label']}, layer {a['layer']}, {a['budget']} {a['level']:g}" for a in arms.to_dict("records")]


def places(arms: pd.DataFrame) -> NDArray[np.float64]:
    """Where the arms lie: layer, rank of the level within its budget, and an axis for each further way to steer."""
    kinds = pd.get_dummies(arms["label"].astype(str) + arms["budget"].astype(str)).to_numpy(dtype=float)
    rank = arms.groupby("budget")["level"].rank(method="dense")
    return np.column_stack([arms["layer"].astype(float), rank, kinds[:, 1:]])


def replay(grid: Grid, rules: Rules, seeds: Sequence[int], looks: pd.DataFrame | None = None) -> pd.DataFrame:
    """Races and their rivals, each at the same share of the grid's cost.

    Returns:
        A row a search and seed: `how`, `seed`, `arm`, `cost` (share of the grid's), `success` on the test prompts,
        `of_grid` (that as a share of what the arm has that the whole grid would choose) and, of races, `verdict`,
        `epsilon`, `false` (whether the arm falls short of the best on the select prompts by more than was said).
    """
    means, test = grid.select.mean(1), grid.test.mean(1)
    best = float(test[means.argmax()])
    rows: list[dict[str, object]] = []
    for seed in seeds:
        for how, arm, cost, more in _searches(grid, replace(rules, seed=seed), looks):
            rows.append({"how": how, "seed": seed, "arm": grid.names[arm], "cost": cost, "success": test[arm],
                         "of_grid": test[arm] / best if best else np.nan, **more})  # fmt: skip
            if "epsilon" in more:
                rows[-1]["false"] = bool(means.max() - means[arm] > float(str(more["epsilon"])) + 1e-9)
    return pd.DataFrame(rows)


def _searches(
    grid: Grid, rules: Rules, looks: pd.DataFrame | None
) -> Iterator[tuple[str, int, float, dict[str, object]]]:
    for how, some in (("race", None), ("race with looks", looks)):
        if how == "race" or some is not None:
            answer, arm = grid.race(rules, some)
            yield how, arm, answer.cost, {"verdict": answer.verdict, "epsilon": answer.epsilon}
    for how, search in (("random search", random_search), ("successive halving", successive_halving)):
        arm, cost = search(grid.select, grid.costs, rules.budget, rules.seed)
        yield how, arm, cost, {}


def compared(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each kind of search, over seeds: mean cost and test success, and the latter as a share of the grid's."""
    found: list[dict[str, object]] = []
    for how, some in rows.groupby("how", sort=False):
        success = stats.mean(some["success"], bounds=(0.0, 1.0)) if len(some) > 1 else None
        found.append({
            "how": how, "cost": some["cost"].mean(), "success": some["success"].mean(),
            "low": success.low if success else np.nan, "high": success.high if success else np.nan,
            "of_grid": some["of_grid"].mean(), "worst": some["of_grid"].min(), "seeds": len(some),
        })  # fmt: skip
    return pd.DataFrame(found)
