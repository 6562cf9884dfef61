"""What a certification gives: its tables, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.intervals import with_intervals
from analyses.runs import save_run

#: of the layers' tables, in the order of `BarrierCertification`
TABLES = ("findings", "steps", "tokens", "radii", "directions", "survival", "strengths")
READING = "held-out AUC of h (texts)"


@dataclass(frozen=True)
class BarrierCertification:
    """What was proved and what was measured, layer by layer.

    Attributes:
        findings: one line a claim: value, 95 % interval, N (prompts).
        steps: one row a prompt × token × step.
        tokens, radii, directions, survival: one row a prompt × token, prompt, method × prompt, later layer × prompt.
        strengths: one row an integrator × angle.
        run: settings, splits, N, population bounds.

    A certificate speaks of the barrier it was given, in exact arithmetic on the points realised. That the barrier is
    itself right is what the audits ask; they are measurements, not proofs.
    """

    findings: pd.DataFrame
    steps: pd.DataFrame
    tokens: pd.DataFrame
    radii: pd.DataFrame
    directions: pd.DataFrame
    survival: pd.DataFrame
    strengths: pd.DataFrame
    run: dict[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def of(cls, layers: Mapping[int, Mapping[str, pd.DataFrame]], run: dict[str, Any]) -> BarrierCertification:
        """From the tables of every layer."""
        named = {name: [tables[name].assign(layer=layer) for layer, tables in layers.items() if name in tables]
                 for name in TABLES}  # fmt: skip
        return cls(**{name: pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
                      for name, frames in named.items()}, run=run)  # fmt: skip

    def table(self) -> pd.DataFrame:
        """The findings for reading: one line a claim, one column a layer, N beside it, how well h reads at the top."""
        texts = zip(with_intervals(self.findings), self.findings["n"], strict=True)
        shown = self.findings.assign(text=[f"{text} n={n:.0f}" for text, n in texts])
        return shown.pivot_table(index="what", columns="layer", values="text", aggfunc="first", sort=False)

    def frame(self) -> pd.DataFrame:
        """The findings, one row a claim and layer, with the AUC of the h that each is about beside it."""
        reads = self.findings.loc[self.findings["what"] == READING, ["layer", "value", "low", "high"]]
        beside = reads.set_axis(["layer", "auc", "auc_low", "auc_high"], axis=1)
        return self.findings.merge(beside, on="layer", how="left")

    def warning(self) -> str:
        """Which layers' h was not shown to read anything, so that what is certified of it is about nothing."""
        nothing = self.nothing()
        reads = self.findings[(self.findings["what"] == READING) & ~self.findings["layer"].isin(list(nothing))]
        blind = reads.loc[reads["low"] <= 0.5, "layer"].tolist()
        said = [f"At layer {layer} nothing is certified: {why}." for layer, why in nothing.items()]
        if blind:
            said.append(
                f"WARNING: at layer {', '.join(map(str, blind))} the held-out AUC of h is not shown to be above ½: "
                "nothing shows that h reads the concept there, and whatever is certified of it is about no concept."
            )
        elif len(reads):
            said.append("A certificate proves that h rises, not that h is right: how well h reads is the first line.")
        return " ".join(said)

    def nothing(self) -> dict[int, str]:
        """The layers at which nothing is certified since h tells no texts apart, and what was said of it."""
        layers: dict[int, dict[str, Any]] = self.run.get("population", {})
        return {layer: found["nothing"] for layer, found in layers.items() if "nothing" in found}

    def __str__(self) -> str:
        return f"{self.warning()}\n\n{self.table().fillna('–').to_markdown()}"

    def _repr_html_(self) -> str:
        return f"<p>{self.warning()}</p>{self.table().fillna('–').to_html()}"

    def save(self, out: Path) -> Path:
        """Write all tables as parquet and `run.json`, all or nothing."""
        return save_run(out, {name: getattr(self, name) for name in TABLES}, self.run)
