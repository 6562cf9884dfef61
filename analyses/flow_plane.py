"""The flow in a picture: h, its field and the methods' paths on the two-sphere through a start, its gradient and the
ceiling.

Start, tangent gradient and highest point of h span three dimensions; the sphere in them is drawn from the start with
true angles (azimuthal equidistant), so that a circle around the start is a budget. On that slice h and its field are
exact; paths leave it, and by how much is in the table.
`python -m analyses.flow_plane --contrast agreement --out results/flow/agreement`
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from analyses.command import from_command_line
from analyses.models import refuse_missing_layers
from analyses.options import COUNT, COUNTED, Angle, Contrast, Layer, Model, Out, Pairs, Seed, Within

Prompts = Annotated[int, arg(name="n-prompts", help="prompts; the start is the one with the median h"), COUNTED, COUNT]


@dataclass(frozen=True)
class FlowPlaneConfig:
    """Settings of the picture."""

    out: Out = Path("results/flow/valence")
    model: Model = "organism"
    contrast: Contrast = "valence"
    layer: Layer = 2
    pairs: Pairs = 300
    prompts: Prompts = 50
    angle: Angle = 2.0
    steps: Annotated[int, COUNT] = 10
    """of the flow"""
    grid: Annotated[int, Within(2)] = 71
    """points a side"""
    seed: Seed = 0


def main(config: FlowPlaneConfig) -> None:
    """Fit, solve, certify, write."""
    refuse_missing_layers([config.layer], config.model)
    from analyses.geometry.plane import run  # what needs the models' libraries

    run(config)


if __name__ == "__main__":
    sys.exit(from_command_line(FlowPlaneConfig, main, __doc__))
