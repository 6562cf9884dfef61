"""Ways to steer that are compared: a method, an integrator and a number of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import odesteer_tl as ode

if TYPE_CHECKING:  # a plan is checked before what these import is
    from odesteer_tl.flow import Strength


@dataclass(frozen=True)
class Arm:
    """A way to steer.

    Attributes:
        method: in `METHODS`; arms of one method share its fitted field.
        solver, steps: of `Flow`.
        in_turn: fitted on this layer and all before it, each with the earlier ones already steered, and acting on all.
    """

    label: str
    method: str
    solver: str
    steps: int
    in_turn: bool = False

    @classmethod
    def of(cls, method: str, in_turn: bool = False) -> Arm:
        """A method with its own integrator."""
        own = ode.METHODS[method]
        return cls(f"{method}, layers in turn" if in_turn else method, method, own.solver, own.steps, in_turn)

    @classmethod
    def in_cell(cls, config: Mapping[str, Any]) -> Arm:
        """The arm of a cell, whose config says it attribute by attribute."""
        in_turn = config.get("in_turn", False)
        return cls(config["label"], config["method"], config["solver"], config["steps"], in_turn)

    def flow(self, strength: Strength) -> ode.Flow:
        """The flow of a strength.

        A length in radians of the activation's own norm; for layers in turn the method's own T, since what a later
        layer adds was fitted to be as little as the earlier ones leave to do.
        """
        unit = "T" if self.in_turn else "angle"
        return ode.Flow(**{unit: strength}, steps=self.steps, solver=self.solver)

    @property
    def reach(self) -> float:
        """How much larger than for a single block's output strengths must be to spend the same.

        Inside a block they are in units of the site's own norm, which is small beside the stream's.
        """
        from odesteer_tl.sites import BLOCK_OUTPUT

        return 10.0 if ode.METHODS[self.method].site != BLOCK_OUTPUT else 2.5 if self.in_turn else 1.0


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


def chosen_arms(names: Sequence[str]) -> tuple[Arm, ...]:
    """The arms of these labels of `LAYER_ARMS`, or names in `METHODS`, in this order, the placebo always first.

    Raises:
        ValueError: an unknown name, or one twice.
    """
    if not names:
        return LAYER_ARMS
    if len(set(names)) < len(names):
        raise ValueError(f"arms={list(names)} names one twice")
    known = {arm.label: arm for arm in LAYER_ARMS}
    unknown = [name for name in names if name not in known and name not in ode.METHODS]
    if unknown:
        raise ValueError(f"arms={unknown} are none; choose from {', '.join([*known, *sorted(ode.METHODS)])}")
    wanted = [name for name in names if name not in (PLACEBO, "random")]
    return (known[PLACEBO], *(known[name] if name in known else Arm.of(name) for name in wanted))
