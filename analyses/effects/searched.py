"""What a search for layer and strength found: a candidate, its success on test prompts, the cost and how it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.effects.arms import several
from analyses.effects.per_prompt import LayerPerPrompt
from analyses.runs import save_run
from analyses.search import Answer
from odesteer_tl import stats
from odesteer_tl._renamed import renamed


@renamed(arm="candidate")
@dataclass(frozen=True, eq=False)
class Searched:
    """What a search found.

    Attributes:
        answer: of the race, on the select prompts: the candidate, how sure that is, and the candidates that cannot be
            told apart.
        candidate: its `layer`, `label`, `budget` and `level`, and `layers` if it acts on several, whose last is
            `layer`; those of "unsteered", if nothing beats that.
        apart: of each candidate that has a layer for every prompt, by name, which.
        reward: what was raced for (`analyses.search.reward`).
        success, unsteered: its mean on the test prompts, which took no part in the choice. difference: of the two.
        tokens: forward tokens of looks and pulls; grid: of every candidate on every select prompt, whose levels share
            their scans; fixed: what both need first (the contrast's activations and the prompts). A token through half
            of the blocks counts half. All three are the estimates of `--dry-run`, from lengths and layers.
        looks: a row a candidate, what the cheap looks said.
        directory: where all of it is kept, and whence the same call goes on.
    """

    answer: Answer
    candidate: Mapping[str, Any]
    apart: Mapping[str, LayerPerPrompt]
    reward: str
    success: stats.Estimate
    unsteered: stats.Estimate
    difference: stats.Estimate
    tokens: float
    grid: float
    fixed: float
    looks: pd.DataFrame
    directory: Path

    @property
    def layer(self) -> int:
        """The (last) layer to steer at; −1 if nothing is to be steered."""
        return int(self.candidate["layer"])

    @property
    def layers(self) -> tuple[int, ...]:
        """All layers to steer at, with one strength, or each prompt at one of them (`per_prompt`); none if nothing is
        to be steered."""
        return several(self.candidate) or (self.layer,) * (self.layer >= 0)

    @property
    def level(self) -> float:
        """How strong."""
        return float(self.candidate["level"])

    def frame(self) -> pd.DataFrame:
        """The candidates, each with how often it was asked and what is known of it."""
        return self.answer.frame().merge(self.looks.rename(columns={"arm": "candidate"}), on="candidate", how="left")

    @property
    def per_prompt(self) -> LayerPerPrompt | None:
        """Which of `layers` a prompt is steered at, where each has a layer of its own."""
        return self.apart.get(self.answer.candidate)

    def choices(self) -> pd.DataFrame:
        """Of each candidate with a layer for every prompt, which: `candidate`, `prompt` (its number), `layer`."""
        rows = [(arm, i, layer) for arm, rule in self.apart.items() for i, layer in enumerate(rule.chosen)]
        return pd.DataFrame(rows, columns=["candidate", "prompt", "layer"])

    def rounds(self) -> pd.DataFrame:
        """How the race went: a row a pull, with the share of the grid's cost, the leader and the candidates left."""
        known = self.frame().set_index("candidate")
        return pd.DataFrame([
            {"turn": i, "cost": r.cost, "candidate": p.arm, "block": p.block, "layer": known.at[p.arm, "layer"],
             "level": known.at[p.arm, "level"], "leader": r.leader, "standing": r.standing}
            for i, r in enumerate(self.answer.rounds) for p in r.pulls
        ])  # fmt: skip

    def save(self, out: Path, settings: Mapping[str, Any]) -> None:
        """Write `candidates`, `race`, `choices` if there are any, and what was found; a folder that is there holds the
        same, from the same settings."""
        if out.exists():
            return
        found = {"answer": str(self), "verdict": self.answer.verdict, "chosen": dict(self.candidate),
                 "reward": self.reward, "success": vars(self.success), "unsteered": vars(self.unsteered),
                 "difference": vars(self.difference), "tokens": self.tokens, "grid": self.grid,
                 "fixed": self.fixed}  # fmt: skip
        tables = {
            "candidates": self.frame(),
            "race": self.rounds(),
            **({"choices": self.choices()} if self.apart else {}),
        }
        save_run(out, tables, {"settings": dict(settings), "found": found})

    def __str__(self) -> str:
        return (
            f"{self.answer}\n{self.reward.capitalize()} on the test prompts: {self.success}; unsteered "
            f"{self.unsteered}; difference {self.difference}.\nForward tokens: {self.tokens:,.0f}, "
            f"{self.tokens / self.grid:.1%} of the grid's {self.grid:,.0f} (with what both need first, "
            f"{self.fixed:,.0f}: {(self.tokens + self.fixed) / (self.grid + self.fixed):.1%})."
        )

    def _repr_html_(self) -> str:
        lines = "".join(f"<p>{line}</p>" for line in str(self).splitlines())
        return lines + self.frame().to_html(index=False, float_format="{:.3f}".format)
