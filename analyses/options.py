"""Options that several commands have: one spelling and one help text each.

An option has the name of the argument of `ode.fit` or `ode.Flow` that it is handed to, whether it takes one value or
several; the plural is understood as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

Model = Annotated[str, arg(help='"organism", "smollm2", a folder, a .gguf file or a name on the hub')]
Models = Annotated[
    tuple[str, ...], arg(name="model", aliases=("--models",), help="embedded models, one a training seed")
]
Contrast = Annotated[
    str, arg(help='"valence" or "agreement" of the embedded model, or a .csv or .jsonl file of columns positive '
                  "and negative")
]  # fmt: skip
Layer = Annotated[int, arg(name="layer", aliases=("--layers",), help="0-based block, negative ones from the end")]
OneLayer = Annotated[
    int | None,
    arg(name="layer", aliases=("--layers",), help="0-based block, negative ones from the end; or the middle"),
]
Layers = Annotated[
    tuple[int, ...],
    arg(
        name="layer",
        aliases=("--layers",),
        help="0-based blocks, negative ones from the end; an empty default means all",
    ),
]
LayerNames = Annotated[
    str,
    arg(name="layer", aliases=("--layers",), help="0-based numbers with commas, negative ones from the end, or all"),
]
Arms = Annotated[
    tuple[str, ...],
    arg(
        name="methods",
        aliases=("--arms",),
        help="names of methods (ode.METHODS), or the study's own ways to steer: random direction, CAA, ODESteer as "
        "published, one geodesic step, Euler-10, flow, certified, optimal cap; left out, all of its own. The "
        "placebo (a random direction) and the unsteered model are always there",
    ),
]
Angle = Annotated[float, arg(name="angle", aliases=("--angles",), help="radians of the activation's own norm")]
OwnAngle = Annotated[
    float | None,
    arg(name="angle", aliases=("--angles",), help="radians of the activation's own norm; 0.5 if no strength is given"),
]
Angles = Annotated[
    tuple[float, ...], arg(name="angle", aliases=("--angles",), help="radians of the activation's own norm, one by one")
]
Pairs = Annotated[int, arg(help="of a contrast of the embedded model; a file is read whole")]
Select = Annotated[int, arg(aliases=("--validation-prompts",), help="prompts that layer and strength are chosen on")]
Test = Annotated[int, arg(aliases=("--test-prompts",), help="other prompts, that are reported on")]
Temperature = Annotated[float, arg(help="of sampling; 0 is greedy")]
NewTokens = Annotated[int, arg(help="tokens written behind each prompt, at most")]
Seed = Annotated[int, arg(help="of everything random")]
Threads = Annotated[int, arg(help="of the processor, a process")]
Executor = Annotated[str, arg(help="local, or processes:N")]
DryRun = Annotated[bool, arg(help="say what would be done and about how long it takes here, and write nothing")]
Out = Annotated[Path, arg(help="folder of the results; an earlier run in it is never overwritten")]
