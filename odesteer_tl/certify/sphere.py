"""The maximum of a quadratic on the unit sphere, hard case and near-hard cases included."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

BISECTIONS = 100
#: the least and the most that the multiplier exceeds the largest eigenvalue by, in units of the quadratic's own scale
LEAST, MOST = 1e-25, 1.0


def sphere_maximum(
    depth: Float[Tensor, "n k"], half: Float[Tensor, "n k"], towards: Float[Tensor, "n k"] | None = None
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n k"]]:
    """Maximise `−Σ depth·u² + 2·half·u` over unit u, n problems at once, float64.

    `u = half/(depth + s)` with ‖u‖ = 1 at one s > 0. Where even the least s leaves
    u short (no load where depth is 0: the hard case), u is completed there, which costs nothing. Depths are kept as
    differences, so that s, which may be far below their rounding, is not lost in them.

    Args:
        depth: the largest eigenvalue minus each: ≥ 0, and 0 at least once a row.
        half: half the linear term.
        towards: of the many maxima of the hard case the one nearest to this is given.

    Returns:
        A bound of the maximum, from above for whatever s came out of the rounding, and a unit point.
    """
    size = (depth.amax(1) + half.norm(dim=1)).clamp_min(torch.finfo(torch.float64).tiny ** 0.5)
    low = torch.full_like(size, LEAST).log()
    high = torch.full_like(size, MOST).log()
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        long = (half / (depth + (size * middle.exp())[:, None])).square().sum(1) > 1
        low, high = torch.where(long, middle, low), torch.where(long, high, middle)
    s = (size * high.exp())[:, None]
    u = half / (depth + s)
    bound = s.squeeze(1) + (half * u).sum(1)
    return bound, completed(u, depth == 0, half if towards is None else towards)


def completed(u: Float[Tensor, "n k"], free: Tensor, towards: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """u made as long as 1 by what it lacks in the free coordinates, on the side of `towards`."""
    rest = torch.where(free, 0.0, u)
    missing = (1 - rest.square().sum(1, keepdim=True)).clamp_min(0).sqrt()
    # u itself says where to where it says anything, the preference where it does not, and any coordinate in the end
    inside = torch.where(free, u, 0.0)
    short = inside.norm(dim=1, keepdim=True) < 0.5 * missing
    side = torch.where(short & free, towards, inside)
    side = torch.where(side.norm(dim=1, keepdim=True) > 1e-150, side, _first(free))
    u = rest + missing * side / side.norm(dim=1, keepdim=True)
    return u / u.norm(dim=1, keepdim=True)


def _first(free: Tensor) -> Float[Tensor, "n k"]:
    """The unit vector of each row's first free coordinate."""
    return torch.zeros(free.shape, dtype=torch.float64, device=free.device).scatter_(
        1, free.long().argmax(1, keepdim=True), 1.0
    )
