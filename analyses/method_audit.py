"""Everything that is measured of every method, fitted or trained through the model, on one model and concept.

The comparison of `analyses.method_comparison` with every step's path (is a learned flow curved?), steps admissible for
the cross-validated h, densities, survival in later layers, success and fluency at equal KL and angle, and what fitting
and a token cost. All methods learn from the same texts.
`python -m analyses.concepts sentiment` and then
`python -m analyses.method_audit --concept results/concepts/sentiment --layer 14 --dry-run`
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from analyses.command import command, from_command_line
from analyses.effects.grid import levels_meant
from analyses.effects.settings import EffectSettings
from analyses.method_comparison import ComparisonConfig, dry_run, method_comparison
from analyses.options import (
    NAMED,
    POSITIVE,
    Angles,
    AnyExecutor,
    DryRun,
    Model,
    NewTokens,
    OneLayer,
    Out,
    Seed,
    Test,
    Threads,
)

#: what is measured; densities need texts of their own, which a small contrast does not have
MEASURED = ("path", "likelihood", "survival", "cost", "text", "expense")


#: levels where none is asked for
USUAL = {"angle": (0.1, 0.3), "kl": (0.03, 0.1, 0.3)}


@dataclass(frozen=True)
class AuditConfig:
    """Settings of the audit.

    Args:
        concept: a folder as `python -m analyses.concepts` writes it, with pairs.jsonl, prompts.json and words.json.
            Where its concept.json has a "concept" (AxBench's do), methods that are told of one (FLAS) are told that.
        methods: names in METHODS; left out, all. The placebo and the unsteered model are always there.
        kl: levels of the next token's KL to unsteered, nats. Of angle and kl, what is left out is not asked;
            without both, angles of 0.1, 0.3 and levels of 0.03, 0.1, 0.3 are.
        fractions: shares of the contrast's groups for methods and h, the densities, the calibration of both (which
            takes 40 groups) and the report on how well h reads.
        outcome: another one than the words of the concept, such as "vader".
        cross_fit: for few pairs: fit on all, calibrate h on pairs left out in turn; without densities.
        between: pairs of methods, named before looking, whose scores are tested against each other, one pair after the
            other; "trained" and "fitted" are the mean of all that are. All methods are tested against unsteered, the
            placebo and caa, and trained ones against fitted ones.
    """

    concept: Path
    model: Model = "smollm2"
    layer: OneLayer = None
    methods: Annotated[tuple[str, ...], NAMED] = ()
    angle: Angles = ()
    kl: Annotated[tuple[float, ...], POSITIVE] = ()
    test: Test = 100
    max_new_tokens: NewTokens = 25
    outcome: str = ""
    fractions: Annotated[tuple[float, float, float, float], POSITIVE] = (0.3, 0.2, 0.4, 0.1)
    cross_fit: bool = False
    seed: Seed = 0
    threads: Threads = 1
    executor: AnyExecutor = "local"
    out: Out = Path("results/audit")
    dry_run: DryRun = False
    between: Annotated[tuple[tuple[str, str], ...], NAMED] = ()

    def comparison(self) -> ComparisonConfig:
        """The comparison that measures all of it.

        Raises:
            ValueError: a setting out of range.
        """
        pairs, prompts, words = (
            str(self.concept / f"{name}") for name in ("pairs.jsonl", "prompts.json", "words.json")
        )
        effect = EffectSettings(
            model=self.model, contrast=pairs, prompts=prompts, outcome=self.outcome or words, select=0, test=self.test,
            max_new_tokens=self.max_new_tokens, passage="text", cross_fit=self.cross_fit, seed=self.seed,
            measures=tuple(name for name in MEASURED if name != "likelihood" or not self.cross_fit),
            threads=self.threads, fractions=self.fractions, concept=described(self.concept),
        )  # fmt: skip
        levels = levels_meant({"angle": self.angle, "kl": self.kl}, USUAL)
        return ComparisonConfig(
            effect, self.layer, self.methods, levels["angle"], (), levels["kl"], self.executor,
            self.out / self.concept.resolve().name, self.dry_run, self.between,
        )  # fmt: skip


def described(folder: Path) -> str:
    """What `concept.json` calls the concept in words, or nothing."""
    file = folder / "concept.json"
    return str(json.loads(file.read_text(encoding="utf-8")).get("concept", "")) if file.is_file() else ""


def main(config: AuditConfig) -> int:
    """Run, write the report and print it, or say what that costs; 1 if a cell failed, 2 if something was refused."""
    meant = config.comparison()
    return command(lambda: dry_run(meant) if config.dry_run else method_comparison(meant), config.dry_run)


if __name__ == "__main__":
    sys.exit(from_command_line(AuditConfig, main, __doc__))
