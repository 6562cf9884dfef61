"""Why does a barrier that reads agreement not bring it about? Where it is read, where steering acts, what follows what.

For every organism: the plane in which the stream varies with the two latents (their mean differences) and the one
that linear probes of them weigh; agreement read inside and outside each (a); the steps of both barriers inside and
outside each, and the success of every part alone at equal angle, beside constant directions (b, e); parts of the stream
exchanged between two texts of one opening and length that differ in one latent, and what later layers read (c); what
the next token and the loss owe to a direction (d).
`python -m analyses.reading_and_steering --models organism results/organism/seed-1 results/organism/seed-2`
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from analyses.command import from_command_line
from analyses.options import Angle, Models, NewTokens, Out, Pairs, Seed, Temperature, Threads

SteeredLayer = Annotated[
    int, arg(name="layer", aliases=("--layers",), help="0-based block that is steered, and read in every plane")
]
ReadLayers = Annotated[
    tuple[int, ...], arg(name="read-layer", help="blocks that are read, and exchanged where a later one is left")
]


@dataclass(frozen=True)
class ReadingSteeringConfig:
    """Settings of the study."""

    models: Models = ("organism",)
    out: Out = Path("results/reading_and_steering")
    pairs: Pairs = 500
    test_pairs: int = 500
    """pairs that reading is tested on"""
    causal_pairs: int = 150
    """of the test pairs: exchanged, and read for the next token and the loss"""
    prompts: int = 200
    """prompts that are steered"""
    layer: SteeredLayer = 2
    layers: ReadLayers = (0, 2, 4)
    angle: Angle = 0.4
    temperature: Temperature = 0.7
    max_new_tokens: NewTokens = 40
    seed: Seed = 0
    threads: Threads = 1


def main(config: ReadingSteeringConfig) -> None:
    """Run the study for every organism, save the tables and print them."""
    from analyses.reading.parts import run  # what needs the models' libraries

    run(config)


if __name__ == "__main__":
    sys.exit(from_command_line(ReadingSteeringConfig, main, __doc__))
