"""The likelihood study's settings and its result: tables, what was run, figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.likelihood.tables import interval
from analyses.runs import save_run
from figures.likelihood import draw_likelihood, draw_outcome, draw_tokens

#: a method's text has degenerated where it is this much less likely (nats a token), or this share less various
LESS_LIKELY, LESS_DISTINCT = 1.0, 0.2


@dataclass(frozen=True)
class Settings:
    """Settings of the study.

    Args:
        fractions: shares of the prompts for the barrier, the densities, the calibration and the test.
        angle, steps: the grid of strengths, radians.
        declared: the strength at which methods are compared, chosen before looking; on the grid.
        strengths: those at which text is generated; on the grid.
    """

    fractions: tuple[float, float, float, float] = (0.15, 0.39, 0.4, 0.06)
    angle: float = 0.8
    steps: int = 20
    declared: float = 0.4
    strengths: tuple[float, ...] = (0.2, 0.4, 0.8)
    temperature: float = 0.7
    max_new_tokens: int = 25
    seed: int = 0

    @property
    def grid(self) -> float:
        """Radians a step."""
        return self.angle / self.steps

    def step(self, strength: float) -> int:
        """The step of a strength.

        Raises:
            ValueError: it is not on the grid.
        """
        k = round(strength / self.grid)
        if not 0 <= k <= self.steps or abs(k * self.grid - strength) > 1e-9:
            raise ValueError(f"strength={strength} is not one of the {self.steps} steps to angle={self.angle}")
        return k


@dataclass(frozen=True, eq=False)
class LikelihoodStudy:
    """What became of it; every table is tidy, `run` is JSON-able.

    Attributes:
        paths: prompt × method × step. turning: prompt × method. tokens: prompt × method × strength × token, as it
            arrived (state 0) and as it was steered (state 1). texts: prompt × method × strength.
        curves: means along the path with simultaneous bands. references: real held-out activations of both classes.
        summary, comparisons, agreement, degeneration: by method. prediction: empty where nothing can judge the texts.
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

    def tables(self) -> dict[str, pd.DataFrame]:
        """All of them by name."""
        return {name: x for name, x in vars(self).items() if isinstance(x, pd.DataFrame)}

    def save(self, out: Path) -> None:
        """Write a parquet file a table, `run.json` and the figures.

        Raises:
            ValueError: `out` holds an earlier run.
        """
        save_run(out, self.tables(), self.run)
        draw_likelihood(self.curves, self.references, self.summary, out)
        settings = self.run["settings"]
        shown = min(settings["strengths"], key=lambda x: abs(x - settings["declared"]))
        draw_tokens(self.tokens, self.references, shown, out)
        draw_outcome(self.texts, out)

    def for_reading(self) -> pd.DataFrame:
        """The main table: where log p₊ peaks and what the declared strength does, by method."""
        columns = {"T* (rad)": "t_star", "off p₊'s data": "outside", "Δ log p₊ (nats)": "log_positive_change",
                   "Δ log p₋ (nats)": "log_negative_change", "p₊ moved most": "p_plus_moved",
                   "over-steered": "over_steered"}  # fmt: skip
        rows: list[dict[str, Any]] = self.summary.to_dict("records")
        shown = {title: [interval(row, name) for row in rows] for title, name in columns.items()}
        return pd.DataFrame({"method": self.summary["method"], **shown})

    def __str__(self) -> str:
        source = self.run["contrast"].get("concept", self.run["contrast"]["source"])
        where = f"{source}, layer {self.run['layer']}, {self.run['prompts']['test']} test prompts"
        at = f"changes and shares at {self.run['settings']['declared']} rad; 95 % intervals"
        return f"Trajectory likelihood: {where}; {at}\n{self.for_reading().to_string(index=False)}"

    def _repr_html_(self) -> str:
        return self.for_reading().to_html(index=False)
