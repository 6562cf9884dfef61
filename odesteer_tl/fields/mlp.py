"""The small network inside some fields: layers as plain tensors, so that a field is saved like any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

#: weight [out, in] and bias [out] of each layer; tanh between layers
Layers = Sequence[tuple[Tensor, Tensor]]


def forward(layers: Layers, x: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch o"]:
    """`W_k tanh(… tanh(W₁x + b₁) …) + b_k`."""
    for weight, bias in layers[:-1]:
        x = torch.tanh(x @ weight.mT + bias)
    weight, bias = layers[-1]
    return x @ weight.mT + bias


def input_gradient(layers: Layers, x: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch i"]:
    """∇ₓ of a network with one output, by hand: it must also work where autograd is off (inference mode)."""
    hidden: list[Tensor] = []
    for weight, bias in layers[:-1]:
        x = torch.tanh(x @ weight.mT + bias)
        hidden.append(x)
    back = layers[-1][0][0].expand_as(x)
    for (weight, _), h in zip(reversed(layers[:-1]), reversed(hidden), strict=True):
        back = (back * (1 - h * h)) @ weight
    return back


def pack(layers: Layers) -> dict[str, Tensor]:
    """Layers as named tensors."""
    weights = {f"weight{i}": weight for i, (weight, _) in enumerate(layers)}
    return weights | {f"bias{i}": bias for i, (_, bias) in enumerate(layers)}


def unpack(count: int, get: Callable[[str], Tensor]) -> Layers:
    """Layers from a lookup by `pack`'s names."""
    return [(get(f"weight{i}"), get(f"bias{i}")) for i in range(count)]
