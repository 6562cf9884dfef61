"""Options that several commands have: one spelling and one help text each.

An option has the name of the argument of `ode.fit` or `ode.Flow` that it is handed to, whether it takes one value or
several. Former names are understood as well, and stand in no help (`Formerly`).
"""

from __future__ import annotations

import math
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


@dataclass(frozen=True)
class Within:
    """Which numbers an option takes, each of them where it takes several: `analyses.command` refuses others.

    Attributes:
        least, most: the smallest and the largest.
        above: whether the smallest is too small itself.
        some: whether several may not be none at all; of options that take words as well.
    """

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    some: bool = False

    def require(self, name: str, value: object) -> None:
        """Raise `ValueError` unless the option called `name` may have this value; None is one that is left out."""
        several = value if isinstance(value, tuple) else () if value is None else (value,)
        if self.some and not several and value is not None:
            raise ValueError(f"{name} is empty; give at least one")
        for x in several:
            if isinstance(x, int | float) and not self._holds(x):
                raise ValueError(f"{name}={x} is out of range; give {self}")

    def _holds(self, x: float) -> bool:
        return math.isfinite(x) and (x > self.least if self.above else x >= self.least) and x <= self.most

    def __str__(self) -> str:
        least = "" if math.isinf(self.least) else f"{'above' if self.above else 'of at least'} {self.least:g}"
        most = "" if math.isinf(self.most) else f"of at most {self.most:.10g}"
        return f"a number {' and '.join(filter(None, (least, most))) or 'that is finite'}"


#: of something; and that may also be none of it
COUNT, NATURAL = Within(1), Within(0)
#: what pandas, numpy and scikit-learn take
SEED = Within(0, 2**32 - 1)
POSITIVE = Within(0, above=True)
#: what any number will do for, such as a layer, which the model knows
FINITE = Within()
#: of what takes several, and needs one
SOME = Within(some=True)
COUNTS = Within(1, some=True)


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
    tuple[str, ...], arg(name="model", help="embedded models, one a training seed"), Formerly(("models",)), SOME
]
Contrast = Annotated[
    str, arg(help='of the embedded model "valence" (its glad texts against its sad ones) or "agreement" (texts whose '
                  "weather and place match against texts where they do not); or a .csv or .jsonl file with columns "
                  "positive and negative")
]  # fmt: skip
LAYERS = Formerly(("layers",))
Layer = Annotated[int, arg(name="layer", help="0-based block, negative ones from the end"), LAYERS, FINITE]
OneLayer = Annotated[
    int | None,
    arg(name="layer", help="0-based block, negative ones from the end; left out, the middle"),
    LAYERS,
    FINITE,
]
Layers = Annotated[tuple[int, ...], arg(name="layer", help="0-based blocks, negative ones from the end"), LAYERS, SOME]
AllLayers = Annotated[
    tuple[int, ...], arg(name="layer", help="0-based blocks, negative ones from the end; left out, all"), LAYERS, FINITE
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
Angle = Annotated[float, arg(name="angle", help="radians of the activation's own norm"), ANGLES, POSITIVE]
OwnAngle = Annotated[
    float | None,
    arg(name="angle", help="radians of the activation's own norm; 0.5 if no strength is given"),
    ANGLES,
    POSITIVE,
]
Angles = Annotated[
    tuple[float, ...], arg(name="angle", help="radians of the activation's own norm, one by one"), ANGLES, POSITIVE
]
Pairs = Annotated[int, arg(help="of a contrast of the embedded model; a file is read whole"), COUNT]
Select = Annotated[
    int, arg(help="prompts that layer and strength are chosen on"), Formerly(("validation-prompts",)), COUNT
]
Test = Annotated[int, arg(help="other prompts, that are reported on"), Formerly(("test-prompts",)), COUNT]
Temperature = Annotated[float, arg(help="of sampling; 0 is greedy"), NATURAL]
NewTokens = Annotated[int, arg(help="tokens written behind each prompt, at most"), COUNT]
#: of what says itself of what it is the seed, or the number
SeedOf = Annotated[int, SEED]
PairsOf = Annotated[int, COUNT]
PairsLeft = Annotated[int | None, COUNT]
Seed = Annotated[int, arg(help="of everything random"), SEED]
Threads = Annotated[int, arg(help="of the processor, a process"), COUNT]
Executor = Annotated[str, arg(help="local, or processes:N")]
AnyExecutor = Annotated[str, arg(help="local, processes:N, dask://host:port, slurm or slurm:name=value,…")]
DryRun = Annotated[bool, arg(help="say what would be done and about how long it takes here, and write nothing")]
Out = Annotated[Path, arg(help="folder of the results; an earlier run in it is never overwritten")]
