"""Ways to steer that are compared: a method, an integrator and a number of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import odesteer_tl as ode
from odesteer_tl._renamed import current_way, said_now
from odesteer_tl._words import warn

if TYPE_CHECKING:  # a plan is checked before what these import is
    from jaxtyping import Float
    from torch import Tensor

    from odesteer_tl.flow import Strength


@dataclass(frozen=True)
class Arm:
    """A way to steer.

    Attributes:
        label: the name of a method with its own solver and steps, or that name and what differs.
        method: in `METHODS`; arms of one method, or of methods with one field (`FIELD_OF`), share what was fitted.
        solver, steps: of `Flow`.
        in_turn: fitted on this layer and all before it, each with the earlier ones already steered, and acting on all.
        layers: that it acts on together, if several: on each with the field fitted there by itself, all as strong.
    """

    label: str
    method: str
    solver: str
    steps: int
    in_turn: bool = False
    layers: tuple[int, ...] = ()

    @classmethod
    def of(cls, method: str, in_turn: bool = False) -> Arm:
        """A method with its own integrator."""
        own = ode.METHODS[method]
        return cls(f"{method}, layers in turn" if in_turn else method, method, own.solver, own.steps, in_turn)

    @classmethod
    def in_cell(cls, config: Mapping[str, Any]) -> Arm:
        """The arm of a cell, whose config says it attribute by attribute."""
        in_turn = config.get("in_turn", False)
        return cls(config["label"], config["method"], config["solver"], config["steps"], in_turn, several(config))

    def cell(self, layer: int, budget: str, level: float) -> dict[str, Any]:
        """The config of a cell, of which `in_cell` is the inverse; several layers are written `12+16`."""
        more = {"in_turn": True} if self.in_turn else {"layers": _joined(self.layers)} if self.layers else {}
        return {"layer": layer, "label": self.label, "method": self.method, "solver": self.solver, "steps": self.steps,
                "budget": budget, "level": float(level), **more}  # fmt: skip

    def together(self, layers: Sequence[int]) -> Arm:
        """The same on several layers at once; where a single layer is named, it is the last of them."""
        layers = tuple(sorted(layers))
        return replace(self, label=f"{self.label}, layers {_joined(layers)}", layers=layers)

    def first(self, layer: int) -> int:
        """The first layer that it acts on, where `layer` is the last."""
        return 0 if self.in_turn else min(self.layers, default=layer)

    @property
    def inside(self) -> bool:
        """Whether it acts on more than a single block's output, so that what it does takes whole passes to be seen."""
        from odesteer_tl.sites import BLOCK_OUTPUT

        return self.in_turn or bool(self.layers) or ode.METHODS[self.method].site != BLOCK_OUTPUT

    def flow(self, strength: Strength, steps: int | None = None) -> ode.Flow:
        """The flow of a strength.

        A length in radians of the activation's own norm; for layers in turn the method's own T, since what a later
        layer adds was fitted to be as little as the earlier ones leave to do.

        Args:
            steps: of a grid of strengths up to this one, in the place of the arm's own; one that takes a single step
                takes it.
        """
        unit = "T" if self.in_turn else "angle"
        own = self.steps if steps is None or self.steps == 1 else max(1, steps)
        return ode.Flow(**{unit: strength}, steps=own, solver=self.solver)

    def path(
        self, field: ode.VectorField, a: Float[Tensor, "n d"], angle: float, steps: int
    ) -> Float[Tensor, "steps_plus_1 n d"]:
        """Where it stands at every angle of a grid from 0 to `angle`."""
        import torch

        if self.steps == 1:
            ends = [self.flow(angle * k / steps).solve(field, a).end for k in range(1, steps + 1)]
            return torch.stack([a, *ends])
        points = self.flow(angle, steps).solve(field, a, record=True).points
        assert points is not None
        return points

    @property
    def reach(self) -> float:
        """How much larger than for a single block's output strengths must be to spend the same.

        Inside a block they are in units of the site's own norm, which is small beside the stream's.
        """
        from odesteer_tl.sites import BLOCK_OUTPUT

        return 10.0 if ode.METHODS[self.method].site != BLOCK_OUTPUT else 2.5 if self.in_turn else 1.0


def several(config: Mapping[str, Any]) -> tuple[int, ...]:
    """The layers of a cell that acts on several of them at once, which are written `12+16`; else none."""
    return tuple(int(layer) for layer in config.get("layers", "").split("+") if layer)


def _joined(layers: Sequence[int]) -> str:
    return "+".join(map(str, layers))


#: along a great circle, so that the norm is kept; the method `random` adds its direction, which lengthens
PLACEBO = "random, geodesic"
#: labels of two that are no method with its own solver: its field, followed in another way
ONE_STEP, TEN_EULER_STEPS = "odesteer_kernel, one step", "odesteer_kernel, ten Euler steps"
#: every question of the layer study is a difference between two of these: on one barrier, only the path differs
LAYER_ARMS = (
    Arm(PLACEBO, "random", "geodesic", 1),
    Arm("caa", "caa", "euler", 1),
    Arm("odesteer", "odesteer", "euler", 10),
    Arm(ONE_STEP, "odesteer_kernel", "geodesic", 1),
    Arm(TEN_EULER_STEPS, "odesteer_kernel", "euler", 10),
    Arm("odesteer_kernel", "odesteer_kernel", "geodesic", 10),
    Arm("odesteer_certified", "odesteer_certified", "certified", 10),
    Arm("optimal_cap", "optimal_cap", "optimal", 1),
)


#: labels of those that every comparison of methods has: the primary contrast's, on the same barrier as `optimal_cap`
PRIMARY_ARMS = (TEN_EULER_STEPS, ONE_STEP)
#: methods whose papers fit several layers one after the other
IN_TURN = ("linear_act", "mean_act", "pid")
KNOWN = {arm.label: arm for arm in LAYER_ARMS}
#: methods whose field is another's, which is fitted once for all of them
FIELD_OF = {"odesteer_certified": "odesteer_kernel", "optimal_cap": "odesteer_kernel"}


def field_of(method: str) -> str:
    """The method whose field this one follows: its own, unless it shares another's."""
    return FIELD_OF.get(method, method)


def chosen_arms(names: Sequence[str]) -> tuple[Arm, ...]:
    """What a layer study compares: arms by name, all of `LAYER_ARMS` where none is named, the placebo always first.

    Raises:
        ValueError: an unknown name, or one twice.
    """
    if not names:
        return LAYER_ARMS
    return (KNOWN[PLACEBO], *(arm for arm in named("methods", names) if arm.method != "random"))


def compared_arms(names: Sequence[str]) -> tuple[Arm, ...]:
    """What a comparison of methods has: arms by name, all methods where none is named; the placebo, the primary
    contrast's, and layers in turn.

    Raises:
        ValueError: an unknown name, or one twice.
    """
    names = list(names or ode.METHODS)
    in_turn = [Arm.of(name, in_turn=True) for name in IN_TURN if name in names]
    always = [Arm.of("random"), *(KNOWN[label] for label in PRIMARY_ARMS)]
    return tuple(dict.fromkeys([*named("methods", names), *always, *in_turn]))


def named(argument: str, names: Sequence[str]) -> list[Arm]:
    """The arms of these labels of `LAYER_ARMS`, or of these methods with their own integrators, in this order.

    A former label is understood too, with a `DeprecationWarning`.

    Raises:
        ValueError: an unknown name, or one twice.
    """
    names = [_known_now(name) for name in names]
    if len(set(names)) < len(names):
        raise ValueError(f"{argument}={names} names one twice")
    unknown = [name for name in names if name not in KNOWN and name not in ode.METHODS]
    if unknown:
        known = [repr(name) if "," in name else name for name in dict.fromkeys([*KNOWN, *sorted(ode.METHODS)])]
        raise ValueError(f"{argument}={unknown} are none; choose from {', '.join(known)}")
    return [KNOWN[name] if name in KNOWN else Arm.of(name) for name in names]


def _known_now(name: str) -> str:
    """The name as it is; of a former label, today's."""
    if name in KNOWN or name in ode.METHODS or (now := current_way(name)) == name:
        return name
    warn(said_now(name, now), DeprecationWarning)
    return now
