"""TruthfulQA's questions (Lin et al. 2022): read from its own file or the hub, and paired for fitting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import odesteer_tl as ode
from analyses.benchmarks.records import load_records, require_columns

TEMPLATE = "Q: {question}\nA:"


@dataclass(frozen=True)
class Question:
    """A question and its options; `correct` are flags over `options`, which hold MC2's and then MC1's own.

    Attributes:
        mc1, mc2: which options the two scores are over.
    """

    text: str
    options: tuple[str, ...]
    correct: tuple[bool, ...]
    mc1: tuple[int, ...]
    mc2: tuple[int, ...]

    def __post_init__(self) -> None:
        flags = [self.correct[i] for i in self.mc1]
        if flags.count(True) != 1 or len({self.correct[i] for i in self.mc2}) != 2:
            raise ValueError(
                f"question={self.text!r}: mc1 needs one correct option of its {len(flags)}, and mc2 correct and false "
                "ones; mend or drop the row"
            )


def load_questions(data: str | Path, revision: str | None = None, limit: int | None = None) -> list[Question]:
    """Questions of `mc_task.json`, or of the hub's "multiple_choice" configuration, in order.

    Raises:
        ValueError: not that layout, or `limit` is below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit} must be at least 1, or left out for all questions")
    rows = load_records(data, revision, split="validation")
    require_columns(rows, ("question", "mc1_targets", "mc2_targets"))
    return [_question(row) for row in rows[:limit]]


def _question(row: dict[str, Any]) -> Question:
    targets = [_targets(row[name]) for name in ("mc2_targets", "mc1_targets")]
    merged = {**targets[1], **targets[0]}
    options = [*targets[0], *(option for option in targets[1] if option not in targets[0])]
    mc2, mc1 = (tuple(options.index(option) for option in target) for target in targets)
    return Question(row["question"], tuple(options), tuple(merged[o] for o in options), mc1, mc2)


def _targets(cell: dict[str, Any]) -> dict[str, bool]:
    """{option: whether correct}, of either layout."""
    pairs = zip(cell["choices"], cell["labels"], strict=True) if "choices" in cell else cell.items()
    return {option: bool(flag) for option, flag in pairs}


def paired_answers(questions: Sequence[Question], units: Sequence[int], template: str) -> ode.ContrastSet:
    """Questions with a correct and with a false answer, row by row; as many of a question as it has of both."""
    positive: list[str] = []
    negative: list[str] = []
    groups: list[int] = []
    for unit in units:
        question = questions[unit]
        prompt = template.format(question=question.text)
        sides = [[f"{prompt} {o}" for o, c in zip(question.options, question.correct, strict=True) if c is side]
                 for side in (True, False)]  # fmt: skip
        for true, false in zip(*sides, strict=False):
            positive.append(true)
            negative.append(false)
            groups.append(unit)
    return ode.ContrastSet.from_texts(positive, negative, (groups, groups), {"source": "TruthfulQA"})
