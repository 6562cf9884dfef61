"""Why does a barrier that reads agreement not bring it about? Where steering acts, and what later blocks read.

For every embedded model: the success of both barriers, of the quadratic one's step inside and outside the plane of the
two latents' mean differences, and of constant directions, at equal angle; what a step along each does to the next token
and to agreement as the last layer has it; what the loss owes to the direction in which agreement is read.
`python -m analyses.reading_and_steering --model organism results/organism/seed-1 results/organism/seed-2`
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from analyses.command import from_command_line
from analyses.options import (
    COUNT,
    COUNTED,
    FINITE,
    LAYERS,
    Angle,
    Models,
    NewTokens,
    Out,
    Pairs,
    Seed,
    Temperature,
    Threads,
)

SteeredLayer = Annotated[int, arg(name="layer", help="0-based block that is steered"), LAYERS, FINITE]
Prompts = Annotated[int, arg(name="n-prompts", help="prompts that are steered"), COUNTED, COUNT]


@dataclass(frozen=True)
class ReadingSteeringConfig:
    """Settings of the study."""

    models: Models = ("organism",)
    out: Out = Path("results/reading_and_steering")
    pairs: Pairs = 500
    test_pairs: Annotated[int, COUNT] = 500
    """over whose texts a read-out's spread is taken"""
    causal_pairs: Annotated[int, COUNT] = 150
    """of the test pairs: edited, and read for the next token and the loss"""
    prompts: Prompts = 200
    layer: SteeredLayer = 2
    angle: Angle = 0.4
    temperature: Temperature = 0.7
    max_new_tokens: NewTokens = 40
    seed: Seed = 0
    threads: Threads = 1


if __name__ == "__main__":
    sys.exit(from_command_line(ReadingSteeringConfig, "analyses.reading.parts:run", __doc__))
