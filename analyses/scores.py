"""Scores of tokens, by which a concept is detected: directions, probes, barriers, and what is trained to detect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

import odesteer_tl as ode
from odesteer_tl.fields import DetectorField
from odesteer_tl.plain import AnyModel

Rows = Float[Tensor, "n d_model"]
Score = Callable[[Rows], Float[Tensor, " n"]]


@dataclass(frozen=True)
class Told:
    """What a score is made from.

    Attributes:
        acts: a few tokens of each text of a concept (positive) and of others.
        model, texts, layer: of which these tokens are, for what is trained through the model.
    """

    acts: ode.LayerActivations
    model: AnyModel
    texts: ode.ContrastSet
    layer: int


#: texts of the smaller class from which a barrier's γ and C are chosen: a kernel's fit is cubic in rows, and choosing
#: takes a hundred fits of them where the barrier itself takes one
CHOSEN_ON = 24
#: of what is trained through the model. The authors' has no bound on the divergence either
TRAINING = ode.Training(steps=40, batch_size=6, kl=None, looked_at=16)


def along(direction: Float[Tensor, " d_model"]) -> Score:
    """The component along a direction."""
    unit = direction / direction.norm()
    return lambda rows: rows @ unit


def mean_difference(told: Told) -> Score:
    """Along the difference of the class means (CAA; AxBench's DiffMean)."""
    acts = told.acts
    return along(acts.positive.mean(0) - acts.negative.mean(0))


def principal(told: Told) -> Score:
    """Along the first principal direction of the concept's own tokens, pointing to the concept (AxBench's PCA)."""
    acts = told.acts
    return _signed(acts, acts.positive - acts.positive.mean(0))


def paired_principal(told: Told) -> Score:
    """Along the first principal direction of normed differences of tokens of both classes (LAT, Zou et al. 2023)."""
    acts = told.acts
    n = min(len(acts.positive), len(acts.negative))
    order = torch.randperm(len(acts.negative), generator=torch.Generator().manual_seed(0))
    differences = acts.positive[:n] - acts.negative[order[:n]]
    unit = functional.normalize(differences, dim=-1)  # first tokens may be the same
    # half of them the other way round, or the mean difference would be left out by the centring
    unit[::2] *= -1
    return _signed(acts, unit)


def random(told: Told) -> Score:
    """Along a random direction: the placebo."""
    return along(torch.randn(told.acts.positive.shape[1], generator=torch.Generator().manual_seed(0)))


def barrier(make: Callable[[], ode.Barrier]) -> Callable[[Told], Score]:
    """A barrier's h."""
    return lambda told: make().fit_activations(told.acts).value


def cross_validated(degree: int) -> Callable[[Told], Score]:
    """h of a kernel barrier, γ and C chosen by cross-validation on some of the texts, then fitted on all of them."""

    def fit(told: Told) -> Score:
        gamma: Any = "cv" if degree > 1 else 1.0
        some = ode.KernelBarrier(degree=degree, gamma=gamma, C="cv").fit_activations(_some(told.acts))
        chosen = some.chosen
        return ode.KernelBarrier(degree, chosen["gamma"], C=chosen["C"]).fit_activations(told.acts).value

    return fit


def reft_r1(told: Told) -> Score:
    """ReFT-r1's detection, relu(a·w), w trained through the model with every token of the texts steered."""
    found = ode.fit("reft_r1", told.model, told.texts, told.layer, steer_position="all", training=TRAINING)
    assert isinstance(found.field, DetectorField)
    return found.field.score


def _some(acts: ode.LayerActivations) -> ode.LayerActivations:
    """Every so-manyth text of both classes, `CHOSEN_ON` or a few more of the smaller one."""
    assert acts.groups is not None
    labels = [np.asarray(side) for side in acts.groups]
    stride = max(1, min(len(np.unique(side)) for side in labels) // CHOSEN_ON)
    taken = [np.isin(side, np.unique(side)[::stride]) for side in labels]
    sides = [x[torch.from_numpy(at)] for x, at in zip((acts.positive, acts.negative), taken, strict=True)]
    groups = [tuple(side[at].tolist()) for side, at in zip(labels, taken, strict=True)]
    return ode.LayerActivations(sides[0], sides[1], groups[0], groups[1])


def _signed(acts: ode.LayerActivations, rows: Rows) -> Score:
    # exact: a randomised decomposition draws from the process's own state, and no run would repeat another
    first = torch.linalg.eigh(rows.double().mT @ rows.double()).eigenvectors[:, -1].to(rows.dtype)
    return along(first * torch.sign((acts.positive.mean(0) - acts.negative.mean(0)) @ first))


SCORES: dict[str, Callable[[Told], Score]] = {
    "random direction": random,
    "mean difference": mean_difference,
    "PCA": principal,
    "LAT": paired_principal,
    "probe, C = 1": barrier(lambda: ode.LinearBarrier()),
    "linear, cross-validated C": cross_validated(1),
    "sketch, as published": barrier(lambda: ode.SketchBarrier()),
    "kernel, cross-validated": cross_validated(2),
    "ReFT-r1": reft_r1,
}
