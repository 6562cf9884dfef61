"""Roots of falling functions, many at once: secants within a bracket, halved where they do not shrink it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

#: steps after which a bracket of a few dozen units is below any tolerance asked for here, by halving alone
MOST = 200


def narrowed(
    f: Callable[[Float[Tensor, "*batch"]], Float[Tensor, "*batch"]],
    low: Float[Tensor, "*batch"],
    high: Float[Tensor, "*batch"],
    tolerance: float,
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """The brackets `[low, high]` narrowed to `tolerance`: the Illinois method, with a halving every fourth step.

    Both ends come back as they were evaluated: f ≥ 0 at every `low` and f < 0 at every `high`, except at an end that
    was given and never moved. Where f is monotone that is a root's bracket; where it is not, the ends still hold.
    Each row goes its own way, whatever the others do.

    Args:
        f: falling.
        low, high: finite. Where f is ∞ at `low`, it is halved towards until f is finite there.
    """
    below, above = f(low), f(high)
    sought = (below >= 0) & (above < 0)
    last = torch.zeros_like(low)
    for step in range(MOST):
        middle = (low + high) / 2
        # (no number lies between ends that are neighbours)
        active = sought & (high - low > tolerance) & (low < middle) & (middle < high)
        if not bool(active.any()):
            break
        secant = low + (high - low) * (below / (below - above))
        inside = (secant > low) & (secant < high)
        at = middle if step % 4 == 3 else torch.where(inside, secant, middle)
        found = f(at)
        up = active & (found >= 0)
        down = active & ~(found >= 0)
        # Illinois: an end that stays a second time counts half, so that the next secant falls on its other side
        above = torch.where(down, found, torch.where(up & (last > 0), above / 2, above))
        below = torch.where(up, found, torch.where(down & (last < 0), below / 2, below))
        last = torch.where(up, 1.0, torch.where(down, -1.0, last))
        low, high = torch.where(up, at, low), torch.where(down, at, high)
    return low, high
