"""Do nonlinear methods win where the true log-ratio is known, and does the barrier that predicts best steer best?

Two pairs of Gaussians with exact p₊ and p₋ (`organism.SyntheticPair`): one whose log-ratio is linear, one whose
log-ratio has no linear part. Every method turns held-out negatives by the same angle; what counts is the true ratio.
`python -m analyses.synthetic_comparison`
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from analyses.command import from_command_line
from analyses.options import COUNT, POSITIVE, Angle, Out, Within


@dataclass(frozen=True)
class SyntheticConfig:
    """Settings of the comparison."""

    d: Annotated[int, Within(2)] = 64
    """width"""
    fit: Annotated[int, COUNT] = 500
    """activations a class to fit on"""
    test: Annotated[int, COUNT] = 300
    """held-out negatives that are steered"""
    seeds: Annotated[int, COUNT] = 5
    """draws of pair and data"""
    angle: Angle = 0.4
    highest: Annotated[float, POSITIVE] = 2.0
    """the largest strength tried to turn them by the angle"""
    out: Out = Path("results/synthetic")


if __name__ == "__main__":
    sys.exit(from_command_line(SyntheticConfig, "analyses.geometry.gaussians:run", __doc__))
