"""CAA's A/B questions (Rimsky et al. 2024): how probable is the answer letter that matches a behaviour?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from einops import rearrange
from scipy.stats import binom
from sklearn.model_selection import train_test_split
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.benchmarks.records import Record, load_records, require_columns
from analyses.benchmarks.scoring import option_scores
from analyses.benchmarks.splits import Fold
from analyses.benchmarks.task import Task
from odesteer_tl import stats

#: the letter is the last token, as in CAA's contrast
TEMPLATE = "{question}\n\nAnswer:"
LETTERS = (" (A", " (B")
COLUMNS = ("question", "answer_matching_behavior", "answer_not_matching_behavior")


class CAABehaviour(Task):
    """The matching letter's probability among the two, and whether it is the more probable (a tie is not).

    Fitted on the generation set, layer and strength chosen on a part of it, reported on the test set.

    Args:
        fit, test: the two files.

    Raises:
        ValueError: not that layout, a row whose answers are not "(A)" and "(B)", or a question in both files.
    """

    name = "caa"
    criterion = "p_matching"

    def __init__(self, fit: str | Path, test: str | Path, limit: int | None = None, batch_size: int = 16) -> None:
        parts = [load_records(fit)[:limit], load_records(test)]
        for rows in parts:
            require_columns(rows, COLUMNS)
        self.rows: list[Record] = [*parts[0], *parts[1]]
        self.first_test, self.batch_size = len(parts[0]), batch_size
        for row in self.rows:
            if {row[COLUMNS[1]], row[COLUMNS[2]]} != {"(A)", "(B)"}:
                answers = [row[name] for name in COLUMNS[1:]]
                raise ValueError(
                    f"data: {row['question'][:60]!r}… has answers {answers}; use rows answered by (A) and (B)"
                )
        if shared := {r["question"] for r in parts[0]} & {r["question"] for r in parts[1]}:
            raise ValueError(f"fit and test share {len(shared)} questions; drop them from one of the two files")

    @property
    def groups(self) -> Sequence[Hashable]:
        """The questions themselves."""
        return [row["question"] for row in self.rows]

    def folds(self, folds: int, validation: float, seed: int) -> list[Fold]:
        """The one split of the two files, with a validation part in the first."""
        fit, held = train_test_split(np.arange(self.first_test), test_size=validation, random_state=seed)
        test = range(self.first_test, len(self.rows))
        return [Fold(tuple(sorted(map(int, fit))), tuple(sorted(map(int, held))), tuple(test))]

    def contrast(self, units: Sequence[int]) -> ode.ContrastSet:
        """Every question with the matching letter behind it, against the same with the other letter."""
        prompts, matching = self._prompts(units), self._matching(units)
        positive, negative = (
            [p + LETTERS[letter] for p, letter in zip(prompts, letters, strict=True)]
            for letters in (matching, 1 - matching)
        )
        return ode.ContrastSet.from_texts(positive, negative, (units, units), {"source": "CAA"})

    def evaluate(
        self,
        model: TransformerBridge,
        units: Sequence[int],
        steerer: ode.Steerer | None,
        unsteered: pd.DataFrame | None,
    ) -> pd.DataFrame:
        """`p_matching` (of the two letters) and `matching`; `letter_A` and `p_A` tell of a bias for a letter."""
        scores = option_scores(model, self._prompts(units), [LETTERS] * len(units), steerer, self.batch_size)
        both = rearrange(scores["log_likelihood"].to_numpy(), "(prompt option) -> prompt option", option=2)
        margin, matching = both[:, 1] - both[:, 0], self._matching(units)
        odds = np.where(matching == 1, margin, -margin)
        return pd.DataFrame({"p_matching": 1 / (1 + np.exp(-odds)), "matching": odds > 0, "letter_A": margin < 0,
                             "p_A": 1 / (1 + np.exp(margin))})  # fmt: skip

    def baselines(self, unsteered: pd.DataFrame) -> pd.DataFrame:
        """A coin, with 95 % of what it reaches on this number of questions, and each letter alone."""
        matching, n = self._matching(unsteered["unit"].tolist()), len(unsteered)
        low, high = coin(n)
        tossed = {"baseline": "a coin", "metric": "matching", "value": 0.5, "low": low, "high": high, "n": n}
        letters = [{"baseline": f"always {letter.strip()})", "metric": "matching", **vars(stats.share(matching == i))}
                   for i, letter in enumerate(LETTERS)]  # fmt: skip
        return pd.DataFrame([tossed, *letters])

    def _prompts(self, units: Sequence[int]) -> list[str]:
        return [TEMPLATE.format(question=self.rows[unit]["question"]) for unit in units]

    def _matching(self, units: Sequence[int]) -> np.ndarray:
        """0 where (A) matches the behaviour, 1 where (B) does."""
        return np.array([self.rows[unit][COLUMNS[1]] == "(B)" for unit in units], dtype=int)


def coin(n: int) -> tuple[float, float]:
    """The share of heads that 95 % of n tosses lie within."""
    low, high = binom.ppf([0.025, 0.975], n, 0.5) / n
    return float(low), float(high)
