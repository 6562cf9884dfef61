"""Scores of texts left out in turn: what a small contrast says of a barrier without giving texts away."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

import odesteer_tl as ode

FOLDS = 5


def folds_of(
    groups: tuple[Sequence[int], Sequence[int]], seed: int, folds: int = FOLDS
) -> tuple[Int[Tensor, " n"], Int[Tensor, " m"]]:
    """The fold of every positive and negative text, in which its whole group is."""
    labels = [torch.tensor(list(side)) for side in groups]
    every = torch.unique(torch.cat(labels))
    order = torch.randperm(len(every), generator=torch.Generator().manual_seed(seed))
    fold = torch.empty(int(every.max()) + 1, dtype=torch.long)
    fold[every[order]] = torch.arange(len(every)) % folds
    return fold[labels[0]], fold[labels[1]]


def left_out(
    fit: Callable[[ode.LayerActivations], ode.Barrier],
    acts: ode.LayerActivations,
    groups: tuple[Sequence[int], Sequence[int]],
    seed: int,
    folds: int = FOLDS,
) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
    """h of every positive and negative text, fitted on the groups of the other folds.

    Args:
        groups: of the rows of both classes; a group is left out as a whole.
        seed: of the folds.
    """
    labels, fold = [torch.tensor(list(side)) for side in groups], folds_of(groups, seed, folds)
    sides = (acts.positive, acts.negative)
    found = [torch.empty(len(side), dtype=torch.float64) for side in sides]
    for k in range(folds):
        inside = [of_side != k for of_side in fold]
        some = [tuple(of_side[rows].tolist()) for of_side, rows in zip(labels, inside, strict=True)]
        barrier = fit(ode.LayerActivations(sides[0][inside[0]], sides[1][inside[1]], *some))
        for side, rows, scores in zip(sides, inside, found, strict=True):
            if not bool(rows.all()):
                scores[~rows] = barrier.value(side[~rows].double())
    return found[0], found[1]
