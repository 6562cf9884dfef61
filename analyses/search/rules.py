"""What a race is to find out, and what it may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from analyses.options import SEED

#: columns of a cell that a limit may bound: numbers in [0, 1] that say how broken a text is
CONSTRAINTS = ("repetition", "empty")


@dataclass(frozen=True)
class Rules:
    """The rules of a race.

    Args:
        epsilon: the race ends once a candidate (a method at a layer and strength) is known to be within this of the
            best.
        delta: the chance that what is said at the end is false, at most.
        budget: share of the cost of asking every candidate on every prompt, after which the race ends in any case; what
            is looked at before counts.
        block: prompts that are asked together.
        width: candidates that are asked at once, and so how many workers can be used.
        new_prompts: whether the statement is of prompts like these rather than of these. Of these it can be had with
            fewer, since nothing is left open where all were asked.
        limit: of the mean of a constraint, a number in [0, 1] a prompt; candidates above are dropped. None: no
            constraint.
        slack: by how much the constraint of the answer may exceed the limit.
        seed: of the order of the prompts and of what is drawn.

    Raises:
        ValueError: a number out of range.
    """

    epsilon: float = 0.05
    delta: float = 0.05
    budget: float = 1.0
    block: int = 5
    width: int = 4
    new_prompts: bool = False
    limit: float | None = None
    slack: float = 0.05
    seed: Annotated[int, SEED] = 0

    def __post_init__(self) -> None:
        for name in ("epsilon", "delta", "slack"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must lie between 0 and 1, as .05 does")
        if not 0 < self.budget <= 1:
            raise ValueError(f"budget={self.budget} must be a share of the whole grid's cost, above 0 and at most 1")
        if self.block < 1 or self.width < 1:
            raise ValueError(f"block={self.block} and width={self.width} must be at least 1")
        if self.limit is not None and not 0 <= self.limit <= 1:
            raise ValueError(f"limit={self.limit} must lie in [0, 1], as the constraint does")
