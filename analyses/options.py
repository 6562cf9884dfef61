"""Options that several commands have: one spelling and one help text each.

An option has the name of the argument of `ode.fit` or `ode.Flow` that it is handed to, whether it takes one value or
several. Former names are understood as well, and stand in no help (`Formerly`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec

from odesteer_tl._renamed import current_way


@dataclass(frozen=True)
class Formerly:
    """Former names of an option, without the dashes: `analyses.command.renamed` replaces them.

    Attributes:
        value: of the option's values, each former one to today's.
    """

    names: tuple[str, ...] = ()
    value: Callable[[str], str] | None = None


def _spelled(words: Sequence[str]) -> str:
    """Layers as `analyses.models.require_layers` has them, of the words of a command line."""
    if any("," in word for word in words):
        told = " ".join(words).replace(",", " ")
        print(f"--layer with commas is deprecated; write --layer {told}", file=sys.stderr)
    return ",".join(word.strip(",") for word in words)


#: layers as text, for a study that knows "all"
_NAMES = PrimitiveConstructorSpec[str](
    nargs="*",
    metavar="INT [INT ...]|all",
    instance_from_str=_spelled,
    is_instance=lambda x: isinstance(x, str),
    str_from_instance=lambda x: x.split(","),
)

Model = Annotated[
    str, arg(help='"organism" (the embedded model), "smollm2", a folder, a .gguf file or a name on the hub')
]
Models = Annotated[
    tuple[str, ...], arg(name="model", help="embedded models, one a training seed"), Formerly(("models",))
]
Contrast = Annotated[
    str, arg(help='of the embedded model "valence" (its glad texts against its sad ones) or "agreement" (texts whose '
                  "weather and place match against texts where they do not); or a .csv or .jsonl file with columns "
                  "positive and negative")
]  # fmt: skip
LAYERS = Formerly(("layers",))
Layer = Annotated[int, arg(name="layer", help="0-based block, negative ones from the end"), LAYERS]
OneLayer = Annotated[
    int | None, arg(name="layer", help="0-based block, negative ones from the end; left out, the middle"), LAYERS
]
Layers = Annotated[tuple[int, ...], arg(name="layer", help="0-based blocks, negative ones from the end"), LAYERS]
AllLayers = Annotated[
    tuple[int, ...], arg(name="layer", help="0-based blocks, negative ones from the end; left out, all"), LAYERS
]
LayerNames = Annotated[
    str,
    arg(name="layer", help="0-based blocks, negative ones from the end, or all"),
    _NAMES,
    LAYERS,
]
#: of a number of prompts, which are a file elsewhere
COUNTED = Formerly(("prompts",))
Arms = Annotated[
    tuple[str, ...],
    arg(
        name="methods",
        help='names of methods (ode.METHODS), or the kernel barrier followed in another way: "odesteer_kernel, one '
        'step" or "odesteer_kernel, ten Euler steps"; left out, these two, caa, odesteer, odesteer_kernel, '
        'odesteer_certified and optimal_cap. The placebo ("random, geodesic") and the unsteered model are always there',
    ),
    Formerly(("arms",), current_way),
]
ANGLES = Formerly(("angles",))
#: what takes names of methods
NAMED = Formerly(value=current_way)
Angle = Annotated[float, arg(name="angle", help="radians of the activation's own norm"), ANGLES]
OwnAngle = Annotated[
    float | None, arg(name="angle", help="radians of the activation's own norm; 0.5 if no strength is given"), ANGLES
]
Angles = Annotated[
    tuple[float, ...], arg(name="angle", help="radians of the activation's own norm, one by one"), ANGLES
]
Pairs = Annotated[int, arg(help="of a contrast of the embedded model; a file is read whole")]
Select = Annotated[int, arg(help="prompts that layer and strength are chosen on"), Formerly(("validation-prompts",))]
Test = Annotated[int, arg(help="other prompts, that are reported on"), Formerly(("test-prompts",))]
Temperature = Annotated[float, arg(help="of sampling; 0 is greedy")]
NewTokens = Annotated[int, arg(help="tokens written behind each prompt, at most")]
Seed = Annotated[int, arg(help="of everything random")]
Threads = Annotated[int, arg(help="of the processor, a process")]
Executor = Annotated[str, arg(help="local, or processes:N")]
AnyExecutor = Annotated[str, arg(help="local, processes:N, dask://host:port, slurm or slurm:name=value,…")]
DryRun = Annotated[bool, arg(help="say what would be done and about how long it takes here, and write nothing")]
Out = Annotated[Path, arg(help="folder of the results; an earlier run in it is never overwritten")]
