"""Many steps from few: the end of an N-step integration, extrapolated from coarse ones in powers of 1/N.

A one-step method's end point is a smooth function of the step, `y(N) = y(∞) + c₁/N + c₂/N² + …` (Gragg 1964; the
idea of Bulirsch and Stoer, aimed at 1/N instead of at 0). So a few coarse integrations, run side by side, give what a
thousand steps would have given. Two orders are compared row by row; where they differ, near a fixed point where the
field has a kink and steps chatter, the row is integrated step by step after all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

#: coarse integrations tried in turn; each descending, so that the ones still running are a prefix
COARSE = ((8, 6, 4, 3, 2), (16, 12, 8, 6, 4, 3, 2))
#: numbers that stay in a core's cache; more rows than fit are taken in turn, but not on an accelerator, which has none
CACHED = 2**17

Step = Callable[[Tensor, Tensor], Tensor]


def extrapolated_end(
    step: Step, start: Float[Tensor, "*batch k"], T: Float[Tensor, "*#batch 1"], steps: int, tolerance: float
) -> tuple[Float[Tensor, "*batch k"], int]:
    """The end of `steps` steps of length T/steps from `start`, and the most evaluations of `step` any row took.

    Args:
        step: `(y, eta) → y` on any batch shape.
        start: float64.
        tolerance: what two orders may differ by, relative to ‖y‖; the higher one is returned.
    """
    x, T = (y.reshape(-1, y.shape[-1]) for y in (start, T.expand(*start.shape[:-1], 1)))
    end, left, evaluations = x.clone(), torch.arange(len(x), device=x.device), 0
    for coarse in COARSE:
        if len(left) == 0:
            break
        agreed: list[Tensor] = []
        size = max(1, CACHED // (len(coarse) * x.shape[1])) if x.device.type == "cpu" else len(left)
        for rows in left.split(size):
            end[rows], agree = _extrapolate(step, x[rows], T[rows], coarse, steps, tolerance)
            agreed.append(agree)
        left, evaluations = left[~torch.cat(agreed)], evaluations + sum(coarse)
    if len(left):
        y, eta = x[left], T[left] / steps
        for _ in range(steps):
            y = step(y, eta)
        end[left], evaluations = y, evaluations + steps
    return end.reshape(start.shape), evaluations


def _extrapolate(
    step: Step, x: Float[Tensor, "n k"], T: Float[Tensor, "n 1"], coarse: tuple[int, ...], steps: int, tolerance: float
) -> tuple[Float[Tensor, "n k"], Bool[Tensor, " n"]]:
    """The extrapolated end of every row, and whether the next lower order agrees."""
    y = x.expand(len(coarse), *x.shape).clone()
    eta = T / torch.tensor(coarse, dtype=T.dtype, device=T.device)[:, None, None]
    for k in range(coarse[0]):
        running = sum(n > k for n in coarse)
        y[:running] = step(y[:running], eta[:running])
    fine, check = (torch.tensordot(_weights(coarse[drop:], steps).to(y), y[drop:], dims=1) for drop in (0, 1))
    return fine, (fine - check).norm(dim=-1) <= tolerance * fine.norm(dim=-1)


def _weights(coarse: tuple[int, ...], steps: int) -> Float[Tensor, " j"]:
    """Lagrange weights of the nodes 1/n for the polynomial's value at 1/steps."""
    nodes, at = 1 / np.array(coarse), 1 / steps
    others = [np.delete(nodes, j) for j in range(len(nodes))]
    return torch.tensor([np.prod((at - o) / (x - o)) for x, o in zip(nodes, others, strict=True)], dtype=torch.float64)
