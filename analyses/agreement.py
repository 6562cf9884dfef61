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
from typing import Annotated

from analyses.command import from_command_line
from analyses.options import COUNT, SOME, Angles, Models, NewTokens, Out, Pairs, Seed, Select, Temperature, Test
from odesteer_tl._words import require_one_of

#: the usual ones, which are known to be there without asking the library
USUAL = ("caa", "linear barrier", "odesteer_kernel", "random")


@dataclass(frozen=True)
class AgreementConfig:
    """Settings of the study.

    Raises:
        ValueError: an unknown method, or one that is not fitted on the residual stream.
    """

    models: Models = ("organism",)
    out: Out = Path("results/agreement")
    pairs: Pairs = 500
    test_pairs: Annotated[int, COUNT] = 500
    """pairs that reading is tested on"""
    select: Select = 150
    test: Test = 500
    methods: Annotated[tuple[str, ...], SOME] = USUAL
    """names in METHODS, or "linear barrier" """
    angles: Annotated[Angles, SOME] = (0.2, 0.4, 0.6)
    temperature: Temperature = 0.7
    max_new_tokens: NewTokens = 40
    seed: Seed = 0

    def __post_init__(self) -> None:
        if set(self.methods) <= set(USUAL):
            return
        import odesteer_tl as ode  # (its methods bring the model's libraries with them)
        from odesteer_tl.sites import BLOCK_OUTPUT

        known = [name for name, method in ode.METHODS.items() if method.train is None and method.site == BLOCK_OUTPUT]
        for name in self.methods:
            require_one_of("methods", name, ("linear barrier", *known))


if __name__ == "__main__":
    sys.exit(from_command_line(AgreementConfig, "analyses.reading.agreement:run", __doc__))
