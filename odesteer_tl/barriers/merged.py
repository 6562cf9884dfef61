"""The merged barrier: a smooth minimum of several, which is one constraint in the place of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import require_positive
from odesteer_tl.barriers.base import Barrier
from odesteer_tl.barriers.calibration import Calibration


class MergedBarrier(Barrier):
    """`h = −(1/κ) log Σᵢ exp(−κ hᵢ)`: no more than the least of its members, and less by at most `log(K)/κ`.

    It rises with each of its members, so that what is proved of all of them on a step holds of it: `certify_path`
    certifies a step on which every member is certified (and refutes none), `certify_level` bounds it by the members'
    own bounds. Where a member has no sound certificate it has none either.

    Args:
        members: fitted barriers of one width.
        kappa: κ > 0, in units of 1/h.

    Raises:
        ValueError: no members, widths that differ, or κ ≤ 0.
    """

    def __init__(self, members: Sequence[Barrier | dict[str, Any]], kappa: float = 10.0) -> None:
        require_positive("kappa", kappa)
        if not members:
            raise ValueError("members is empty; merge at least one barrier")
        self.kappa = kappa
        self.members = [x if isinstance(x, Barrier) else _unfitted(x) for x in members]
        super().__init__()
        if all(isinstance(x, Barrier) for x in members):
            if len({x.d_model for x in self.members}) > 1:
                raise ValueError(f"members have the widths {[x.d_model for x in self.members]}; they must be one")
            self.state = {f"{i}.{name}": x for i, part in enumerate(self.members) for name, x in part.state.items()}

    @property
    def spherical(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether all members depend on the direction alone."""
        return all(x.spherical for x in self.members)

    def config(self) -> dict[str, Any]:
        members = [{"barrier": type(x).__name__, "config": x.config()} for x in self.members]
        return {"members": members, "kappa": self.kappa}

    def restore(self, state: dict[str, Tensor], calibration: Calibration | None) -> MergedBarrier:  # pyright: ignore[reportIncompatibleMethodOverride]
        for i, member in enumerate(self.members):
            part = {n.removeprefix(f"{i}."): x for n, x in state.items() if n.startswith(f"{i}.")}
            if part:
                member.restore(part, None)
        return super().restore(state, calibration)

    def _fit(self, positive: Tensor, negative: Tensor) -> dict[str, Tensor]:
        raise ValueError("MergedBarrier is made of fitted barriers; fit its members, each on its own classes")

    @property
    def d_model(self) -> int:
        """Width of the activations."""
        return self.members[0].d_model

    def value(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """h(a)."""
        return merged(self._values(a), self.kappa)

    def gradient(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """∇h(a) = Σᵢ softmin(h)ᵢ ∇hᵢ(a)."""
        weights = torch.softmax(-self.kappa * self._values(a), dim=-1)
        gradients = torch.stack([x.gradient(a) for x in self.members], dim=-2)
        return (weights.unsqueeze(-1) * gradients).sum(-2)

    def _values(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch members"]:
        return torch.stack([x.value(a) for x in self.members], dim=-1)


def merged(values: Float[Tensor, "*batch members"], kappa: float) -> Float[Tensor, "*batch"]:
    """The smooth minimum over the last axis."""
    return -torch.logsumexp(-kappa * values, dim=-1) / kappa


def _unfitted(described: dict[str, Any]) -> Barrier:
    """A member from what `config` says of it, to be restored."""
    from odesteer_tl.barriers import BARRIERS  # the registry holds this class too

    kind = BARRIERS[described["barrier"]]
    if "A" not in kind.__init__.__annotations__:
        return kind(**described["config"])
    member = kind.__new__(kind)  # a quadratic's constructor takes its coefficients
    Barrier.__init__(member)
    return member
