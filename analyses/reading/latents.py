"""Where the organism keeps two latents: their mean differences, the parts of a direction, and fields of one part."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields.base import VectorField, unit
from odesteer_tl.fields.wrapped import WrappedField
from odesteer_tl.organism.lexicon import CLASSES

LATENTS = ("weather", "place")
#: nats that a word says for a latent being 1
_EVIDENCE = {
    word: (LATENTS.index(group.latent), sign * log((1 - choice.noise) / choice.noise))
    for group in CLASSES.values()
    if group.latent in LATENTS
    for choice in group.choices
    for word, sign in ((choice.high, 1), (choice.low, -1))
}


def log_odds(texts: Sequence[str]) -> Float[np.ndarray, "n 2"]:
    """Exact log-odds of weather = 1 and of place = 1 given each text, nats; 0 where no word says anything."""
    found = np.zeros((len(texts), 2))
    for row, text in zip(found, texts, strict=True):
        for index, nats in (_EVIDENCE[word] for word in text.split() if word in _EVIDENCE):
            row[index] += nats
    return found


def directions_of(a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
    """a/‖a‖ in float64: what barriers see."""
    return torch.nn.functional.normalize(a.double(), dim=-1)


def mean_differences(u: Float[Tensor, "n d"], odds: Float[np.ndarray, "n 2"]) -> Float[Tensor, "d 2"]:
    """Mean of the rows whose text speaks for a latent minus that of the others, a column a latent.

    Without their span no linear function of these rows, fitted to these labels, does better than a constant
    (Belrose et al. 2023, arXiv 2306.03819, Theorem 3.1).
    """
    high = torch.from_numpy(odds > 0)
    return torch.stack([u[high[:, j]].mean(0) - u[~high[:, j]].mean(0) for j in range(2)], dim=1)


def orthonormal(directions: Float[Tensor, "d k"]) -> Float[Tensor, "d k"]:
    """An orthonormal basis of the columns' span."""
    return torch.linalg.qr(directions)[0]


def part(u: Float[Tensor, "*batch d"], basis: Float[Tensor, "d k"], inside: bool) -> Float[Tensor, "*batch d"]:
    """The component within the span of the basis, or the one orthogonal to it."""
    within = u @ basis.to(u) @ basis.to(u).T
    return within if inside else u - within


class PartField(WrappedField):
    """The component of another field inside a plane, or outside it, at unit speed.

    Args:
        field: what is split.
        basis: orthonormal columns.
        inside: which part acts.
    """

    def __init__(self, field: VectorField, basis: Float[Tensor, "d k"], inside: bool) -> None:
        self.field, self.basis, self.inside = field, basis, inside

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The part's direction at a."""
        return unit(part(self.field(a), self.basis, self.inside), 0.0)

    def around(self, field: VectorField) -> VectorField:
        return PartField(field, self.basis, self.inside)

    def dump(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The inner field's, beside the basis."""
        settings, tensors = self.dump_field()
        return {**settings, "inside": self.inside}, {**tensors, "basis": self.basis}

    @classmethod
    def load(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> VectorField:
        return cls(cls.load_field(settings, tensors), tensors["basis"], settings["inside"])
