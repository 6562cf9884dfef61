"""Ways to steer that are compared: a method, an integrator and a number of steps."""

from __future__ import annotations

from dataclasses import dataclass

import odesteer_tl as ode
from odesteer_tl.flow import Strength


@dataclass(frozen=True)
class Arm:
    """A way to steer.

    Attributes:
        method: in `METHODS`; arms of one method share its fitted field.
        solver, steps: of `Flow`.
    """

    label: str
    method: str
    solver: str
    steps: int

    @classmethod
    def of(cls, method: str) -> Arm:
        """A method with its own integrator."""
        own = ode.METHODS[method]
        return cls(method, method, own.solver, own.steps)

    def flow(self, angle: Strength) -> ode.Flow:
        """The flow of a length, in radians of the activation's own norm."""
        return ode.Flow(angle=angle, steps=self.steps, method=self.solver)


PLACEBO = "random direction"
#: every question of the layer study is a difference between two of these: on one barrier, only the path differs
LAYER_ARMS = (
    Arm(PLACEBO, "random", "geodesic", 1),
    Arm("CAA", "caa", "euler", 1),
    Arm("ODESteer as published", "odesteer", "euler", 10),
    Arm("one geodesic step", "odesteer_kernel", "geodesic", 1),
    Arm("Euler-10", "odesteer_kernel", "euler", 10),
    Arm("flow", "odesteer_kernel", "geodesic", 10),
    Arm("certified", "odesteer_kernel", "certified", 10),
    Arm("optimal cap", "odesteer_kernel", "optimal", 1),
)
