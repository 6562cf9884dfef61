"""Layer and strength by a race in the place of the grid: cheap looks, pulls of a few prompts, then the test prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.effects.arms import several
from analyses.effects.blocks import FITTED, TEST, Blocks, BlocksOf, pull
from analyses.effects.estimate import SCANNED, SOUGHT, Shares
from analyses.effects.looks import COLUMNS
from analyses.effects.running import in_words, keeping, refusals
from analyses.outcomes import Completions
from analyses.runs import save_run
from analyses.search import UNSTEERED, Answer, Pull, Race, Rules
from analyses.search.replay import ARM, arm_names, places
from analyses.search.reward import SHIFT, SUCCESS, is_shift, reward
from analyses.sweep import Store, Study, finish, open_executor
from analyses.sweep.worker import shared_context
from odesteer_tl import stats
from odesteer_tl._words import warn

#: of `pull`: raise it when its code changes results
VERSION = "1"
#: select prompts that are looked at cheaply before texts are written
LOOKED = 10
#: what an arm is, by the keys of its config
WHAT = (*ARM, "layers")
#: columns of a cell that a limit may bound: numbers in [0, 1] that say how broken a text is
CONSTRAINTS = ("repetition", "empty")


@dataclass(frozen=True, eq=False)
class Searched:
    """What a search found.

    Attributes:
        answer: of the race, on the select prompts: the arm, how sure that is, and the arms that cannot be told apart.
        arm: its `layer`, `label`, `budget` and `level`, and `layers` if it acts on several, whose last is `layer`;
            those of "unsteered", if nothing beats that.
        reward: what was raced for (`analyses.search.reward`).
        success, unsteered: its mean on the test prompts, which took no part in the choice. difference: of the two.
        tokens: forward tokens of looks and pulls; grid: of every arm on every select prompt, whose levels share their
            scans; fixed: what both need first (the contrast's activations and the prompts). A token through half of
            the blocks counts half. All three are the estimates of `--dry-run`, from lengths and layers.
        looks: a row an arm, what the cheap looks said.
        directory: where all of it is kept, and whence the same call goes on.
    """

    answer: Answer
    arm: Mapping[str, Any]
    reward: str
    success: stats.Estimate
    unsteered: stats.Estimate
    difference: stats.Estimate
    tokens: float
    grid: float
    fixed: float
    looks: pd.DataFrame
    directory: Path

    @property
    def layer(self) -> int:
        """The (last) layer to steer at; −1 if nothing is to be steered."""
        return int(self.arm["layer"])

    @property
    def layers(self) -> tuple[int, ...]:
        """All layers to steer at, with one strength; none if nothing is to be steered."""
        return several(self.arm) or (self.layer,) * (self.layer >= 0)

    @property
    def level(self) -> float:
        """How strong."""
        return float(self.arm["level"])

    def frame(self) -> pd.DataFrame:
        """The arms, each with how often it was asked and what is known of it."""
        return self.answer.frame().merge(self.looks, on="arm", how="left")

    def rounds(self) -> pd.DataFrame:
        """How the race went: a row a pull, with the share of the grid's cost, the leader and the arms left then."""
        arms = self.frame().set_index("arm")
        return pd.DataFrame([
            {"round": i, "cost": r.cost, "arm": p.arm, "block": p.block, "layer": arms.at[p.arm, "layer"],
             "level": arms.at[p.arm, "level"], "leader": r.leader, "standing": r.standing}
            for i, r in enumerate(self.answer.rounds) for p in r.pulls
        ])  # fmt: skip

    def save(self, out: Path, settings: Mapping[str, Any]) -> None:
        """Write `arms`, `race` and what was found; a folder that is there holds the same, from the same settings."""
        if out.exists():
            return
        found = {"answer": str(self), "verdict": self.answer.verdict, "arm": dict(self.arm),
                 "reward": self.reward, "success": vars(self.success), "unsteered": vars(self.unsteered),
                 "difference": vars(self.difference), "tokens": self.tokens, "grid": self.grid,
                 "fixed": self.fixed}  # fmt: skip
        save_run(out, {"arms": self.frame(), "race": self.rounds()}, {"settings": dict(settings), "found": found})

    def __str__(self) -> str:
        return (
            f"{self.answer}\n{self.reward.capitalize()} on the test prompts: {self.success}; unsteered "
            f"{self.unsteered}; difference {self.difference}.\nForward tokens: {self.tokens:,.0f}, "
            f"{self.tokens / self.grid:.1%} of the grid's {self.grid:,.0f} (with what both need first, "
            f"{self.fixed:,.0f}: {(self.tokens + self.fixed) / (self.grid + self.fixed):.1%})."
        )

    def _repr_html_(self) -> str:
        lines = "".join(f"<p>{line}</p>" for line in str(self).splitlines())
        return lines + self.frame().to_html(index=False, float_format="{:.3f}".format)


class Search:
    """A race over the arms of a layer study, whose pulls are cells that are kept.

    Args:
        study: of the whole grid, the unsteered cell first.
        constraint: a column of texts' fluency whose mean `rules.limit` bounds.
        looked: select prompts that cheap looks are taken on; left out, `LOOKED`, or none where completions are asked
            for, which cost no more than a look.

    Raises:
        ValueError: an unknown constraint, or no select prompts.
    """

    def __init__(self, study: Study, rules: Rules, constraint: str = "repetition", looked: int | None = None) -> None:
        if constraint not in CONSTRAINTS:
            raise ValueError(f"constraint={constraint!r} is unknown; choose {' or '.join(CONSTRAINTS)}")
        if not study.settings["select"]:
            raise ValueError("select=0 leaves no prompts to search on; give some")
        self.study, self.rules, self.constraint, self.looked = study, rules, constraint, looked
        self._spent = 0.0
        self._enter(study.cells)

    def _enter(self, configs: Sequence[Mapping[str, Any]]) -> None:
        """The unsteered arm, then the others."""
        self.configs, self.arms = list(configs), pd.DataFrame(configs[1:])
        self.names = [UNSTEERED, *arm_names(self.arms)]

    @property
    def _named(self) -> pd.DataFrame:
        """A row an arm but the unsteered one: what it is, and its name."""
        return self.arms[[name for name in WHAT if name in self.arms]].assign(arm=self.names[1:])

    def run(self, root: Path, executor: str | Executor) -> Searched:
        """Look, race and report; run again, it goes on from what is kept.

        Raises:
            IncompleteStudy, WillRepeat: a cell failed.
        """
        first = [self._cell(self.configs[0], 0)]
        store = Store.of(self._of(first), root)
        self.study = keeping(self.study, store.directory)
        study = self._of(first)
        blocks = shared_context(study.digest, study.context)
        if self.looked is None:
            self.looked = 0 if isinstance(blocks.whole.plan.outcome, Completions) else LOOKED
        shares = Shares.of(blocks.whole)
        with open_executor(executor, store.directory / "jobs") as pool:
            self._leave_out(root, pool)
            plain = self._plain(root, pool, shares, blocks)
            looks = self._looks(root, pool, shares)
            costs = {name: shares.alone(c) for name, c in zip(self.names, self.configs, strict=True)}
            whole = shares.grid(self.configs)
            left = self.rules.budget - self._spent / (whole * blocks.select)
            if left <= 0:
                raise ValueError(f"looked={self.looked} prompts cost more than the budget of {self.rules.budget}, by "
                                 f"{-left:.3f}; look at fewer, at none (0), or raise it")  # fmt: skip
            seen = looks[list(COLUMNS)].to_numpy() if len(looks) else None
            rules = replace(self.rules, budget=left)
            race = Race(self.names[1:], blocks.select, rules, places=places(self.arms), looks=seen, costs=costs,
                        whole=whole)  # fmt: skip
            answer = race.run(lambda pulls: self._ask(pulls, plain, root, pool, shares))
            return self._reported(answer, looks, whole * blocks.select, shares, root, pool)

    def _leave_out(self, root: Path, pool: Executor) -> None:
        """Leave out the arms that cannot be fitted at a layer, saying why.

        Raises:
            ValueError: there is no other.
        """
        arms = {(config["layer"], config["label"]): config for config in self.configs[1:]}
        cells = [self._cell(config, FITTED) for config in arms.values()]
        self._rows(cells, root, pool)
        study = self._of(cells)
        refused = refusals(study, Store.of(study, root))
        if not len(refused):
            return
        if len(refused) == len(arms):
            raise ValueError(f"{in_words(refused, study)} Use other layers or texts")
        warn(f"{in_words(refused, study)} The search leaves that out")
        without = {*zip(refused["layer"], refused["label"], strict=True)}
        self._enter([config for config in self.configs if (config["layer"], config["label"]) not in without])

    def _of(self, cells: Sequence[Mapping[str, Any]]) -> Study:
        """The study of some of its cells; the folder is that of all of them."""
        context = BlocksOf(self.study.context, self.rules.seed, self.rules.block)
        settings = {**self.study.settings, "order": self.rules.seed, "block": self.rules.block}
        return Study(f"{self.study.name}-search", pull, context, settings, f"{self.study.version}.{VERSION}",
                     tuple(cells), "layer")  # fmt: skip

    @staticmethod
    def _cell(config: Mapping[str, Any], block: int, look: bool = False) -> dict[str, Any]:
        return {**config, "block": block, "look": look}

    def _rows(self, cells: Sequence[Mapping[str, Any]], root: Path, pool: Executor) -> list[pd.DataFrame]:
        """The rows of each cell, run where they are not there yet."""
        study = self._of(cells)
        store = Store.of(study, root)
        left = [cell.config for cell in study.keyed if not store.has(cell)]
        if left:
            finish(self._of(left), root, pool, progress=False)
        return [store.rows(cell) for cell in study.keyed]

    def _plain(self, root: Path, pool: Executor, shares: Shares, blocks: Blocks) -> pd.DataFrame:
        """The unsteered rows of all select prompts, where rewards are held against them; else none."""
        if not isinstance(blocks.whole.plan.outcome, Completions):
            return pd.DataFrame()
        self._spent += shares.alone(self.configs[0]) * blocks.select
        cells = [self._cell(self.configs[0], block) for block in range(-(-blocks.select // self.rules.block))]
        return pd.concat(self._rows(cells, root, pool))

    def _looks(self, root: Path, pool: Executor, shares: Shares) -> pd.DataFrame:
        """A row an arm: its name, what it is, and the means of what the looks said."""
        if not self.looked:
            return self._named.iloc[:0]
        count = max(1, -(-min(self.looked, int(self.study.settings["select"])) // self.rules.block))
        cells = [self._cell(c, block, look=True) for c in self.configs[1:] for block in range(count)]
        found = self._rows(cells, root, pool)
        for cell, rows in zip(cells, found, strict=True):
            self._spent += shares.looked(cell) * len(rows) * (1 + (SCANNED + SOUGHT if cell["budget"] == "kl" else 0))
        means = [pd.concat(found[i : i + count])[list(COLUMNS)].mean() for i in range(0, len(found), count)]
        return pd.concat([self._named.reset_index(drop=True), pd.DataFrame(means).reset_index(drop=True)], axis=1)

    def _ask(
        self, pulls: list[Pull], plain: pd.DataFrame, root: Path, pool: Executor, shares: Shares
    ) -> list[dict[str, Any]]:
        cells = [self._cell(self.configs[self.names.index(p.arm)], p.block) for p in pulls]
        found = self._rows(cells, root, pool)
        answers: list[dict[str, Any]] = []
        for cell, rows in zip(cells, found, strict=True):
            if cell["layer"] >= 0 or not len(plain):
                self._spent += shares.alone(cell) * len(rows)
            answers.append({"reward": reward(rows, plain)})
            if self.rules.limit is not None:
                if self.constraint not in rows:
                    raise ValueError(f"rules.limit={self.rules.limit} bounds {self.constraint!r}, which this outcome "
                                     "has not, since it writes no texts; leave the limit out")  # fmt: skip
                answers[-1]["constraint"] = rows[self.constraint].to_numpy(dtype=float)
        return answers

    def _reported(
        self, answer: Answer, looks: pd.DataFrame, grid: float, shares: Shares, root: Path, pool: Executor
    ) -> Searched:
        """The answer on the test prompts, and what everything cost."""
        config = self.configs[self.names.index(answer.arm)]
        cells = [self._cell(self.configs[i], TEST) for i in dict.fromkeys((0, self.names.index(answer.arm)))]
        rows = self._rows(cells, root, pool)
        plain, chosen = (reward(some, rows[0]) for some in (rows[0], rows[-1]))
        was = SHIFT if is_shift(rows[0]) else SUCCESS
        directory = Store.of(self._of(cells), root).directory
        looks = looks if len(looks) else self._named
        return Searched(
            answer, {name: config[name] for name in WHAT if name in config}, was,
            stats.mean(chosen, bounds=(0.0, 1.0)), stats.mean(plain, bounds=(0.0, 1.0)),
            stats.paired_difference(chosen, plain, bounds=(0.0, 1.0)), self._spent, grid,
            shares.fixed, looks, directory,
        )  # fmt: skip
