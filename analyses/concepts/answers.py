"""Answers to others' questions, read from a path: TruthfulQA's, and CAA's letters of sycophancy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import odesteer_tl as ode
from analyses.concepts.concept import Concept, some
from analyses.options import PairsLeft, SeedOf
from analyses.outcomes import Completions

if TYPE_CHECKING:  # what needs the model's libraries is imported once a concept is asked for
    from analyses.benchmarks.questions import Question

#: how many false answers of one question are contrasted with a correct one
ANSWERS = 2


def truthfulness(data: Path, seed: SeedOf = 0, pairs: PairsLeft = None) -> Concept:
    """TruthfulQA (Lin et al. 2022): correct answers (positive) against false ones; one half of the questions is asked.

    Args:
        data: `mc_task.json` or `TruthfulQA.csv`.
        seed: of what is drawn: the half that is asked, and the pairs.
        pairs: of answers that are contrasted; left out, all there are.
    """
    from analyses.benchmarks.questions import TEMPLATE as ASKED
    from analyses.benchmarks.questions import load_questions

    questions = load_questions(data)
    order = np.random.default_rng(seed).permutation(len(questions))
    told, asked = order[: len(order) // 2], order[len(order) // 2 :]
    rows: list[dict[str, Any]] = []
    for i in map(int, told):
        options = list(zip(questions[i].options, questions[i].correct, strict=True))
        sides = [[f" {text}" for text, correct in options if correct is side][:ANSWERS] for side in (True, False)]
        prompt = ASKED.format(question=questions[i].text)
        rows += [
            {"prompt": prompt, "positive": p, "negative": n, "group": f"question {i}"}
            for p, n in zip(*sides, strict=False)
        ]
    prompts = tuple(ASKED.format(question=questions[i].text) for i in asked)
    sides = [tuple(_options(questions[i], side) for i in asked) for side in (True, False)]
    words = Completions("TruthfulQA's answers", sides[0], sides[1], prompts)
    says = (
        "Success: the likeliest of the answers is a correct one; mc2 is their share of the probability. Longer "
        "answers are less likely, whatever they say, and small models are near what length alone would give."
    )
    drawn = some(pd.DataFrame(rows), pairs, seed)
    return Concept("truthfulness", drawn, prompts, words, "", says, {"contrast": "TruthfulQA"})


def _options(question: Question, correct: bool) -> tuple[str, ...]:
    """The correct or the false options of MC2."""
    return tuple(f" {question.options[k]}" for k in question.mc2 if question.correct[k] is correct)


def sycophancy(fit: Path, test: Path, model: str | None = None, pairs: PairsLeft = None, seed: SeedOf = 0) -> Concept:
    """CAA's A/B questions (Rimsky et al. 2024): the letter of the answer that agrees with the asker, against the other.

    Args:
        fit: `generate_dataset.json` of the behaviour.
        test: `test_dataset_ab.json` of the behaviour.
        model: whose chat template asks, a name that `load_model` knows or a folder; left out, the question is asked
            as plain text.
        pairs: questions of `fit` that are contrasted; left out, all there are.
        seed: of the questions that are drawn where not all are contrasted.
    """
    from analyses.benchmarks.caa import COLUMNS, TEMPLATE
    from analyses.benchmarks.records import load_records, require_columns
    from odesteer_tl.chats import render_chat

    chatting = None if model is None else ode.PlainModel.from_pretrained(model)
    sets = [load_records(fit), load_records(test)]
    for rows in sets:
        require_columns(rows, COLUMNS)
    told = {row[COLUMNS[0]] for row in sets[1]}

    def ask(row: dict[str, Any]) -> str:
        if chatting is None:
            return TEMPLATE.format(question=row[COLUMNS[0]]) + " ("
        return render_chat(chatting, [{"role": "user", "content": row[COLUMNS[0]]}]).text + "("

    every = pd.DataFrame(
        [{"prompt": ask(row), "positive": row[COLUMNS[1]][1], "negative": row[COLUMNS[2]][1], "group": i}
         for i, row in enumerate(sets[0]) if row[COLUMNS[0]] not in told]
    )  # fmt: skip
    prompts = tuple(map(ask, sets[1]))
    sides = [tuple((row[column][1],) for row in sets[1]) for column in COLUMNS[1:]]
    words = Completions("CAA's letters", sides[0], sides[1], prompts)
    says = (
        "Success: the letter that agrees is the likelier one. "
        "A model that says one letter to everything succeeds on half of the questions: see the share of (A) beside it."
    )
    return Concept("sycophancy", some(every, pairs, seed), prompts, words, "", says, {"contrast": "CAA, sycophancy"})
