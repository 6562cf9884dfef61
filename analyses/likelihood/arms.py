"""What the likelihood study compares: its arms, and their fields."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

import odesteer_tl as ode


@dataclass(frozen=True)
class Arm:
    """A way to steer.

    Attributes:
        method: in `METHODS`; arms of one method share its fitted field.
        solver: of `Flow`.
        one_shot: whether the whole angle is one step; otherwise steps of a fixed length follow each other, and the
            path at a smaller angle is a part of the path at a larger one.
    """

    label: str
    method: str
    solver: str
    one_shot: bool = False

    def flow(self, angle: float, steps: int) -> ode.Flow:
        """How it reaches `angle` radians in `steps` steps of the study's grid."""
        return ode.Flow(angle=angle, steps=1 if self.one_shot else max(1, steps), solver=self.solver)

    def path(
        self, field: ode.VectorField, a: Float[Tensor, "n d"], angle: float, steps: int
    ) -> Float[Tensor, "steps_plus_1 n d"]:
        """Where it stands at every angle of the grid from 0 to `angle`."""
        if self.one_shot:
            ends = [self.flow(angle * k / steps, 1).solve(field, a).end for k in range(1, steps + 1)]
            return torch.stack([a, *ends])
        points = self.flow(angle, steps).solve(field, a, record=True).points
        assert points is not None
        return points


ARMS = (
    Arm("random direction", "random", "geodesic"),
    Arm("CAA", "caa", "geodesic"),
    Arm("ODESteer as published", "odesteer", "euler"),
    Arm("kernel flow", "odesteer_kernel", "geodesic"),
    Arm("one geodesic step", "odesteer_kernel", "geodesic", one_shot=True),
    Arm("optimal cap", "odesteer_kernel", "optimal", one_shot=True),
)
PLACEBO, BARRIER_ARM = "random direction", "odesteer_kernel"
#: labels of texts that no arm steered: behind the starts, and behind real positives
UNSTEERED, POSITIVES = "unsteered", "real positives"


def fitted_fields(acts: ode.LayerActivations, seed: int) -> dict[str, ode.VectorField]:
    """The field of every method in `ARMS`, each fitted once."""
    names = dict.fromkeys(arm.method for arm in ARMS)
    return {name: ode.METHODS[name].fit_activations(acts, seed) for name in names}
