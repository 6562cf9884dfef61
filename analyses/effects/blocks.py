"""A study's material a few prompts at a time, for a search that asks each arm only as often as it needs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from analyses.effects.arms import Arm
from analyses.effects.cell import measure
from analyses.effects.looks import look
from analyses.effects.material import Material
from analyses.effects.per_prompt import last_states, middle_layer
from analyses.refusal import unless_refused
from analyses.search.race import ordered
from analyses.sweep import Refused

#: the block that is all test prompts; that of none, of which it is asked whether an arm can be fitted at all; and that
#: of all prompts, of which it is asked how they stand in the middle layer
TEST, FITTED, STATES = -1, -3, -4


@dataclass(eq=False)
class Blocks:
    """Select prompts in the order of a race, in blocks, and the test prompts; the fits are those of the whole study.

    A race asks independent units: prompts that are judged by the same texts are drawn together, and count once.

    Args:
        whole: of all prompts.
        seed, size: of the order, and of a block, in units.
    """

    whole: Material
    seed: int
    size: int
    _parts: dict[int, Material] = field(default_factory=dict[int, Material])

    @property
    def select(self) -> int:
        """Prompts to choose on."""
        return self.whole.plan.split.count("select")

    @cached_property
    def units(self) -> list[list[int]]:
        """Of each independent unit to choose on, the numbers of its prompts."""
        found: dict[int, list[int]] = {}
        for i in range(self.select):
            found.setdefault(self.whole.plan.units[i] if self.whole.plan.units else i, []).append(i)
        return list(found.values())

    def rows(self, block: int) -> list[int]:
        """The numbers of a block's prompts, unit by unit."""
        if block == TEST:
            return list(range(self.select, len(self.whole.plan.prompts)))
        order = ordered(len(self.units), self.seed)[block * self.size : (block + 1) * self.size]
        return [row for unit in order for row in self.units[int(unit)]]

    def part(self, block: int) -> Material:
        """The material of a block.

        What is sampled in a block has a seed of its own, the same for all arms; the judge's threshold, where it is that
        of the unsteered texts, is taken over the select prompts, so that no choice depends on a test prompt.
        """
        if block not in self._parts:
            # −2: all select prompts, for nothing but the threshold
            judge = self._parts.setdefault(-2, self.whole.on(range(self.select), self.seed))
            seed = self.whole.plan.settings.seed + 7919 * (block + 2)
            self._parts[block] = self.whole.on(self.rows(block), seed, judge)
        return self._parts[block]


@dataclass(frozen=True)
class BlocksOf:
    """Makes the blocks in a worker, from what makes the study's material there."""

    material: Callable[[], Material]
    seed: int
    size: int

    def __call__(self) -> Blocks:
        """The blocks, with the model loaded."""
        return Blocks(self.material(), self.seed, self.size)


def pull(blocks: Blocks, config: Mapping[str, Any]) -> pd.DataFrame | Refused:
    """One cell of a search: an arm on a block, or, with `look`, a cheap look at it; a row a prompt.

    Args:
        config: as `measure` takes it, with `block`, and `look`: true for the look, which writes nothing.
    """
    own = {name: x for name, x in config.items() if name not in ("block", "look")}
    if config["block"] == FITTED:
        fits, arm = blocks.whole.layer(config["layer"]), Arm.in_cell(config)
        found = unless_refused(lambda: fits.steerer(arm))
        return found if isinstance(found, Refused) else pd.DataFrame({"fitted": [True]})
    if config["block"] == STATES:
        states = last_states(blocks.whole.states.prompt, middle_layer(blocks.whole.model))
        return pd.DataFrame({"state": list(states.to_numpy())})
    part = blocks.part(config["block"])
    found = look(part, own) if config["look"] else measure(part, own)
    return found if isinstance(found, Refused) else found.assign(prompt=blocks.rows(config["block"]))
