"""How far an activation may be pushed before h falls below a level: a certified radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._display import Result, of, rows, spread
from odesteer_tl.barriers import QuadraticBarrier
from odesteer_tl.certify.bracket import narrowed
from odesteer_tl.certify.cap import cap_bound

if TYPE_CHECKING:
    import pandas as pd

#: radians to which the largest angle is sought
WIDTH = 1e-7


@dataclass(frozen=True, repr=False)
class Radius(Result):
    """A ball of perturbations under which h is proved to stay at or above a level.

    Attributes:
        angle: of the certified cap, radians (π: h is at or above the level everywhere).
        radius: of the ball, `‖a‖ sin(angle)` for angles up to π/2, else ‖a‖, in activation units.
        bfloat16: the largest move that rounding every coordinate of a to bfloat16 can make, `2⁻⁸‖a‖`.
    """

    angle: Float[Tensor, "*batch"]
    radius: Float[Tensor, "*batch"]
    bfloat16: Float[Tensor, "*batch"]

    def _facts(self) -> dict[str, object]:
        return {
            "angle (rad)": spread(self.angle),
            "radius (activation units)": spread(self.radius),
            "larger than rounding to bfloat16": of(int((self.radius > self.bfloat16).sum()), self.radius.numel()),
        }

    def frame(self) -> pd.DataFrame:
        """One row an activation (the batch, flattened)."""
        return rows(["row"], vars(self))


@torch.no_grad()
def certified_radius(
    quadratic: QuadraticBarrier, a: Float[Tensor, "*batch d"], level: float | Float[Tensor, "*batch"] = 0.0
) -> Radius:
    """The largest cap found on which h ≥ level is proved, by a root of the cap bound of −h.

    Zero where h(a) itself is not above the level. Every angle reported has its own proof: the search may stop short
    of the largest one, but not beyond it.

    Args:
        level: one for all activations, or one each (such as h before steering).

    Returns:
        The proved angle of each activation, and what kept it from being larger.
    """
    negated = quadratic.negated()
    shape = a.shape[:-1]
    proved = torch.zeros(shape, dtype=torch.float64, device=a.device)
    failed = torch.full(shape, torch.pi, dtype=torch.float64, device=a.device)

    def above(angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        return -level - cap_bound(negated, a, angle).bound

    everywhere, inside = above(failed) >= 0, above(proved) >= 0
    proved, _ = narrowed(above, proved, failed, WIDTH)
    proved = torch.where(everywhere, torch.pi, torch.where(inside, proved, 0.0))
    norm = a.double().norm(dim=-1)
    return Radius(proved, norm * proved.clamp_max(torch.pi / 2).sin(), 2.0**-8 * norm)
