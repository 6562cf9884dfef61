"""Many steps from few: the end of an N-step integration, extrapolated from coarse ones in powers of 1/N.

A one-step method's end point is a smooth function of the step, `y(N) = y(∞) + c₁/N + c₂/N² + …` (Gragg 1964; the
idea of Bulirsch and Stoer, aimed at 1/N instead of at 0). So seven coarse integrations, run side by side, give what a
thousand steps would have given. Two orders are compared row by row; where they differ, near a fixed point where the
field has a kink and steps chatter, the row is integrated step by step after all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

#: the coarse integrations, descending, so that the ones still running are a prefix
COARSE = (16, 12, 8, 6, 4, 3, 2)
#: relative to ‖y‖: what two orders may differ by
TOLERANCE = 1e-8

Step = Callable[[Tensor, Tensor], Tensor]


def extrapolated_end(
    step: Step, start: Float[Tensor, "*batch k"], T: Float[Tensor, "*#batch 1"], steps: int
) -> tuple[Float[Tensor, "*batch k"], int]:
    """The end of `steps` steps of length T/steps from `start`, and the evaluations of `step` per row.

    Args:
        step: `(y, eta) → y` on any batch shape.
        start: float64.
    """
    x, T = start.reshape(-1, start.shape[-1]), T.expand(*start.shape[:-1], 1).reshape(-1, 1)
    y = x.expand(len(COARSE), *x.shape).clone()
    eta = T / torch.tensor(COARSE, dtype=T.dtype, device=T.device)[:, None, None]
    for k in range(COARSE[0]):
        running = sum(n > k for n in COARSE)
        y[:running] = step(y[:running], eta[:running])
    fine, check = (torch.einsum("j,jbk->bk", _weights(COARSE[drop:], steps).to(y), y[drop:]) for drop in (0, 1))
    differ = (fine - check).norm(dim=-1) > TOLERANCE * fine.norm(dim=-1)
    if bool(differ.any()):
        rows, eta = x[differ], T[differ] / steps
        for _ in range(steps):
            rows = step(rows, eta)
        fine[differ] = rows
        return fine.reshape(start.shape), sum(COARSE) + steps
    return fine.reshape(start.shape), sum(COARSE)


def _weights(coarse: tuple[int, ...], steps: int) -> Float[Tensor, " j"]:
    """Lagrange weights of the nodes 1/n for the polynomial's value at 1/steps."""
    nodes, at = 1 / np.array(coarse), 1 / steps
    others = [np.delete(nodes, j) for j in range(len(nodes))]
    return torch.tensor([np.prod((at - o) / (x - o)) for x, o in zip(nodes, others, strict=True)], dtype=torch.float64)
