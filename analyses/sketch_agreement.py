"""How far does the sketch's random hashing decide where ODESteer steers?

A count sketch is an unbiased estimate of the kernel `(γ x·y + c₀)²`, so with ever more features its barrier becomes the
kernel barrier of the same γ, c₀ and C, which has no seed. Here the directions themselves are compared: the cosine of ∇h
at held-out activations between a sketch and the kernel, and between sketches that differ in nothing but the hash seed.
`python -m analyses.sketch_agreement --out results/sketch`
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from analyses.command import from_command_line
from analyses.options import COUNT, COUNTS, SOME, Formerly, Layer, Out, Within
from analyses.sources import CONCEPTS
from odesteer_tl._words import require_one_of

Contrasts = Annotated[
    tuple[str, ...],
    arg(
        name="contrast",
        help='of the embedded model: "valence" (its glad texts against its sad ones), "agreement" '
        "(texts whose weather and place match against texts where they do not)",
    ),
    Formerly(("contrasts",)),
    SOME,
]


@dataclass(frozen=True)
class SketchConfig:
    """Settings of the comparison; γ, c₀ and C are those of `odesteer_tl.SketchBarrier`, the published ones.

    Raises:
        ValueError: an unknown contrast.
    """

    out: Out = Path("results/sketch")
    widths: Annotated[tuple[int, ...], COUNTS] = (64, 256, 1024)
    """of the synthetic data"""
    n_components: Annotated[tuple[int, ...], COUNTS] = (500, 1000, 2000, 4000, 8000, 16000)
    """features of a sketch"""
    seeds: Annotated[int, COUNT] = 5
    """hash seeds"""
    fit: Annotated[int, COUNT] = 300
    """activations a class to fit on, synthetic data"""
    held_out: Annotated[int, Within(2)] = 200
    """activations, half of each class, at which directions are compared"""
    contrasts: Contrasts = CONCEPTS
    layer: Layer = 2

    def __post_init__(self) -> None:
        for name in self.contrasts:
            require_one_of("contrast", name, CONCEPTS)


if __name__ == "__main__":
    sys.exit(from_command_line(SketchConfig, "analyses.geometry.sketches:run", __doc__))
