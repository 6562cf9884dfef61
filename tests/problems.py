"""Reference problems: random quadratics and random activations, in float64."""

import torch
from torch import Tensor

from odesteer_tl import QuadraticBarrier


def random_quadratic(d: int, seed: int, curvature: float = 1.0, slope: float = 1.0) -> QuadraticBarrier:
    """A dense quadratic with ‖A‖ ≈ curvature and ‖b‖ ≈ slope."""
    g = torch.Generator().manual_seed(seed)
    A = torch.randn(d, d, generator=g, dtype=torch.float64) / d**0.5
    b = torch.randn(d, generator=g, dtype=torch.float64) / d**0.5
    return QuadraticBarrier(A=curvature * (A + A.mT) / 2, b=slope * b, c=0.3)


def gaussian_classes(n: int, d: int, seed: int = 0, shift: float = 0.3) -> tuple[Tensor, Tensor]:
    """Two classes that differ in mean and covariance, float32, norms about √d."""
    g = torch.Generator().manual_seed(seed)
    mean = torch.randn(d, generator=g)
    scales = torch.linspace(0.5, 1.5, d)
    positive = torch.randn(n, d, generator=g) + shift * mean
    return positive, torch.randn(n, d, generator=g) * scales - shift * mean


def activations(n: int, d: int, seed: int = 1, norm: float = 8.0) -> Tensor:
    """Random float64 activations of one norm."""
    a = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return norm * a / a.norm(dim=-1, keepdim=True)
