"""The on-manifold field: the least intervention that raises a barrier and never lowers a density."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import require_width
from odesteer_tl.barriers import Barrier
from odesteer_tl.densities import DENSITIES, Density
from odesteer_tl.fields.base import VectorField, tangential, unit
from odesteer_tl.fields.control import ControlField


class OnManifoldField(VectorField):
    """The shortest v with `∇h(a)·v ≥ α(h* − h(a))₊` and `∇log p₊(a)·v ≥ 0`.

    `ControlField`'s quadratic programme with a second constraint: along the exact flow h* − h falls as e^{−αt} and
    log p₊ never falls. At rest where the two gradients are opposed, since no v serves both there; near such a point
    v is long, ‖v‖ ∝ 1/sin of the angle between one gradient and the other's negative.

    Args:
        control: h, h* and α.
        density: p₊, fitted; where it is a density of the activation and not of its direction, ‖a‖ may change.

    Raises:
        ValueError: barrier and density differ in width.
    """

    unit_speed = False

    def __init__(self, control: ControlField, density: Density) -> None:
        if density.d_model != control.d_model:
            raise ValueError(
                f"density has d_model={density.d_model} and control {control.d_model}; fit both on the same layer"
            )
        self.control, self.density = control, density
        self.tangent = control.tangent and density.spherical

    @property
    def barrier(self) -> Barrier:
        """h."""
        return self.control.barrier

    @property
    def d_model(self) -> int:
        return self.control.d_model

    @property
    def median_norm(self) -> float | None:
        return self.control.median_norm

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The closed form, for every activation on its own."""
        require_width("a", a, self.d_model)
        return least_velocity(self.control(a), self.density.gradient(a).to(a.dtype))

    def _made_of(self) -> dict[str, object]:
        return {"control": self.control, "density": self.density}

    def dump(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The controller's, and the density's class, constructor arguments and fitted state."""
        settings, tensors = self.control.dump()
        kind, config = type(self.density).__name__, self.density.config()
        state = {f"density.{name}": x for name, x in self.density.state.items()}
        return {"control": settings, "density": kind, "config": config}, {**tensors, **state}

    @classmethod
    def load(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> OnManifoldField:
        """Rebuild from `dump`'s output; nothing is fitted again."""
        state = {name.removeprefix("density."): x for name, x in tensors.items() if name.startswith("density.")}
        inner = {name: x for name, x in tensors.items() if not name.startswith("density.")}
        density = DENSITIES[settings["density"]].from_config(settings["config"]).restore(state)
        return cls(ControlField.load(settings["control"], inner), density)


def least_velocity(push: Float[Tensor, "*batch d"], score: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
    """The shortest v with `push·v ≥ ‖push‖²` and `score·v ≥ 0`; 0 where push and score are opposed.

    The three cases of its Karush–Kuhn–Tucker conditions: push = 0 asks for nothing; push itself where it does not
    lower the density; else both constraints are active, and v is push less its part along the score, as much longer
    as makes up for what was taken.
    """
    towards = unit(push, 0.0)
    aside = tangential(unit(score, 0.0), towards)
    share = (aside * towards).sum(-1, keepdim=True)
    length = torch.linalg.vector_norm(push, dim=-1, keepdim=True)
    guarded = torch.where(share > 0, length / torch.where(share > 0, share, 1.0), 0.0) * aside
    return torch.where((push * score).sum(-1, keepdim=True) < 0, guarded, push)
