"""What a worker process of the simulation does: some of its problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analyses.search.simulation import simulate


def some(context: Mapping[str, int], config: Mapping[str, Any]) -> pd.DataFrame:
    """The problems of one cell."""
    return simulate(config["first"], config["last"], context["arms"], context["prompts"], context["seed"])


@dataclass(frozen=True)
class Settings:
    """What all cells share, as a context that can be sent."""

    arms: int
    prompts: int
    seed: int

    def __call__(self) -> dict[str, int]:
        """The settings by name."""
        return dict(vars(self))
