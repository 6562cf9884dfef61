"""Attention blocks of a learned velocity, as plain functions of named tensors, in float32 or float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import silu

from odesteer_tl.fields.learned import clock

#: what a block sees of a time
CLOCK = 8
#: of the root mean square norms
EPSILON = 1e-6
#: a lookup of one block's tensors by name
Get = Callable[[str], Tensor]


def block(
    get: Get,
    x: Float[Tensor, "batch seq d"],
    t: Float[Tensor, "batch seq 1"],
    concept: Float[Tensor, "tokens d"],
    sees: Bool[Tensor, "batch seq seq"],
    heads: int,
) -> Float[Tensor, "batch seq d"]:
    """Time, attention to the concept, attention to the text so far, gated network: each added through a gate a channel.

    Args:
        get: the block's tensors: `time`, `cross.q` …, `self.q` …, `norm.cross`, `norm.self`, `norm.mlp`, `mlp.gate`,
            `mlp.up`, `mlp.down`, and the rows of `gates`, one a part.
        x: states in units of a coordinate.
        sees: which tokens (last axis) each token sees.
        heads: of both attentions.
    """
    gates = get("gates")
    x = x + gates[0] * (clock(t, CLOCK) @ get("time"))
    anything = torch.ones(1, 1, len(concept), dtype=torch.bool, device=x.device)
    there = rms(concept, get("norm.cross"))[None]
    x = x + gates[1] * attend(get, "cross", rms(x, get("norm.cross")), there, anything, heads)
    own = rms(x, get("norm.self"))
    x = x + gates[2] * attend(get, "self", own, own, sees, heads)
    y = rms(x, get("norm.mlp"))
    return x + gates[3] * ((silu(y @ get("mlp.gate").mT) * (y @ get("mlp.up").mT)) @ get("mlp.down").mT)


def rms(x: Float[Tensor, "*batch d"], weight: Float[Tensor, " d"]) -> Float[Tensor, "*batch d"]:
    """The root mean square norm."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON) * weight


def attend(
    get: Get,
    name: str,
    x: Float[Tensor, "batch seq d"],
    to: Float[Tensor, "others keys d"],
    sees: Bool[Tensor, "some rows keys"],
    heads: int,
) -> Float[Tensor, "batch seq d"]:
    """Softmax attention without positions of its own."""
    q, k, v = (
        (y @ get(f"{name}.{part}").mT).unflatten(-1, (heads, -1)).transpose(1, 2)
        for y, part in ((x, "q"), (to, "k"), (to, "v"))
    )
    scores = (q @ k.mT) / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~sees[:, None], -torch.inf).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(-2) @ get(f"{name}.o").mT
