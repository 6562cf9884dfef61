"""What a race found: a candidate, by how much it may fall short of the best, and which are not told apart from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from odesteer_tl._renamed import renamed

if TYPE_CHECKING:
    from analyses.search.race import Pull, Race


@dataclass(frozen=True)
class Round:
    """One round of a race: what was asked, and what was known behind it."""

    pulls: tuple[Pull, ...]
    cost: float
    leader: str
    standing: int


@renamed(arm="candidate", arms="candidates")
@dataclass(frozen=True, eq=False)
class Answer:
    """The end of a race. All but the means holds with probability ≥ 1 − `delta`, together.

    Attributes:
        verdict: "best": the candidate is within `aim` of the best one. "unsteered": nothing beats doing nothing by more
            than `aim`. "undecided": neither is known; `standing` are the candidates that may be the best.
        candidate: the one to take.
        mean: of its rewards. asked: on so many prompts.
        epsilon: by how much it falls short of the best candidate at most. epsilon_new: the same for new prompts, a
            statement by itself.
        gain: how much better than unsteered it is at least; 0 or less where that is not known.
        constraint: the largest mean its constraint may have; None without a limit.
        standing: the candidates that may be the best. dropped: those that exceed the limit.
        cost: as a share of the whole grid's.
        candidates: a row each: `candidate`, `asked`, `mean`, `short` (how far the answer may be behind it at most),
            `state`.
        rounds: how it went.
    """

    verdict: str
    candidate: str
    mean: float
    asked: int
    epsilon: float
    epsilon_new: float
    gain: float
    constraint: float | None
    standing: tuple[str, ...]
    dropped: tuple[str, ...]
    cost: float
    aim: float
    delta: float
    new_prompts: bool
    candidates: pd.DataFrame
    rounds: tuple[Round, ...]

    def frame(self) -> pd.DataFrame:
        """The candidates, in their order."""
        return self.candidates

    def __str__(self) -> str:
        whose = "new prompts" if self.new_prompts else "these prompts"
        sure = f"with probability of at least {1 - self.delta:g}, on {whose}"
        spent = f"asked {self.cost:.1%} of what the whole grid costs"
        if self.verdict == "unsteered":
            return f"Nothing beats unsteered by more than {self.epsilon:.3f}, {sure}; {spent}."
        better = f"beats unsteered by at least {self.gain:.3f}" if self.gain > 0 else "is not shown to beat unsteered"
        if self.verdict == "best":
            return f"{self.candidate} is within {self.epsilon:.3f} of the best and {better}, {sure}; {spent}."
        few = ", ".join(self.standing[:5]) + (", …" if len(self.standing) > 5 else "")
        return (
            f"Not told apart: {len(self.standing)} candidates may be the best ({few}). {self.candidate} is the "
            f"likeliest, with {self.mean:.3f} on {self.asked} prompts; it is within {self.epsilon:.3f} of the best and "
            f"{better}, {sure}; {spent}."
        )

    def _repr_html_(self) -> str:
        return f"<p>{self}</p>{self.candidates.to_html(index=False, float_format='{:.3f}'.format)}"


def answer_of(race: Race) -> Answer:
    """What a race knows by now."""
    leader, rules = race.leader(), race.rules
    short = _lead(race, leader, rules.new_prompts)
    epsilons = {leader: float(max(short[race.standing].max(), 0.0))}
    gain = float(-_lead(race, leader, rules.new_prompts)[0])
    nothing = float(max(_lead(race, 0, rules.new_prompts)[race.standing].max(), 0.0))
    verdict, arm = "undecided", leader
    if gain <= 0 and nothing <= rules.epsilon:
        verdict, arm = "unsteered", 0
        short, epsilons[0], gain = _lead(race, 0, rules.new_prompts), nothing, 0.0
    elif epsilons[leader] <= rules.epsilon:
        verdict = "best"
    asked = (~np.isnan(race.rewards)).sum(1)
    constraint = None
    if rules.limit is not None and arm:
        constraint = float(race.guarantee.constraint(race.constraint[[arm]])[0])
    beyond = float(max(_lead(race, arm, True)[~race.dropped].max(), 0.0))
    return Answer(
        verdict, race.arms[arm], _mean(race.rewards[arm]), int(asked[arm]), epsilons[arm], beyond, gain, constraint,
        _named(race, race.standing), _named(race, race.dropped), race.cost, rules.epsilon, rules.delta,
        rules.new_prompts, _arms(race, short), tuple(race.rounds),
    )  # fmt: skip


def _lead(race: Race, arm: int, new_prompts: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
    """By how much each candidate may be better than this one."""
    found = race.guarantee_of(new_prompts=new_prompts).lead(race.rewards, race.rewards[arm])
    found[arm] = 0.0
    return found


def _named(race: Race, which: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[str, ...]:
    return tuple(name for name, named in zip(race.arms, which, strict=True) if named)


def _mean(rewards: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    seen = rewards[~np.isnan(rewards)]
    return float(seen.mean()) if len(seen) else float("nan")


def _arms(race: Race, short: np.ndarray[Any, np.dtype[np.float64]]) -> pd.DataFrame:
    state = np.where(race.dropped, "over the limit", np.where(race.standing, "standing", "behind"))
    return pd.DataFrame({
        "candidate": race.arms,
        "asked": (~np.isnan(race.rewards)).sum(1),
        "mean": [_mean(row) for row in race.rewards],
        "short": short,
        "state": state,
    })  # fmt: skip
