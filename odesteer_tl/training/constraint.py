"""The multiplier of an inequality constraint, by the augmented Lagrangian."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass
class Multiplier:
    """λ ≥ 0 of the constraint `g ≤ limit`, with `(max(0, λ + ρ(g − limit))² − λ²)/2ρ` added to the objective.

    Nocedal and Wright, Numerical Optimization, 2nd ed., eq. 17.57 (there for ≥). Each step λ becomes
    `max(0, λ + ρ(g − limit))`: it grows where the constraint is broken, and falls to 0 where it does not bind.

    Args:
        limit: in the units of g.
        value: λ, in units of the objective a unit of g.
    """

    limit: float
    value: float = 0.0

    @property
    def rho(self) -> float:
        """ρ = 1/limit: a constraint broken by all of itself adds 1 to λ."""
        return 1.0 / self.limit

    def penalty(self, g: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """What is added to the objective."""
        pushed = (self.value + self.rho * (g - self.limit)).clamp_min(0)
        return (pushed.square() - self.value**2) / (2 * self.rho)

    def update(self, g: float) -> None:
        """λ after a step."""
        self.value = max(0.0, self.value + self.rho * (g - self.limit))
