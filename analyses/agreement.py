"""Agreement of two hidden variables, weather and place: which barriers read it, and does steering bring it about?

For every embedded model given (one a training seed): AUC on held-out texts of linear and quadratic barriers, fitted
on the same texts, each at its own cross-validated C and γ, beside the Bayes ceiling of the same texts; then the success
of CAA, the linear and the quadratic barrier and a random direction at equal angle, the layer chosen on validation
prompts for each.
`python -m analyses.agreement --model organism results/organism/seed-1 results/organism/seed-2`
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from analyses.command import from_command_line
from analyses.options import Angles, Models, NewTokens, Out, Pairs, Seed, Select, Temperature, Test


@dataclass(frozen=True)
class AgreementConfig:
    """Settings of the study."""

    models: Models = ("organism",)
    out: Out = Path("results/agreement")
    pairs: Pairs = 500
    test_pairs: int = 500
    """pairs that reading is tested on"""
    select: Select = 150
    test: Test = 500
    methods: tuple[str, ...] = ("caa", "linear barrier", "odesteer_kernel", "random")
    """names in METHODS, or "linear barrier" """
    angles: Angles = (0.2, 0.4, 0.6)
    temperature: Temperature = 0.7
    max_new_tokens: NewTokens = 40
    seed: Seed = 0


if __name__ == "__main__":
    sys.exit(from_command_line(AgreementConfig, "analyses.reading.agreement:run", __doc__))
