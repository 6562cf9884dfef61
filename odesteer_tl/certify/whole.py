"""Everything that is proved of a path at once: steps and levels share what is dear, the circles of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._display import Result, stacked
from odesteer_tl.barriers import Barrier
from odesteer_tl.certify.level import LevelCertificate, level_changes, level_held
from odesteer_tl.certify.rise import Rise
from odesteer_tl.certify.segment import BLOCK_NUMBERS, BLOCK_STEPS, PathCertificate, arcs_certified
from odesteer_tl.certify.steps import Steps, in_scale, require_path, tensor_of
from odesteer_tl.path import Path

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class WholeCertificate(Result):
    """What `certify_path` and `certify_level` say of the same paths.

    Attributes:
        steps: of every step.
        level: of {h ≥ level}.
        start: of {h ≥ h(a₀)}.
    """

    steps: PathCertificate
    level: LevelCertificate
    start: LevelCertificate

    def _facts(self) -> dict[str, object]:
        return {name: repr(certificate) for name, certificate in vars(self).items()}

    def frame(self) -> pd.DataFrame:
        """Below one another the frames of the three: `of` says which; `step` is empty for what is said of a path."""
        return stacked(certificate.frame().assign(of=name) for name, certificate in vars(self).items())


@torch.no_grad()
def certify_whole(
    barrier: Barrier, points: Path | Float[Tensor, "steps_plus_1 *batch d"], level: float = 0.0
) -> WholeCertificate:
    """`certify_path(barrier, points)`, `certify_level(barrier, points, level)` and `certify_level(barrier, points)`.

    Args:
        barrier: a polynomial of the direction.
        points: a `Path` recorded with its points, or these.
        level: of the level set that is not to be left.

    Returns:
        The three certificates, from one rotation of the points.

    Raises:
        ValueError: as `certify_level` does.
    """
    if not isinstance(barrier, Barrier) or barrier.polynomial_degree is None:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"barrier is a {type(barrier).__name__}: no sound level certificate exists for this class")
    paths, batch = require_path(points, barrier.d_model), tensor_of(points).shape[1:-1]
    count, _, d = paths.shape
    block = max(1, min(BLOCK_NUMBERS // (count * d), BLOCK_STEPS // count))
    parts: list[tuple[tuple[Tensor, ...], ...]] = []
    for rows in paths.split(block, dim=1):
        steps = Steps.of(in_scale(rows))
        circles = steps.circles(barrier)
        rise = Rise.of(circles, steps.turned.flatten())
        changes = level_changes(steps, circles, rise)
        of_levels = (level_held(circles, changes, at) for at in (level, None))
        parts.append((arcs_certified(steps, circles, rise), *of_levels))
    path, held, kept = ([torch.cat(x, dim=-1) for x in zip(*found, strict=True)] for found in zip(*parts, strict=True))
    return WholeCertificate(
        PathCertificate(*(x.reshape(-1, *batch) for x in path)),
        LevelCertificate(*(x.reshape(batch) for x in held)),
        LevelCertificate(*(x.reshape(batch) for x in kept)),
    )
