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

from analyses.command import from_command_line
from analyses.options import Layer, Out


@dataclass(frozen=True)
class SketchConfig:
    """Settings of the comparison; γ, c₀ and C are those of `odesteer_tl.SketchBarrier`, the published ones."""

    out: Out = Path("results/sketch")
    widths: tuple[int, ...] = (64, 256, 1024)
    """of the synthetic data"""
    n_components: tuple[int, ...] = (500, 1000, 2000, 4000, 8000, 16000)
    """features of a sketch"""
    seeds: int = 5
    """hash seeds"""
    fit: int = 300
    """activations a class to fit on, synthetic data"""
    held_out: int = 200
    """activations, half of each class, at which directions are compared"""
    contrasts: tuple[str, ...] = ("valence", "agreement")
    """of the embedded model"""
    layer: Layer = 2


if __name__ == "__main__":
    sys.exit(from_command_line(SketchConfig, "analyses.geometry.sketches:run", __doc__))
