"""The least correction that meets several linear constraints: the quadratic programme of a control barrier function."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.optimize import nnls
from torch import Tensor

#: a sine² between two constraints' directions below which they are one, or opposed
PARALLEL = 1e-12
#: by how much, relative to the longest asked for, a constraint may be missed
MISSED = 1e-9


def least_correction(
    directions: Float[Tensor, "*batch k d"], asked: Float[Tensor, "*batch k"]
) -> Float[Tensor, "*batch d"]:
    """The shortest w with `directionsᵢ · w ≥ askedᵢ` for all i; 0 where no w meets them all.

    In closed form for one and two constraints. For more, scipy's non-negative least squares tells which are active
    (Lawson and Hanson, Solving Least Squares Problems, ch. 23, least distance programming), and the shortest w that
    meets those exactly is solved for, so that gradients pass through.
    """
    lengths = torch.linalg.vector_norm(directions, dim=-1)
    there = lengths > 0
    g = directions / torch.where(there, lengths, 1.0).unsqueeze(-1)
    # a constraint without a direction is met by every w, or by none
    c = torch.where(there, asked / torch.where(there, lengths, 1.0), -torch.inf)
    hopeless = (~there & (asked > 0)).any(-1)
    k = directions.shape[-2]
    found = _one(g, c) if k == 1 else _two(g, c) if k == 2 else _several(g, c)
    return torch.where(hopeless.unsqueeze(-1), 0.0, found)


def _one(g: Float[Tensor, "*batch 1 d"], c: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch d"]:
    return c.clamp_min(0) * g.squeeze(-2)


def _two(g: Float[Tensor, "*batch 2 d"], c: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch d"]:
    """The cases of the Karush–Kuhn–Tucker conditions: neither active, one of them, both."""
    (g1, g2), (c1, c2) = g.unbind(-2), c.unbind(-1)
    cosine = (g1 * g2).sum(-1)
    first = (c1 > 0) & (cosine * c1 >= c2)
    second = (c2 > 0) & (cosine * c2 >= c1) & ~first
    none = (c1 <= 0) & (c2 <= 0)
    sine2 = 1 - cosine.square()
    both = ~(first | second | none) & (sine2 > PARALLEL)
    safe = torch.where(both, sine2, 1.0)
    l1 = torch.where(first, c1, torch.where(both, (torch.where(both, c1 - cosine * c2, 0.0)) / safe, 0.0))
    l2 = torch.where(second, c2, torch.where(both, (torch.where(both, c2 - cosine * c1, 0.0)) / safe, 0.0))
    return l1.unsqueeze(-1) * g1 + l2.unsqueeze(-1) * g2


def _several(g: Float[Tensor, "*batch k d"], c: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch d"]:
    flat, asked = g.reshape(-1, *g.shape[-2:]), c.reshape(-1, c.shape[-1])
    rows: list[Tensor] = []
    for directions, wanted in zip(flat, asked, strict=True):
        active = _active(directions, wanted)
        G, right = directions[active], wanted[active]
        w = G.mT @ torch.linalg.lstsq(G @ G.mT, right.unsqueeze(-1)).solution.squeeze(-1)
        need = wanted[torch.isfinite(wanted)]
        short = (need - (directions @ w)[torch.isfinite(wanted)]).clamp_min(0).max() if len(need) else w.new_zeros(())
        tolerance = max(MISSED, 64 * torch.finfo(w.dtype).eps) * float(1 + wanted.detach().clamp_min(0).max())
        rows.append(torch.where(short <= 1e3 * tolerance, w, 0.0))
    return torch.stack(rows).reshape(*g.shape[:-2], g.shape[-1])


def _active(g: Float[Tensor, "k d"], c: Float[Tensor, " k"]) -> Bool[Tensor, " k"]:
    """Which constraints the shortest w meets exactly."""
    finite = torch.isfinite(c)
    if not bool((c > 0).any()):
        return torch.zeros_like(c, dtype=torch.bool)
    G, wanted = g[finite].detach().double().cpu().numpy(), c[finite].detach().double().cpu().numpy()
    # the shortest w lies in the span of the directions, whose coordinates are as many as there are constraints
    basis = np.linalg.qr(G.T)[0]
    stacked = np.vstack([(G @ basis).T, wanted[None] / wanted.max()])
    target = np.zeros(len(stacked))
    target[-1] = 1.0
    multipliers, _ = nnls(stacked, target, maxiter=50 * len(wanted))
    active = torch.zeros_like(finite)
    active[finite] = torch.from_numpy(multipliers > 1e-12 * max(multipliers.max(), 1e-300)).to(active.device)
    return active
