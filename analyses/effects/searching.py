"""Layer and strength by a race in the place of the grid: cheap looks, pulls of a few prompts, then the test prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analyses.effects.blocks import FITTED, STATES, TEST, Blocks, BlocksOf, pull
from analyses.effects.estimate import SCANNED, SOUGHT, Shares
from analyses.effects.looks import COLUMNS
from analyses.effects.per_prompt import LEAST, LayerPerPrompt, candidates, middle_layer
from analyses.effects.running import in_words, keeping, refusals
from analyses.effects.searched import Searched
from analyses.outcomes import Completions
from analyses.search import UNSTEERED, Answer, Pull, Race, Rules
from analyses.search.replay import ARM, arm_names, places
from analyses.search.reward import SHIFT, SUCCESS, is_shift, reward
from analyses.search.rules import CONSTRAINTS
from analyses.sweep import Store, Study, finish, open_executor
from analyses.sweep.worker import shared_context
from odesteer_tl import stats
from odesteer_tl._words import require_one_of, warn
from odesteer_tl.stats.units import joined

#: of `pull`: raise it when its code changes results
VERSION = "1"
#: select prompts that are looked at cheaply before texts are written
LOOKED = 10
#: what a candidate is, by the keys of its config
WHAT = (*ARM, "layers")


class Search:
    """A race over the candidates of a layer study, whose pulls are cells that are kept.

    Args:
        study: of the whole grid, the unsteered cell first.
        constraint: a column of texts' fluency whose mean `rules.limit` bounds.
        looked: select prompts that cheap looks are taken on; left out, `LOOKED`, or none where completions are asked
            for, which cost no more than a look.
        per_prompt: whether a layer for every prompt is a candidate, too, learned from the looks at the others.

    Raises:
        ValueError: an unknown constraint, no select prompts, or too few that are looked at to learn from.
    """

    def __init__(
        self,
        study: Study,
        rules: Rules,
        constraint: str = "repetition",
        looked: int | None = None,
        per_prompt: bool = False,
    ) -> None:
        require_one_of("constraint", constraint, CONSTRAINTS)
        if not study.settings["select"]:
            raise ValueError("select=0 leaves no prompts to search on; give some")
        if per_prompt:
            looked = LOOKED if looked is None else looked
            if min(looked, study.settings["select"]) < LEAST:
                raise ValueError(f"per_prompt=True learns from prompts that are looked at, and looked={looked} of "
                                 f"select={study.settings['select']} are fewer than {LEAST}; raise them")  # fmt: skip
        self.study, self.rules, self.constraint, self.looked = study, rules, constraint, looked
        self._per_prompt, self._spent, self._apart = per_prompt, 0.0, dict[str, LayerPerPrompt]()
        self._enter(study.cells)

    def _enter(self, configs: Sequence[Mapping[str, Any]]) -> None:
        """The unsteered candidate, then the others."""
        self.configs, self.arms = list(configs), pd.DataFrame(configs[1:])
        self.names = [UNSTEERED, *arm_names(self.arms)]

    @property
    def _named(self) -> pd.DataFrame:
        """A row a candidate but the unsteered one: what it is, and its name."""
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
            seen = self._looks(root, pool, shares, blocks)
            if self._per_prompt:
                seen = self._with_layers_per_prompt(seen, root, pool, blocks)
            looks = self._means(seen)
            costs = {name: shares.alone(c) for name, c in zip(self.names, self.configs, strict=True)}
            whole = shares.grid(self.configs)
            left = self.rules.budget - self._spent / (whole * blocks.select)
            if left <= 0:
                raise ValueError(f"looked={self.looked} prompts cost more than the budget of {self.rules.budget}, by "
                                 f"{-left:.3f}; look at fewer, at none (0), or raise it")  # fmt: skip
            rules = replace(self.rules, budget=left)
            told = looks[list(COLUMNS)].to_numpy() if len(looks) else None
            race = Race(self.names[1:], len(blocks.units), rules, places=places(self.arms), looks=told, costs=costs,
                        whole=whole)  # fmt: skip
            answer = race.run(lambda pulls: self._ask(pulls, plain, root, pool, shares, blocks))
            return self._reported(answer, looks, shares, blocks, root, pool)

    def _leave_out(self, root: Path, pool: Executor) -> None:
        """Leave out the candidates that cannot be fitted at a layer, saying why.

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

    def _pulled(self, arm: str, block: int, prompts: Sequence[int]) -> dict[str, Any]:
        """The cell of a candidate on a block, with the layer of each prompt where each has one of its own."""
        cell = self._cell(self.configs[self.names.index(arm)], block)
        if arm not in self._apart:
            return cell
        return {**cell, "chosen": "+".join(str(self._apart[arm].chosen[i]) for i in prompts)}

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
        cells = [self._cell(self.configs[0], block) for block in range(-(-len(blocks.units) // self.rules.block))]
        return pd.concat(self._rows(cells, root, pool))

    def _looks(self, root: Path, pool: Executor, shares: Shares, blocks: Blocks) -> pd.DataFrame:
        """What the looks said, a row a candidate, by its name, and prompt."""
        if not self.looked:
            return pd.DataFrame()
        count = max(1, -(-min(self.looked, len(blocks.units)) // self.rules.block))
        arms = [i for i in range(1, len(self.configs)) for _ in range(count)]
        cells = [self._cell(self.configs[i], k % count, look=True) for k, i in enumerate(arms)]
        found = self._rows(cells, root, pool)
        for cell, rows in zip(cells, found, strict=True):
            self._spent += shares.looked(cell) * len(rows) * (1 + (SCANNED + SOUGHT if cell["budget"] == "kl" else 0))
        return pd.concat([rows.assign(arm=self.names[i]) for i, rows in zip(arms, found, strict=True)])

    def _with_layers_per_prompt(self, looks: pd.DataFrame, root: Path, pool: Executor, blocks: Blocks) -> pd.DataFrame:
        """Enter the candidates that have a layer for every prompt; the looks with theirs, which are taken already."""
        (states,) = self._rows([self._cell(self.configs[0], STATES)], root, pool)
        own = np.stack(states["state"].tolist()), middle_layer(blocks.whole.model), blocks.select
        found = candidates(self.configs[1:], looks, *own)
        before = len(self.configs)
        self._enter([*self.configs, *(config for config, _, _ in found)])
        names = self.names[before:]
        self._apart = {name: rule for name, (_, rule, _) in zip(names, found, strict=True)}
        return pd.concat([looks, *(own.assign(arm=name) for name, (_, _, own) in zip(names, found, strict=True))])

    def _means(self, looks: pd.DataFrame) -> pd.DataFrame:
        """A row a candidate: its name, what it is, and the means of what the looks said."""
        if not len(looks):
            return self._named.iloc[:0]
        means = pd.DataFrame(looks.groupby("arm")[list(COLUMNS)].mean())
        return self._named.merge(means, left_on="arm", right_index=True, how="left")

    def _ask(
        self, pulls: list[Pull], plain: pd.DataFrame, root: Path, pool: Executor, shares: Shares, blocks: Blocks
    ) -> list[dict[str, Any]]:
        """What each pull's independent units earn: the means of their prompts."""
        cells = [self._pulled(p.arm, p.block, blocks.rows(p.block)) for p in pulls]
        found = self._rows(cells, root, pool)
        answers: list[dict[str, Any]] = []
        for asked, cell, rows in zip(pulls, cells, found, strict=True):
            if cell["layer"] >= 0 or not len(plain):
                self._spent += shares.alone(cell) * len(rows)
            units = np.repeat(np.arange(len(asked.prompts)), [len(blocks.units[i]) for i in asked.prompts])
            answers.append({"reward": joined(reward(rows, plain), units)})
            if self.rules.limit is not None:
                if self.constraint not in rows:
                    raise ValueError(f"rules.limit={self.rules.limit} bounds {self.constraint!r}, which this outcome "
                                     "has not, since it writes no texts; leave the limit out")  # fmt: skip
                answers[-1]["constraint"] = joined(rows[self.constraint].to_numpy(dtype=float), units)
        return answers

    def _reported(
        self, answer: Answer, looks: pd.DataFrame, shares: Shares, blocks: Blocks, root: Path, pool: Executor
    ) -> Searched:
        """The answer on the test prompts, and what everything cost."""
        config = self.configs[self.names.index(answer.candidate)]
        cells = [self._pulled(arm, TEST, blocks.rows(TEST)) for arm in dict.fromkeys((UNSTEERED, answer.candidate))]
        rows = self._rows(cells, root, pool)
        plain, chosen = (reward(some, rows[0]) for some in (rows[0], rows[-1]))
        known: Any = {"groups": rows[0].get("unit"), "bounds": (0.0, 1.0)}
        was = SHIFT if is_shift(rows[0]) else SUCCESS
        directory = Store.of(self._of(cells), root).directory
        looks = looks if len(looks) else self._named
        return Searched(
            answer, {name: config[name] for name in WHAT if name in config}, self._apart, was,
            stats.mean(chosen, **known), stats.mean(plain, **known), stats.paired_difference(chosen, plain, **known),
            self._spent, shares.grid(self.configs) * blocks.select, shares.fixed, looks, directory,
        )  # fmt: skip
