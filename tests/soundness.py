"""Attacking the segment certificate: random segments of many kinds against dense sampling of h's own slope.

The sampled slope is written down anew from the quotient h(x(t)), not by way of the trigonometric polynomial.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch

from odesteer_tl import KernelBarrier, ceiling, certify_path
from tests.problems import activations, random_quadratic

#: of the segment, and as many again of its angle
SAMPLES = 129
KINDS = ("plain", "along", "tiny", "antipodal", "stationary", "tangent", "radial", "razor")
#: made to lie within 1e-8 (a step that hardly turns) or 1e-12 (a slope that all but vanishes) of a tie
TIES = ("radial", "razor")


@dataclass
class Tally:
    """Segments tried and what went wrong."""

    total: int = 0
    moving: int = 0
    certified: int = 0
    refuted: int = 0
    undecided: int = 0
    false_certificates: int = 0
    false_refutations: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


@lru_cache(maxsize=1)
def polynomial(d: int, degree: int, seed: int, size: float, n: int = 5):
    """A barrier of the given degree in d dimensions: dense for degree 2, a kernel expansion otherwise."""
    if degree == 2:
        return random_quadratic(d, seed, curvature=size, slope=1.0 if seed % 3 else 0.0)
    X = activations(n, d, seed, norm=1.0)
    alpha = size * torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    state = {"X": X, "alpha": alpha, "intercept": torch.tensor(0.3).double(), "gamma": torch.tensor(1.5).double(),
             "C": torch.tensor(1.0).double()}  # fmt: skip
    return KernelBarrier(degree=degree, coef0=0.2, gamma=1.5).restore(state, None)


def segments(barrier, n: int, seed: int, kind: str):
    """Starts and ends: plain, along the field, tiny, near-antipodal, from stationary points, from saddles (of a
    quadratic without a slope), along directions in which h hardly changes (to 1e-6, or on a razor's edge to 1e-12), or
    nearly radial."""
    d = barrier.d_model
    a, b = activations(n, d, seed), activations(n, d, seed + 1)
    u = a / a.norm(dim=-1, keepdim=True)
    length = torch.rand(n, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if kind == "plain":
        return a, b
    if kind == "antipodal":
        return a, -a + 10.0 ** (-6 * length) * b
    if kind == "radial":
        return a, 2 * a + 10.0 ** (-8 * length) * b
    if kind in ("stationary", "saddles"):
        # (polynomials of higher degree: from points that all but coincide)
        top = ceiling(barrier.quadratic).point * 8 if barrier.polynomial_degree <= 2 else a[0]
        top = top if kind == "stationary" else barrier.quadratic.spectrum.basis.mT[torch.arange(n) % d] * 8
        return top + 10.0 ** (-8 * length) * (b - (b * u).sum(-1, keepdim=True) * u), b
    g = barrier.gradient(a)
    g = 8 * g / g.norm(dim=-1, keepdim=True)
    if kind == "along":
        return a, a + 16 * length * g
    if kind == "tiny":
        return a, a + 10.0 ** (-9 * length) * g
    level = b - (b * u).sum(-1, keepdim=True) * u
    level = level - (level * g).sum(-1, keepdim=True) * g / 64
    return a, a + level + 10.0 ** ((-6 if kind == "tangent" else -12) * length) * g


def slope_range(barrier, start, end):
    """Least dh/dφ over dense samples of each segment, and the size of its rounding."""
    move = end - start
    aa, am, mm = ((x * y).sum(-1, keepdim=True) for x, y in ((start, start), (start, move), (move, move)))
    area = (aa * mm - am * am).clamp_min(1e-300).sqrt()
    even = torch.linspace(0, 1, SAMPLES, dtype=torch.float64)
    phi = even * torch.atan2(area, aa + am)
    t = torch.cat([even.expand_as(phi), (phi.sin() * aa / (phi.cos() * area - phi.sin() * am)).clamp(0, 1)], dim=1)
    S, dS = (t * mm + 2 * am) * t + aa, 2 * (am + t * mm)
    if barrier.polynomial_degree == 2:
        A, b = barrier.A, barrier.b
        Aa, Am = start @ A, move @ A
        p, q, r = ((x * y).sum(-1, keepdim=True) for x, y in ((start, Aa), (start, Am), (move, Am)))
        k, m = (start @ b)[:, None], (move @ b)[:, None]
        bent = ((r * am - q * mm) * t + (r * aa - p * mm)) * t + (q * aa - p * am)
        slope = (2 * bent / S + ((m * aa - k * am) + (m * am - k * mm) * t) / S.sqrt()) / S
        size = float(A.norm() + b.norm())
    else:
        X, alpha = barrier.state["X"], barrier.state["alpha"]
        gamma, c0, k = barrier.chosen["gamma"], barrier.coef0, barrier.degree
        slope = torch.zeros_like(S)
        for x, w in zip(X, alpha, strict=True):
            along, rate = (start @ x)[:, None] + t * (move @ x)[:, None], (move @ x)[:, None]
            base = gamma * along / S.sqrt() + c0
            slope += w * k * gamma * base ** (k - 1) * (rate * S - along * dS / 2) / S**1.5
        size = barrier.slope_bound
    per_angle = slope * S / area
    blur = (mm * aa).sqrt() / area * ((aa + mm) / S).amax(-1, keepdim=True)
    return per_angle, 1e-13 * size * blur


def attack(d: int, degree: int, n: int, seed: int, kind: str, size: float) -> Tally:
    """n segments of one kind on one random barrier."""
    barrier = polynomial(d, degree, seed, size)
    start, end = segments(barrier, n, seed, kind)
    found = certify_path(barrier, torch.stack([start, end]))
    certified, refuted, moving = found.certified[0], found.refuted[0], ~found.stationary[0]
    tally = Tally(n, int(moving.sum()), int(certified.sum()), int(refuted.sum()), int(found.undecided.sum()))
    for rows in torch.arange(n).split(256):  # (whose samples stay in a core's cache)
        slopes, noise = slope_range(barrier, start[rows], end[rows])
        falls, rises = (slopes < -noise).any(-1), (slopes > noise).all(-1)
        tally.false_certificates += int((certified[rows] & moving[rows] & falls).sum())
        # a dip may hide between samples; where the least sampled slope is far from 0 it cannot
        clear = slopes.amin(-1) > torch.pi / SAMPLES * bend(barrier) + noise.squeeze(-1)
        tally.false_refutations += int((refuted[rows] & moving[rows] & rises & clear).sum())
    return tally


def bend(barrier) -> float:
    """A bound on |d²h/dφ²|."""
    if barrier.polynomial_degree <= 2:
        return barrier.quadratic.curvature_bound
    return barrier.degree * barrier.slope_bound  # Bernstein's inequality for trigonometric polynomials
