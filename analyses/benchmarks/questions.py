"""TruthfulQA's questions (Lin et al. 2022): read from its own files or the hub, and paired for fitting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import odesteer_tl as ode
from analyses.benchmarks.records import load_records

#: as the set's authors, honest_llama and ODESteer's authors have it
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
    """TruthfulQA's questions, in order, of any of its own layouts.

    That is its mc_task.json or the hub's "multiple_choice" configuration, which hold MC1's and MC2's options; or its
    TruthfulQA.csv or the hub's "generation" configuration, which hold reference answers. Of these the options are made
    as by the set's authors: MC1 is the best answer among the incorrect ones, MC2 the correct among them, every answer
    ended by a full stop.

    Raises:
        ValueError: none of these layouts, or `limit` is below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit} must be at least 1, or left out for all questions")
    rows = load_records(data, revision, split="validation")
    for columns, read in LAYOUTS.items():
        if all(column in rows[0] for column in columns):
            return [read(*(row[column] for column in columns)) for row in rows[:limit]]
    expected = "; or ".join(", ".join(columns) for columns in LAYOUTS)
    raise ValueError(f"data has the columns {sorted(rows[0])}; expected are {expected}: pass TruthfulQA's "
                     "mc_task.json or TruthfulQA.csv, or truthfulqa/truthful_qa:multiple_choice")  # fmt: skip


def _of_targets(text: str, mc1_targets: dict[str, Any], mc2_targets: dict[str, Any]) -> Question:
    return _question(text, _targets(mc1_targets), _targets(mc2_targets))


def _of_answers(text: str, best: str, correct: str | Sequence[str], incorrect: str | Sequence[str]) -> Question:
    false = dict.fromkeys(_answers(incorrect), False)
    true = dict.fromkeys(_answers(correct), True)
    return _question(text, dict.fromkeys(_answers([best]), True) | false, true | false)


#: the columns of each layout, in the order of what reads them
LAYOUTS: dict[tuple[str, ...], Callable[..., Question]] = {
    ("question", "mc1_targets", "mc2_targets"): _of_targets,
    ("Question", "Best Answer", "Correct Answers", "Incorrect Answers"): _of_answers,
    ("question", "best_answer", "correct_answers", "incorrect_answers"): _of_answers,
}


def _answers(cell: str | Sequence[str]) -> list[str]:
    """Reference answers, in the .csv with semicolons between them, each ended by a full stop."""
    answers = [answer.strip() for answer in (cell.split(";") if isinstance(cell, str) else cell)]
    return [answer if answer.endswith(".") else f"{answer}." for answer in answers if answer]


def _question(text: str, mc1: dict[str, bool], mc2: dict[str, bool]) -> Question:
    merged = {**mc1, **mc2}
    options = [*mc2, *(option for option in mc1 if option not in mc2)]
    places = [tuple(options.index(option) for option in target) for target in (mc1, mc2)]
    return Question(text.strip(), tuple(options), tuple(merged[option] for option in options), *places)


def _targets(cell: dict[str, Any]) -> dict[str, bool]:
    """{option: whether correct}; the hub's records of `choices` and `labels`, or mc_task.json's own form."""
    pairs = zip(cell["choices"], cell["labels"], strict=True) if "choices" in cell else cell.items()
    return {option: bool(flag) for option, flag in pairs}


def paired_answers(questions: Sequence[Question], units: Sequence[int]) -> ode.ContrastSet:
    """Questions with a correct and with a false answer, row by row; as many of a question as it has of both."""
    positive: list[str] = []
    negative: list[str] = []
    groups: list[int] = []
    for unit in units:
        question = questions[unit]
        prompt = TEMPLATE.format(question=question.text)
        sides = [[f"{prompt} {o}" for o, c in zip(question.options, question.correct, strict=True) if c is side]
                 for side in (True, False)]  # fmt: skip
        for true, false in zip(*sides, strict=False):
            positive.append(true)
            negative.append(false)
            groups.append(unit)
    return ode.ContrastSet.from_texts(positive, negative, (groups, groups), {"source": "TruthfulQA"})
