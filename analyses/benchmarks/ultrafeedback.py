"""UltraFeedback (Cui et al. 2023): how often a reward model prefers the steered response to the unsteered one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import odesteer_tl as ode
from analyses.benchmarks.judges import RewardModel
from analyses.benchmarks.presets import Sampling
from analyses.benchmarks.records import Record, load_records, require_columns
from analyses.benchmarks.task import RowsTask, failed


def load_preferences(
    data: str | Path, revision: str | None = None, split: str = "train_prefs", limit: int | None = None
) -> list[Record]:
    """Rows with `prompt`, `chosen` and `rejected`, the last two texts (of a list of messages, the last one's content).

    That is the layout of HuggingFaceH4/ultrafeedback_binarized, whose splits of preferences are train_prefs and
    test_prefs: `openbmb/UltraFeedback` itself has four completions an instruction and no pairs. Left out, as by
    ODESteer's authors, are rows without a preference (`score_chosen` is not above `score_rejected`, where the rows have
    scores) or with an empty response.

    Raises:
        ValueError: not that layout, or no row with a preference.
    """
    rows = load_records(data, revision, split)
    require_columns(rows, ("prompt", "chosen", "rejected"))
    found = [{"prompt": r["prompt"], "chosen": _text(r, "chosen"), "rejected": _text(r, "rejected")}
             for r in rows if _preferred(r)]  # fmt: skip
    found = [row for row in found if row["chosen"].strip() and row["rejected"].strip()][:limit]
    if not found:
        raise ValueError(f"data={str(data)!r} has {len(rows)} rows, none with a preferred response and another; pass "
                         "the pairs of ultrafeedback_binarized")  # fmt: skip
    return found


def _preferred(row: Record) -> bool:
    """Whether the row's scores, if it has any, prefer what it calls chosen."""
    chosen, rejected = row.get("score_chosen"), row.get("score_rejected")
    return chosen is None or rejected is None or float(chosen) > float(rejected)


def _text(row: Record, column: str) -> str:
    cell: Any = row[column]
    if isinstance(cell, str):
        return cell
    if len(cell) == 0 or "content" not in cell[-1]:
        raise ValueError(
            f"column {column!r} holds {cell!r}; a text was expected, or messages with 'role' and 'content'"
        )
    return cell[-1]["content"] or ""


class UltraFeedback(RowsTask):
    """Win rate against the unsteered model on the same prompts: ties count half, an empty response loses.

    Fitted on chosen against rejected responses on a line of their own behind the prompt, as ODESteer's authors have it
    for models without a chat template; the prompt alone is continued.
    """

    name = "ultrafeedback"
    criterion = "win_rate"

    def __init__(self, rows: Sequence[Record], reward: RewardModel, sampling: Sampling, seed: int = 0) -> None:
        super().__init__(rows, sampling, seed)
        self.reward = reward

    def contrast(self, units: Sequence[int]) -> ode.ContrastSet:
        """Prompt and chosen response, a line each, against prompt and rejected response."""
        chosen, rejected = ([f"{self.rows[u]['prompt']}\n{self.rows[u][side]}" for u in units]
                            for side in ("chosen", "rejected"))  # fmt: skip
        return ode.ContrastSet.from_texts(chosen, rejected, (units, units), {"source": "UltraFeedback"})

    def score(
        self, units: Sequence[int], continuations: Sequence[str], unsteered: Sequence[str] | None
    ) -> pd.DataFrame:
        """`win`, `tie`, `win_rate` (1, ½ or 0) and `reward`; the unsteered model ties with itself, by definition."""
        prompts = self.prompts(units)
        own = self.reward.rewards(prompts, [text.strip() for text in continuations])
        if unsteered is None:
            win, tie = np.zeros(len(own), dtype=bool), np.ones(len(own), dtype=bool)
        else:
            other = self.reward.rewards(prompts, [text.strip() for text in unsteered])
            empty = np.array([failed(text) for text in continuations])
            nothing = np.array([failed(text) for text in unsteered])
            win, tie = ~empty & ((own > other) | nothing), ~empty & ~nothing & (own == other)
        return pd.DataFrame({"win": win, "tie": tie, "win_rate": win + tie / 2, "reward": own})
