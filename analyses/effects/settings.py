"""What an effect study is about, as its command line and its hash have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from analyses.options import FINITE, POSITIVE, Contrast, Model, NewTokens, Pairs, Seed, Temperature, Threads
from odesteer_tl._words import require_one_of

#: groups of columns that a cell has beside its outcome, unless others are asked for
MEASURES = ("geometry", "likelihood", "survival", "cost", "text")
#: of the contrast, unless others are asked for
FRACTIONS = (0.4, 0.3, 0.15, 0.15)
#: all that can be asked for
GROUPS = (*MEASURES, "path", "expense")


@dataclass(frozen=True)
class EffectSettings:
    """What is steered, on what, and who judges.

    Args:
        outcome: "grammar" (the embedded model's exact judge), a .json or .jsonl file of completions for and against or
            of multiple-choice questions, "vader", "profanity", "language:CODE", "regex:PATTERN",
            "classifier:FOLDER[:LABEL]", a measure such as "length", or "FILE.py:FUNCTION" or "module:function", called
            with prompts and what was written behind each.
        prompts: a .txt file with one a line, or a .csv or .jsonl file with a column `prompt` and, where some are made
            alike, `group`, whose prompts count once; or "openers", the package's; left out, the outcome's own, the
            embedded model's, or held-out negative texts of the contrast.
        threshold: of the outcome's score, above which a text is a success; left out, the outcome's own.
        select: prompts that layer and strength are chosen on; left out, 100, or a third of prompts of your own.
        test: other prompts, that are reported on; left out, 250, or the rest of your own.
        passage: over which tokens budgets are counted: "prompt", its last one; or "text", the mean over that one and
            the first seven that the unsteered model writes behind it: dearer, and the only fair way for methods that do
            not act on every token.
        highest: radians; the largest strength tried when a budget is matched.
        measures: what is measured beside the outcome: "geometry" (path, certificate, stability of the fit),
            "likelihood" (under densities of both classes), "survival" (of the gain in later layers), "cost" (of the
            next token) and "text" (indicators along what is written); or, when named, "path" (in the place of
            "geometry": the same of every step that is taken, and how it bends, without fitting again) and "expense"
            (tokens and seconds of the fit, processor time a token). Each costs time.
        cross_fit: fit on all pairs and calibrate on scores of pairs left out in turn, for contrasts too small to be
            split; without "likelihood", whose densities need texts of their own.
        fractions: shares of the contrast's groups for methods and h, the densities, the calibration of both, and the
            report on how well h reads; without `cross_fit`.
        engine: what draws the texts: left out, the model itself; "vllm", an engine in this process (see the guide's
            page *Serving*), whose draws are others at a temperature above 0. All else is measured on the model.
        concept: what the contrast is about, in words, for methods that are told of it (FLAS); left out, its first
            positive text stands for it.

    Raises:
        ValueError: an unknown passage or measure, or a count or strength out of range.
    """

    model: Model = "organism"
    contrast: Contrast = "valence"
    outcome: str = "grammar"
    prompts: str = ""
    threshold: Annotated[float | None, FINITE] = None
    pairs: Pairs = 600
    select: int | None = None
    test: int | None = None
    temperature: Temperature = 0.7
    max_new_tokens: NewTokens = 25
    passage: str = "prompt"
    highest: Annotated[float, POSITIVE] = 1.2
    measures: tuple[str, ...] = MEASURES
    cross_fit: bool = False
    seed: Seed = 0
    threads: Threads = 1
    engine: str = ""
    fractions: tuple[float, float, float, float] = FRACTIONS
    concept: str = ""

    def __post_init__(self) -> None:
        require_one_of("passage", self.passage, ("prompt", "text"))
        require_one_of("engine", self.engine, ("", "vllm"))
        for name in self.measures:
            require_one_of("measures", name, GROUPS)
        if {"geometry", "path"} <= set(self.measures):
            raise ValueError(
                f"measures={list(self.measures)}: 'path' stands in the place of 'geometry', whose columns it has; "
                "leave one of them out"
            )
        least = {"pairs": 1, "select": 0, "test": 1, "max_new_tokens": 1, "threads": 1}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise ValueError(f"{name}={value} must be at least {smallest}")
        if self.temperature < 0 or not self.highest > 0:
            raise ValueError(f"temperature={self.temperature} must be at least 0 and highest={self.highest} above 0")
        if not all(x > 0 for x in self.fractions) or sum(self.fractions) > 1 + 1e-9:
            raise ValueError(f"fractions={self.fractions} must be positive and sum to no more than 1")
        if self.cross_fit and "likelihood" in self.measures:
            raise ValueError(
                "cross_fit leaves no texts to fit densities on; leave 'likelihood' out of measures, as in "
                f"--measures {' '.join(name for name in self.measures if name != 'likelihood')}"
            )
