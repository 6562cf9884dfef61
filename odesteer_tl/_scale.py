"""Lengths of rows of any size: squares of numbers below 1e-154 or above 1e154 are no float64 numbers."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def row_norms(x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
    """‖x‖ of each row (NaN or infinite where an entry is)."""
    scale = _scale(x)
    return (torch.linalg.vector_norm(x / scale, dim=-1, keepdim=True) * scale).squeeze(-1)


def directions(x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
    """x/‖x‖ of each row; NaN where a row is zero."""
    x = x / _scale(x)
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)


def _scale(x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch 1"]:
    """What a row is divided by before it is squared: its largest entry where that is extreme, else 1 (exact)."""
    largest = torch.linalg.vector_norm(x.detach(), ord=torch.inf, dim=-1, keepdim=True)
    small = torch.finfo(x.dtype).tiny ** 0.5 / torch.finfo(x.dtype).eps  # 1e-138 in float64, 1e-12 in float32
    usual = ((largest > small) & (largest < 1 / small)) | (largest == 0) | ~largest.isfinite()
    return torch.where(usual, 1.0, largest)


def exponents(x: Float[Tensor, "*batch d"]) -> Int[Tensor, "*batch"]:
    """Of each row, the power of two just above its largest entry."""
    return torch.frexp(torch.linalg.vector_norm(x, ord=torch.inf, dim=-1)).exponent


def times_power(x: Float[Tensor, "*batch d"], exponent: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch d"]:
    """Each row times a power of two: exact, but where it underflows."""
    half = exponent.div(2, rounding_mode="floor")
    for part in (half, exponent - half):  # the whole power may be no float64 number
        x = x * torch.pow(x.new_tensor(2.0), part.to(x.dtype)).unsqueeze(-1)
    return x
