"""The likelihood study's settings and its result: tables, what was run, figures."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from tyro.conf import arg

from analyses.intervals import with_interval, with_intervals
from analyses.options import ANGLES, NATURAL, POSITIVE, Formerly, NewTokens, Seed, Temperature
from analyses.runs import save_run
from odesteer_tl._words import require_one_of

#: a method's text has degenerated where it is this much less likely (nats a token), or this share less various
LESS_LIKELY, LESS_DISTINCT = 1.0, 0.2
#: where the densities were fitted, and what they speak of
POSITION = "the last token of a text"
GridAngle = Annotated[
    float,
    arg(name="angle", help="the end of the grid of angles along a path: radians of the activation's own norm"),
    ANGLES,
    POSITIVE,
]
CompareAngle = Annotated[
    float,
    arg(name="compare-angle", help="radians at which methods are compared, chosen before looking; on the grid"),
    Formerly(("declared",)),
    NATURAL,
]
TextAngles = Annotated[
    tuple[float, ...],
    arg(name="text-angle", help="radians by which the tokens of texts are steered, one by one; on the grid"),
    Formerly(("strengths",)),
    POSITIVE,
]
#: of a layer
TABLES = ("paths", "turning", "tokens", "texts", "curves", "references", "summary", "comparisons", "agreement",
          "degeneration", "prediction")  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Settings of the study.

    Args:
        fractions: shares of the prompts for the barrier, the densities, the calibration and the test.
        steps: of the grid.
        texts: whose tokens these are: of the "unsteered" model's own texts, written once behind the starts and behind
            real positives, or of texts "steered" by every method at every `--text-angle`. "auto" is steered where
            something judges the texts, and else unsteered.
        cross_fit: fit and calibrate five times in turn, for contrasts too small to be split in four: `fractions` is
            then the share of the test alone, and tokens are those of unsteered texts.

    Raises:
        ValueError: a setting is out of range, a strength is not on the grid, or texts are to be written five times.
    """

    fractions: tuple[float, float, float, float] = (0.15, 0.39, 0.4, 0.06)
    angle: GridAngle = 0.8
    steps: int = 20
    declared: CompareAngle = 0.4
    strengths: TextAngles = (0.2, 0.4, 0.8)
    temperature: Temperature = 0.7
    max_new_tokens: NewTokens = 25
    seed: Seed = 0
    texts: str = "auto"
    cross_fit: bool = False

    def __post_init__(self) -> None:
        require_one_of("texts", self.texts, ("auto", "unsteered", "steered"))
        if self.cross_fit and self.texts == "steered":
            raise ValueError("texts='steered' would be written once a rotation under cross_fit; steer unsteered texts")
        if not all(x > 0 for x in self.fractions) or sum(self.fractions) > 1 + 1e-9:
            raise ValueError(f"fractions={self.fractions} must be positive and sum to no more than 1")
        if not 0 < self.angle <= math.pi or self.steps < 2:
            raise ValueError(f"angle={self.angle} must be in (0, π] radians and steps={self.steps} at least 2")
        if self.max_new_tokens < 1 or not self.temperature >= 0:
            raise ValueError(
                f"max_new_tokens={self.max_new_tokens} must be at least 1 and temperature={self.temperature} at least 0"
            )
        if not self.strengths or min(self.strengths) <= 0 or len(set(self.strengths)) < len(self.strengths):
            raise ValueError(f"strengths={self.strengths} must be positive, at least one, each once")
        self.step(self.declared, "declared (--compare-angle)")
        for strength in self.strengths:
            self.step(strength, "strengths (--text-angle)")

    def writes(self, judged: bool) -> bool:
        """Whether every arm writes texts of its own.

        Args:
            judged: whether something judges what is written.
        """
        return self.texts == "steered" or (self.texts == "auto" and judged and not self.cross_fit)

    @property
    def grid(self) -> float:
        """Radians a step."""
        return self.angle / self.steps

    def step(self, strength: float, name: str = "strength") -> int:
        """The step of a strength, which an error calls by this name.

        Raises:
            ValueError: it is not on the grid.
        """
        k = round(strength / self.grid) if math.isfinite(strength) else -1
        if not 0 <= k <= self.steps or abs(k * self.grid - strength) > 1e-9:
            raise ValueError(f"{name}={strength} is not one of the {self.steps} steps to angle={self.angle}")
        return k


@dataclass(frozen=True, eq=False)
class LikelihoodStudy:
    """What became of it; every table is tidy, `run` is JSON-able.

    Attributes:
        paths: prompt × method × step. turning: prompt × method. tokens: prompt × method × strength × token, as it
            arrived (state 0) and as it was steered (state 1). texts: prompt × method × strength.
        curves: means along the path with simultaneous bands. references: real held-out activations of both classes,
            whose quantiles (and `median_t_star` of the summary) count every text, all else a group of near copies once.
        summary, comparisons, agreement, degeneration: by method. prediction: empty where nothing can judge the texts.
        run: settings, splits, the referees; `nothing`, where there is nothing to read.
    """

    paths: pd.DataFrame
    turning: pd.DataFrame
    tokens: pd.DataFrame
    texts: pd.DataFrame
    curves: pd.DataFrame
    references: pd.DataFrame
    summary: pd.DataFrame
    comparisons: pd.DataFrame
    agreement: pd.DataFrame
    degeneration: pd.DataFrame
    prediction: pd.DataFrame
    run: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def nothing(self) -> str:
        """What was said of a layer at which nothing tells the classes apart, and of which every table is empty."""
        return str(self.run.get("nothing", ""))

    def tables(self) -> dict[str, pd.DataFrame]:
        """All of them by name."""
        return {name: x for name, x in vars(self).items() if isinstance(x, pd.DataFrame)}

    def save(self, out: Path) -> None:
        """Write a parquet file a table, `run.json` and the figures.

        Raises:
            ValueError: `out` holds an earlier run.
        """
        save_run(out, {} if self.nothing else self.tables(), self.run)
        if self.nothing:
            return
        from figures.likelihood import draw_likelihood, draw_outcome, draw_tokens  # only the pictures need matplotlib

        draw_likelihood(self.curves, self.references, self.summary).save(out)
        settings = self.run["settings"]
        shown = min(settings["strengths"], key=lambda x: abs(x - settings["declared"]))
        draw_tokens(self.tokens, self.references, shown).save(out)
        if bool((self.texts["strength"] > 0).any()):  # texts were written under steering
            draw_outcome(self.texts).save(out)

    def for_reading(self) -> pd.DataFrame:
        """The main table: where log p₊ peaks and what the declared strength does, by method."""
        if self.nothing:
            return self.summary
        columns = {
            "T* (rad)": "t_star",
            "turned (rad)": "angle_reached",
            "stop before": "stops",
            "off p₊'s data at the start": "outside_at_start",
            "off p₊'s data": "outside",
            "left it, of those on it": "leaves",
            "Δ log p₊ (nats)": "log_positive_change",
            "Δ log p₋ (nats)": "log_negative_change",
            "p₊ moved most": "p_plus_moved",
            "over-steered": "over_steered",
        }
        shown = {title: with_intervals(self.summary, name, ".2f") for title, name in columns.items()}
        return pd.DataFrame({"method": self.summary["method"], **shown})

    def __str__(self) -> str:
        source = self.run["contrast"].get("concept", self.run["contrast"]["source"])
        where = f"{source}, layer {self.run['layer']}, {self.run['prompts']['test']} test prompts"
        if self.nothing:
            return f"Trajectory likelihood: {where}\n{self.remark()}"
        at = f"changes and shares at {self.run['settings']['declared']} rad; 95 % intervals"
        return f"Trajectory likelihood: {where}; {at}\n{self.remark()}\n{self.for_reading().to_string(index=False)}"

    def remark(self) -> str:
        """What there was to lose, how well h reads, and where the densities are at home."""
        if self.nothing:
            return f"Nothing is fitted here: {self.nothing}."
        share, n = float(self.summary["outside_at_start"].to_numpy()[0]), int(self.summary["n"].to_numpy()[0])
        on = round((1 - share) * n)
        lost = f"{on} of {n} starts are on p₊'s data" + ("" if on else ": there is nothing left to lose")
        reads = self.run.get("barrier", {}).get("auc")
        auc = None if reads is None else with_interval(reads["value"], reads["low"], reads["high"])
        area = f"; h reads held-out texts with AUC {auc}" if auc else ""
        rotated = " (cross-fitted: five fits, what is said is their mean, and a rank of 2.5 % may be one of 5 %)"
        area += rotated if self.run["settings"].get("cross_fit") else ""
        return f"{lost}{area}. Densities are of activations at {POSITION}, and say less of others."

    def frame(self) -> pd.DataFrame:
        """The main table in numbers, one row a method."""
        return self.summary

    def _repr_html_(self) -> str:
        return f"<p>{self.remark()}</p>{self.for_reading().to_html(index=False)}"
