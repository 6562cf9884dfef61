"""UltraFeedback (Cui et al. 2023): how often a reward model prefers the steered response to the unsteered one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import odesteer_tl as ode
from analyses.benchmarks.judges import RewardModel
from analyses.benchmarks.presets import Sampling
from analyses.benchmarks.records import Record, load_records, require_columns
from analyses.benchmarks.task import GenerationTask, failed

TEMPLATE = "User: {prompt}\n\nAssistant:"


def load_preferences(
    data: str | Path, revision: str | None = None, split: str = "train_prefs", limit: int | None = None
) -> list[Record]:
    """Rows with `prompt`, `chosen` and `rejected`, the last two texts (of a list of messages, the last one's content).

    Raises:
        ValueError: not that layout.
    """
    rows = load_records(data, revision, split)[:limit]
    require_columns(rows, ("prompt", "chosen", "rejected"))
    return [{"prompt": r["prompt"], "chosen": _text(r["chosen"]), "rejected": _text(r["rejected"])} for r in rows]


def _text(cell: Any) -> str:
    return cell if isinstance(cell, str) else cell[-1]["content"]


class UltraFeedback(GenerationTask):
    """Win rate against the unsteered model on the same prompts: ties count half, an empty response loses.

    Fitted on chosen against rejected responses.
    """

    name = "ultrafeedback"
    criterion = "win_rate"

    def __init__(
        self, rows: Sequence[Record], reward: RewardModel, sampling: Sampling, template: str = TEMPLATE, seed: int = 0
    ) -> None:
        super().__init__(sampling, seed)
        self.rows, self.reward, self.template = list(rows), reward, template

    @property
    def groups(self) -> Sequence[Hashable]:
        return [row["prompt"] for row in self.rows]

    def contrast(self, units: Sequence[int]) -> ode.ContrastSet:
        prompts = self.prompts(units)
        chosen, rejected = (
            [f"{p} {self.rows[u][side]}" for p, u in zip(prompts, units, strict=True)]
            for side in ("chosen", "rejected")
        )
        return ode.ContrastSet.from_texts(chosen, rejected, (units, units), {"source": "UltraFeedback"})

    def prompts(self, units: Sequence[int]) -> list[str]:
        return [self.template.format(prompt=self.rows[unit]["prompt"]) for unit in units]

    def score(
        self, units: Sequence[int], continuations: Sequence[str], unsteered: Sequence[str] | None
    ) -> pd.DataFrame:
        """`win`, `tie`, `win_rate` (1, ½ or 0) and `reward`; the unsteered model ties with itself, by definition."""
        prompts = [self.rows[unit]["prompt"] for unit in units]
        own = self.reward.rewards(prompts, [text.strip() for text in continuations])
        if unsteered is None:
            win, tie = np.zeros(len(own), dtype=bool), np.ones(len(own), dtype=bool)
        else:
            other = self.reward.rewards(prompts, [text.strip() for text in unsteered])
            empty = np.array([failed(text) for text in continuations])
            nothing = np.array([failed(text) for text in unsteered])
            win, tie = ~empty & ((own > other) | nothing), ~empty & ~nothing & (own == other)
        return pd.DataFrame({"win": win, "tie": tie, "win_rate": win + tie / 2, "reward": own})
