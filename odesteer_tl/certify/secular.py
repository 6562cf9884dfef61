"""The secular equation: where on the sphere a quadratic is stationary.

`u = ½(μI − A)⁻¹b` is stationary iff `f(μ) = Σ(βᵢ/2)²/(λᵢ − μ)² = 1`. Between two neighbouring eigenvalues f is convex
and reaches 1 twice, once or never; outside all of them once on either side.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

#: halvings of an interval between eigenvalues: down to neighbouring float64 numbers
BISECTIONS = 100


def multipliers(
    values: Float[Tensor, " k"], half: Float[Tensor, " k"], lowest: int = 0
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """All roots μ of the secular equation, as pairs (eigenvalue, offset) with μ = eigenvalue + offset.

    The offset is kept apart because μ may be nearer to an eigenvalue than float64 can say in one number.

    Args:
        values: distinct eigenvalues, ascending.
        half: β/2, nonzero.
        lowest: leave out the intervals below this eigenvalue's index.
    """
    size = half.norm()
    anchors, offsets = [values[-1:]], [_root(values, half, values[-1:], values.new_zeros(1), size[None])]
    if lowest == 0:
        anchors.append(values[:1])
        offsets.append(-_root(-values, half, -values[:1], values.new_zeros(1), size[None]))
    low, high = values[:-1][lowest:], values[1:][lowest:]
    if len(low):
        gap = high - low
        middle = _least(values, half, low, gap)
        has = _excess(values, half, low, middle) < 0
        low, high, gap, middle = low[has], high[has], gap[has], middle[has]
        # the left root falls away from its pole like the rightmost one, the right root is the mirror image
        anchors += [low, high]
        offsets += [
            _root(values, half, low, torch.zeros_like(gap), middle),
            -_root(-values, half, -high, torch.zeros_like(gap), gap - middle),
        ]
    return torch.cat(anchors), torch.cat(offsets)


def _excess(values: Tensor, half: Tensor, anchor: Float[Tensor, " m"], offset: Float[Tensor, " m"]) -> Tensor:
    """f(anchor + offset) − 1."""
    return (half / ((values - anchor[:, None]) - offset[:, None])).square().sum(1) - 1


def _root(values: Tensor, half: Tensor, anchor: Tensor, low: Tensor, high: Tensor) -> Float[Tensor, " m"]:
    """The offset in (low, high] where f falls through 1, f > 1 at low and ≤ 1 at high."""
    for _ in range(BISECTIONS):
        # geometric halving close to the pole, where the root may be at any scale
        middle = torch.where(low > 0, (low * high).sqrt(), high * 1e-16)
        above = _excess(values, half, anchor, middle) > 0
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return high


def _least(values: Tensor, half: Tensor, low: Tensor, gap: Tensor) -> Float[Tensor, " m"]:
    """The offset from `low` in (0, gap) where f is least: f′ rises through 0."""
    left, right = torch.zeros_like(gap), gap
    for _ in range(60):
        middle = (left + right) / 2
        distance = (values - low[:, None]) - middle[:, None]
        falls = (half.square() / distance**3).sum(1) < 0
        left, right = torch.where(falls, middle, left), torch.where(falls, right, middle)
    return (left + right) / 2
