"""A race of candidates on prompts: what to ask next, and what is out, as a pure function of the rewards so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from analyses.search.answer import Answer, Round, answer_of
from analyses.search.guarantee import Guarantee
from analyses.search.looking import Belief
from analyses.search.rules import Rules

#: the candidate that is always in a race, and meets every constraint: others are held against it
UNSTEERED = "unsteered"


@dataclass(frozen=True)
class Pull:
    """A candidate to be asked on some prompts.

    Attributes:
        arm: its name. block: the number of the prompts' block, of which there is one order for all candidates.
        prompts: which these are, by number; of units of several, the units.
    """

    arm: str
    block: int
    prompts: tuple[int, ...]


def ordered(prompts: int, seed: int) -> NDArray[np.intp]:
    """The order in which a race asks so many prompts: the same for all its candidates."""
    return np.random.default_rng(seed).permutation(prompts)


class Race:
    """Which candidate is best?

    The same rewards lead to the same pulls, wherever and in whichever order a round's pulls were computed: a race that
    was cut off is gone through again with the rewards that were kept. Rewards must be a fixed function of candidate and
    prompt (a text is sampled with a seed of its own).

    Args:
        arms: names, without `UNSTEERED`, which is added as the first.
        prompts: how many independent ones there are to ask; those that are judged by the same texts are one, whose
            reward is their mean.
        places: coordinates of the candidates (layer, strength, …) for the belief about neighbours.
        looks: what cheap looks say of the candidates, a column a look; NaN where one says nothing.
        costs: of asking a candidate on one prompt, by name; left out, 1.
        whole: of asking all on one prompt, where together they cost less than each by itself; left out, the sum.

    Raises:
        ValueError: no candidates, two of one name, no prompts, or places, looks or costs that do not fit the
            candidates.
    """

    def __init__(
        self,
        arms: Sequence[str],
        prompts: int,
        rules: Rules | None = None,
        *,
        places: ArrayLike | None = None,
        looks: ArrayLike | None = None,
        costs: Mapping[str, float] | None = None,
        whole: float | None = None,
    ) -> None:
        self.arms, self.rules = (UNSTEERED, *arms), rules or Rules()
        if not arms or len(set(self.arms)) < len(self.arms):
            raise ValueError(
                f"arms={list(arms)} must be at least one candidate, each once, and {UNSTEERED!r} is there anyway"
            )
        if prompts < 1:
            raise ValueError(f"prompts={prompts} must be at least 1")
        # its own row first: of nothing steered there is no place and no look
        rows = [
            None if x is None else _fitting(name, x, len(arms)) for name, x in (("places", places), ("looks", looks))
        ]
        self._prior = self._belief = Belief.before(len(self.arms), *rows)
        costs = costs or dict.fromkeys(self.arms, 1.0)
        if set(self.arms) - set(costs) or not all(0 < costs[arm] < np.inf for arm in self.arms):
            raise ValueError(
                f"costs must be a positive number for {UNSTEERED!r} and each candidate; {dict(costs)} is not"
            )
        self.costs = np.array([float(costs[arm]) for arm in self.arms])
        self._whole = (float(self.costs.sum()) if whole is None else whole) * prompts
        self.order = ordered(prompts, self.rules.seed)
        #: [arms, prompts in their order], NaN where not asked
        self.rewards = np.full((len(self.arms), prompts), np.nan)
        self.constraint = np.full((len(self.arms), prompts), np.nan)
        #: which candidates may still be the best; which were dropped by the constraint
        self.standing = np.ones(len(self.arms), dtype=bool)
        self.dropped = np.zeros(len(self.arms), dtype=bool)
        self.rounds: list[Round] = []

    @property
    def cost(self) -> float:
        """Of what was asked, as a share of the whole grid's."""
        return float(self.costs @ (~np.isnan(self.rewards)).sum(1)) / self._whole

    @property
    def guarantee(self) -> Guarantee:
        """The tests behind what is said."""
        return self.guarantee_of(new_prompts=self.rules.new_prompts)

    def guarantee_of(self, *, new_prompts: bool) -> Guarantee:
        """The tests behind what is said of these prompts, or of new ones."""
        population = None if new_prompts else self.rewards.shape[1]
        return Guarantee.of(len(self.arms), self.rules.delta, self.rules.limit is not None, population)

    def run(self, ask: Callable[[list[Pull]], Sequence[Mapping[str, ArrayLike]]]) -> Answer:
        """Ask until it is decided or the budget is spent.

        Args:
            ask: of the pulls of a round, `reward` of each (and `constraint`, where there is a limit): one a prompt.
        """
        while pulls := self.next():
            self.enter(pulls, ask(pulls))
        return self.answer()

    def next(self) -> list[Pull]:
        """What to ask in this round; nothing once the race is over."""
        if self.rounds and self._decided():
            return []
        blocks = self._blocks()
        left = blocks < -(-self.rewards.shape[1] // self.rules.block)
        rng = np.random.default_rng([self.rules.seed, len(self.rounds)])
        chosen = self._belief.promising(self.standing & left, self.rules.width, rng)
        # what nothing does is compared with what is best, as far as that was asked
        if self.standing[0] and left[0] and 0 not in chosen and blocks[0] <= blocks[self.leader()]:
            chosen = [0, *chosen]
        found: list[Pull] = []
        room = self.rules.budget - self.cost + 1e-12
        for arm in chosen:
            start = int(blocks[arm]) * self.rules.block
            some = self.order[start : start + self.rules.block]
            room -= self.costs[arm] * len(some) / self._whole
            if room < 0:
                break
            found.append(Pull(self.arms[arm], int(blocks[arm]), tuple(int(i) for i in some)))
        return found

    def enter(self, pulls: Sequence[Pull], found: Sequence[Mapping[str, ArrayLike]]) -> None:
        """Take in what a round found.

        Raises:
            ValueError: a reward or constraint that is NaN or outside [0, 1], or not one a prompt.
        """
        for pull, values in zip(pulls, found, strict=True):
            at = self.arms.index(pull.arm), slice(start := pull.block * self.rules.block, start + len(pull.prompts))
            self.rewards[at] = _values("reward", pull, values)
            if self.rules.limit is not None:
                self.constraint[at] = _values("constraint", pull, values)
        self._belief = self._prior.after(self.rewards)
        self._judge()
        leader = self.leader()
        self.rounds.append(Round(tuple(pulls), self.cost, self.arms[leader], int(self.standing.sum())))

    def leader(self) -> int:
        """The candidate cautiously believed the best of those that were asked, may be it, and keep the limit so far."""
        asked = ~np.isnan(self.rewards).all(1)
        allowed = self.standing & asked & self._keeping()
        if not allowed.any():
            return 0
        return int(np.where(allowed, self._belief.cautious, -np.inf).argmax())

    def answer(self) -> Answer:
        """What is known by now.

        Raises:
            ValueError: nothing was asked.
        """
        if not self.rounds:
            raise ValueError("nothing was asked; raise budget until a block of prompts fits in")
        return answer_of(self)

    def _blocks(self) -> NDArray[np.intp]:
        """How many blocks each candidate was asked."""
        return -(-(~np.isnan(self.rewards)).sum(1) // self.rules.block)

    def _keeping(self) -> NDArray[np.bool_]:
        """Which candidates' constraint is within the limit so far; what nothing does always is."""
        if self.rules.limit is None:
            return np.ones(len(self.arms), dtype=bool)
        counts = np.maximum((~np.isnan(self.constraint)).sum(1), 1)
        found = np.nansum(self.constraint, axis=1) / counts <= self.rules.limit
        found[0] = True
        return found & ~self.dropped

    def _judge(self) -> None:
        """Drop what exceeds the limit, and what is not the best for sure: a candidate once out is out."""
        guarantee, judges = self.guarantee, [0, self.leader()]
        if self.rules.limit is not None:
            self.dropped[1:] |= guarantee.exceeds(self.constraint[1:], self.rules.limit)
            self.standing &= ~self.dropped
            # only what keeps the limit, up to the slack, for sure shows another candidate to be worse
            kept = guarantee.constraint(self.constraint) <= self.rules.limit + self.rules.slack
            judges = [0, *([best] if (best := self.leader()) and kept[best] else [])]
        for judge in dict.fromkeys(judges):
            some = np.flatnonzero(self.standing)
            self.standing[some[guarantee.behind(self.rewards[some], self.rewards[judge])]] = False

    def _decided(self) -> bool:
        """Whether the leader, or nothing, is within ε of all that may be the best."""
        rest = self.rewards[self.standing]
        return any(bool(self.guarantee.behind(rest, self.rewards[arm], self.rules.epsilon).all())
                   for arm in dict.fromkeys((self.leader(), 0)))  # fmt: skip


def _fitting(name: str, x: ArrayLike, arms: int) -> Float[np.ndarray, "arms columns"]:
    """A matrix with a row a candidate, and one of NaN for the unsteered one before them."""
    found = np.asarray(x, dtype=float)
    found = found[:, None] if found.ndim == 1 else found
    if found.shape[0] != arms:
        raise ValueError(f"{name} has {found.shape[0]} rows for {arms} candidates; give one a candidate")
    return np.vstack([np.full((1, found.shape[1]), np.nan), found])


def _values(name: str, pull: Pull, values: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
    found = np.asarray(values[name], dtype=float)
    if found.shape != (len(pull.prompts),) or not ((found >= 0) & (found <= 1)).all():
        raise ValueError(
            f"{name} of candidate {pull.arm!r} on block {pull.block} must be {len(pull.prompts)} numbers in [0, 1], "
            f"and is {np.array2string(found, threshold=6)}; scale it, or leave out the candidate that makes it NaN"
        )
    return found
