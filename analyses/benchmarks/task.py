"""What a benchmark is: units, their splits, the contrast to fit on, and a row of outcomes a unit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import ClassVar, Literal

import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.benchmarks.context import clip_left
from analyses.benchmarks.presets import Sampling
from analyses.benchmarks.records import Record
from analyses.benchmarks.splits import Fold, cross_folds
from analyses.text_quality import text_quality
from odesteer_tl import stats


class Task(ABC):
    """A benchmark over units (questions, prompts): a unit is what intervals are over.

    Outcomes are a frame with a row a unit, in order: a boolean column becomes a share, a number a mean, anything else
    is kept for reading. No unit is ever left out.
    """

    #: as on the command line
    name: ClassVar[str]
    #: the outcome layers and strengths are chosen by, on validation units
    criterion: ClassVar[str]
    #: which way it is better
    goal: ClassVar[Literal["high", "low"]] = "high"

    @property
    @abstractmethod
    def groups(self) -> Sequence[Hashable]:
        """A label a unit; units that share one stay on one side of a split."""

    @abstractmethod
    def contrast(self, units: Sequence[int]) -> ode.ContrastSet:
        """The texts a field is fitted on, made of these units alone, paired row by row."""

    @abstractmethod
    def evaluate(
        self,
        model: TransformerBridge,
        units: Sequence[int],
        steerer: ode.Steerer | None,
        unsteered: pd.DataFrame | None,
    ) -> pd.DataFrame:
        """Outcomes of these units; `unsteered` are the same units' without a steerer (None where that is asked for)."""

    def folds(self, folds: int, validation: float, seed: int) -> list[Fold]:
        """Splits of the units."""
        return cross_folds(self.groups, folds, validation, seed)

    def headlines(self, outcomes: pd.DataFrame) -> dict[str, stats.Estimate]:
        """Figures that are no mean of a column."""
        return {}

    def baselines(self, unsteered: pd.DataFrame) -> pd.DataFrame:
        """What no model at all would reach: `baseline`, `metric`, `value`, `low`, `high`, `n`."""
        return pd.DataFrame()


class GenerationTask(Task):
    """A benchmark of generated continuations, each scored with its text's quality."""

    def __init__(self, sampling: Sampling, seed: int = 0) -> None:
        self.sampling, self.seed = sampling, seed

    @abstractmethod
    def prompts(self, units: Sequence[int]) -> list[str]:
        """What is continued."""

    @abstractmethod
    def score(
        self, units: Sequence[int], continuations: Sequence[str], unsteered: Sequence[str] | None
    ) -> pd.DataFrame:
        """Outcomes of given continuations, an empty one being a failure; `unsteered` are those of the plain model."""

    def answer(self, continuation: str) -> str:
        """The part of a continuation that is scored."""
        return continuation

    def evaluate(
        self,
        model: TransformerBridge,
        units: Sequence[int],
        steerer: ode.Steerer | None,
        unsteered: pd.DataFrame | None,
    ) -> pd.DataFrame:
        """Generate, score, and measure the quality: `prompt`, `continuation` (its answer) and `failed` come first."""
        prompts = [clip_left(model, text, reserve=self.sampling.max_new_tokens) for text in self.prompts(units)]
        if steerer is not None:
            steerer.check(model)
        texts = ode.generate(model, prompts, None if steerer is None else steerer.hooks, seed=self.seed,
                             completions_only=True, **self.sampling.settings())  # fmt: skip
        answers = [self.answer(text) for text in texts]
        reference = None if unsteered is None else unsteered["continuation"].tolist()
        given = pd.DataFrame({"prompt": prompts, "continuation": answers, "failed": [failed(a) for a in answers]})
        quality = text_quality(model, prompts, answers)
        return pd.concat([given, self.score(units, answers, reference), quality], axis=1)


class RowsTask(GenerationTask):
    """One whose units are rows of a data set, each with its `prompt`, of which the continuation is scored."""

    def __init__(self, rows: Sequence[Record], sampling: Sampling, seed: int = 0) -> None:
        super().__init__(sampling, seed)
        self.rows = list(rows)

    @property
    def groups(self) -> Sequence[Hashable]:
        """The prompts: several rows may share one."""
        return self.prompts(range(len(self.rows)))

    def prompts(self, units: Sequence[int]) -> list[str]:
        """Without the data set's own continuations or responses."""
        return [self.rows[unit]["prompt"] for unit in units]


def failed(continuation: str) -> bool:
    """Whether there is nothing to score: no letter and no digit. It counts as a failure, and is never dropped."""
    return not any(character.isalnum() for character in continuation)


def summary(task: Task, outcomes: pd.DataFrame) -> pd.DataFrame:
    """A row a figure: `metric`, `value`, `low`, `high`, `n`. Shares are exact, means studentised.

    Perplexity is a median: a handful of texts would carry its mean. A figure a unit does not have (the 4-grams of a
    text of three words) is a mean over those that have it, as n says.
    """
    found: dict[str, stats.Estimate] = {}
    for name, column in outcomes.select_dtypes(["bool", "number"]).items():
        if column.dtype == bool:
            found[str(name)] = stats.share(column)
        elif (known := column.dropna().to_numpy(dtype=float)).size:
            found[str(name)] = stats.median(known) if name == "perplexity" else stats.mean(known)
    rows = [{"metric": name, **vars(estimate)} for name, estimate in (found | task.headlines(outcomes)).items()]
    return pd.DataFrame(rows)
