"""REFERENCE ONLY: the steering call as published, nine Fourier transforms a step, for the benchmarks to compare with.

Written from the formula of the count sketch's gradient, once; nothing in the library uses it. A step sketches the
activation (two forward transforms and one back), then for each of the two factors takes the transforms of the weight
and of the other factor and transforms their product back (three each). The transforms are the complex ones of
scikit-learn's `PolynomialCountSketch`; real ones take about half the time, and the benchmarks give both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl import SketchBarrier


@dataclass(frozen=True)
class Transforms:
    """A pair of Fourier transforms over the last dimension, there and back to n real numbers."""

    there: Callable[[Tensor], Tensor]
    back: Callable[[Tensor, int], Tensor]


COMPLEX = Transforms(torch.fft.fft, lambda x, n: torch.fft.ifft(x, n=n).real)
REAL = Transforms(torch.fft.rfft, lambda x, n: torch.fft.irfft(x, n=n))


def published_euler(
    barrier: SketchBarrier,
    a: Float[Tensor, "batch d"],
    T: Float[Tensor, "batch 1"] | float,
    steps: int = 10,
    fourier: Transforms = COMPLEX,
) -> Float[Tensor, "batch d"]:
    """`steps` Euler steps of total length T along ∇h/‖∇h‖, h a degree-2 sketch barrier, computed as `a` is kept."""
    d, n = barrier.d_model, barrier.n_components
    index = barrier.fitted("hashes").to(a.device)
    signs, weight = (barrier.fitted(name).to(a) for name in ("signs", "weight"))
    eta = T / steps
    for _ in range(steps):
        norm = a.norm(dim=-1, keepdim=True)
        u = a / norm
        bias = u.new_full((len(u), 1), barrier.coef0**0.5)
        x = torch.cat([barrier.gamma**0.5 * u, bias], dim=-1)
        counts = [u.new_zeros(len(u), n).index_add(1, index[k], x * signs[k]) for k in range(2)]
        # the features themselves, as published: their score is the barrier's value
        features = fourier.back(fourier.there(counts[0]) * fourier.there(counts[1]), n)
        _score = features @ weight
        gradient = torch.zeros_like(u)
        for k in range(2):
            # d score / d counts[k] is the correlation of the weight with the other factor
            pulled = fourier.back(fourier.there(weight) * fourier.there(counts[1 - k]).conj(), n)
            gradient += barrier.gamma**0.5 * (pulled[:, index[k][:d]] * signs[k][:d])
        gradient -= (gradient * u).sum(-1, keepdim=True) * u
        a = a + eta * gradient / gradient.norm(dim=-1, keepdim=True)
    return a
