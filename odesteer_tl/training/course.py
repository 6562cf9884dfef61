"""A course: all that a method trained through a model is given, beside the activations that others are fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from odesteer_tl.activations import LayerActivations
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.fields import VectorField
from odesteer_tl.flow import Flow
from odesteer_tl.hooks import HooksFor
from odesteer_tl.plain import Model
from odesteer_tl.positions import PositionFn
from odesteer_tl.training.learner import Learner
from odesteer_tl.training.objectives import Objective
from odesteer_tl.training.settings import Training
from odesteer_tl.training.trainer import train


@dataclass(frozen=True)
class Course:
    """A model, its texts, and where and how it is to be steered.

    Attributes:
        model, contrast: what is trained through, and on.
        layer, site, positions: as in `Steerer`.
        acts: of the contrast at this place, for units and starting points.
        training: settings.
        under: hooks of the layers before, which steer already.
        prepend_bos: as in `collect_activations`.
        record: what `train` adds to the steerer's provenance.
    """

    model: Model
    contrast: ContrastSet
    layer: int
    site: str
    positions: str | PositionFn
    acts: LayerActivations
    training: Training
    under: HooksFor | None = None
    prepend_bos: bool | None = None
    record: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def median_norm(self) -> float:
        """Of the activations of both classes."""
        both = torch.cat([self.acts.positive, self.acts.negative])
        return float(both.flatten(1).double().norm(dim=-1).median())

    @property
    def width(self) -> int:
        """Of the field."""
        return self.acts.positive[0].numel()

    @property
    def coordinate(self) -> float:
        """The size of one coordinate of an activation, √d-th of the median norm: the unit of an added vector."""
        return self.median_norm / self.width**0.5

    def train(
        self, start: VectorField | Learner, seed: int, *, objective: Objective | None = None, flow: Flow | None = None
    ) -> VectorField:
        """Train from a start; see `train`."""
        trained = train(
            start, self.model, self.contrast, self.layer, flow=flow, steer_position=self.positions, objective=objective,
            training=self.training, seed=seed, site=self.site, under=self.under, prepend_bos=self.prepend_bos,
        )  # fmt: skip
        self.record.update(trained.record)
        return trained.field


#: `(course, seed) → field`; hyper-parameters are keyword arguments
TrainFn = Callable[[Course, int], VectorField]
