"""Where the organism keeps two latents: planes of its stream, what can be read inside and outside them, and fields
that act inside or outside alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from torch import Tensor

import odesteer_tl as ode
from odesteer_tl.barriers.dual import cross_validate, fit_dual
from odesteer_tl.barriers.kernel import C_GRID
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


def probe_directions(u: Float[Tensor, "n d"], odds: Float[np.ndarray, "n 2"], rounds: int) -> Float[Tensor, "d k"]:
    """Orthonormal weights of logistic probes of both latents, every round on what the ones before left (INLP).

    Ravfogel et al. 2020 (arXiv 2004.07667); two columns a round.
    """
    basis = u.new_zeros(u.shape[1], 0)
    for _ in range(rounds):
        rest = u - u @ basis @ basis.T
        weights = [torch.from_numpy(probe(rest, column).coef_[0]) for column in odds.T]
        basis = orthonormal(torch.cat([basis, torch.stack(weights, dim=1)], dim=1))
    return basis


def probe(u: Float[Tensor, "n d"], odds: Float[np.ndarray, " n"]) -> LogisticRegression:
    """A logistic probe of one latent."""
    return LogisticRegression(C=100, max_iter=5000).fit(u.numpy(), odds > 0)


def orthonormal(directions: Float[Tensor, "d k"]) -> Float[Tensor, "d k"]:
    """An orthonormal basis of the columns' span."""
    return torch.linalg.qr(directions)[0]


def random_plane(d: int, seed: int) -> Float[Tensor, "d 2"]:
    """A uniformly random plane: the placebo."""
    return orthonormal(torch.randn(d, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def part(u: Float[Tensor, "*batch d"], basis: Float[Tensor, "d k"], inside: bool) -> Float[Tensor, "*batch d"]:
    """The component within the span of the basis, or the one orthogonal to it."""
    within = u @ basis.to(u) @ basis.to(u).T
    return within if inside else u - within


def read(
    fit: Float[Tensor, "n d"],
    labels: Int[np.ndarray, " n"],
    test: Float[Tensor, "m d"],
    degree: int,
    groups: Int[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, " m"]:
    """Scores of `KernelBarrier(degree, gamma=1, C="cv")` on parts of directions, which it is not to normalise again.

    Rows are measured in the root mean square of the fitting rows about their mean, so that γ = 1 is one scale for
    every part. Rows of one group (by default every row is one) are held out together in choosing C.
    """
    centre = fit.mean(0)
    scale = (fit - centre).square().sum(-1).mean().sqrt()
    x, y = (fit - centre) / scale, torch.from_numpy(labels).double()
    kernel = (x @ x.T + 1) ** degree
    _, C = cross_validate(
        lambda _: kernel, y, (1.0,), C_GRID, folds=5, seed=0, groups=np.arange(len(fit)) if groups is None else groups
    )
    alpha, intercept = fit_dual(kernel, y, C)
    return ((((test - centre) / scale) @ x.T + 1) ** degree @ alpha + intercept).numpy()


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

    def around(self, field: VectorField) -> PartField:
        return PartField(field, self.basis, self.inside)

    def dump(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The inner field's, beside the basis."""
        settings, tensors = self.dump_field()
        return {**settings, "inside": self.inside}, {**tensors, "basis": self.basis}

    @classmethod
    def load(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> PartField:
        return cls(cls.load_field(settings, tensors), tensors["basis"], settings["inside"])


def barriers(acts: ode.LayerActivations) -> dict[str, ode.KernelBarrier]:
    """The linear and the quadratic barrier of *Agreement*, which differ in their degree alone."""
    kinds = (("linear", 1), ("quadratic", 2))
    return {name: ode.KernelBarrier(degree=degree).fit_activations(acts) for name, degree in kinds}
