"""Certificates of several barriers at once: each no lower than its level, or than it was, on the whole of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._display import Result, of, rows, spread
from odesteer_tl.barriers import Barrier
from odesteer_tl.certify.level import certify_level
from odesteer_tl.certify.written import hold_back_where
from odesteer_tl.path import Path

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class SetCertificate(Result):
    """Whether each barrier stays at or above its level along a path, or above its start where that is lower.

    Attributes:
        certified: hᵢ ≥ min(levelᵢ, hᵢ at the start) on every segment, a proof.
        refuted: it is lower somewhere, a proof.
        margin: a lower bound of hᵢ less that minimum, over the path.
    """

    certified: Bool[Tensor, "k *batch"]
    refuted: Bool[Tensor, "k *batch"]
    margin: Float[Tensor, "k *batch"]

    @property
    def all(self) -> Bool[Tensor, "*batch"]:
        """Where every barrier is certified."""
        return self.certified.all(0)

    def _facts(self) -> dict[str, object]:
        whole = self.all
        return {
            "barriers": len(self.certified),
            "paths on which all are certified": of(int(whole.sum()), whole.numel()),
            "paths on which one is refuted": of(int(self.refuted.any(0).sum()), whole.numel()),
            "margin": spread(self.margin),
        }

    def frame(self) -> pd.DataFrame:
        """One row a barrier and path (the batch, flattened)."""
        return rows(["barrier", "row"], vars(self))


def certify_levels(
    barriers: Sequence[Barrier], levels: Sequence[float], points: Path | Float[Tensor, "steps_plus_1 *batch d"]
) -> SetCertificate:
    """Certify a path, or realised points, for several barriers and their levels.

    Args:
        barriers: h₁, …, h_k, polynomials of the direction.
        levels: one a barrier: it is to stay at or above this, or above its start where that is lower.
        points: a `Path` recorded with its points, or these.

    Returns:
        What is proved of every barrier and step.

    Raises:
        ValueError: a barrier is no polynomial on the sphere, or the points are unusable.
    """
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for h, level in zip(barriers, levels, strict=True):
        # what is proved of the level, or of the start, holds of the lower of the two
        at, own = certify_level(h, points, level), certify_level(h, points)
        parts.append((at.certified | own.certified, at.refuted & own.refuted, torch.maximum(at.margin, own.margin)))
    return SetCertificate(*(torch.stack(x) for x in zip(*parts, strict=True)))


def hold_back_several(
    barriers: Sequence[Barrier],
    levels: Sequence[float],
    start: Float[Tensor, "*batch d"],
    end: Float[Tensor, "*batch d"],
) -> tuple[Float[Tensor, "*batch d"], Bool[Tensor, "*batch"]]:
    """The furthest point found from `start` to `end` to which the step, as written, is certified for every barrier.

    Args:
        start: in the dtype of the model, which what is written has too.
        end: where the flow ended, float64.

    Returns:
        What to write, and where that is not `end` rounded.
    """

    def proved(here: Float[Tensor, "n d"], there: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        found = certify_levels(barriers, levels, torch.stack([here.double(), there.double()])).all
        return found | (here == there).all(-1)

    return hold_back_where(proved, start, end)
