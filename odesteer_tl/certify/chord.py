"""The segment certificate of a random-Fourier barrier: its slope along a chord, bounded by its curvature."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._scale import row_norms
from odesteer_tl.barriers import FourierBarrier
from odesteer_tl.certify.circle import SAFETY, UNIT_ROUNDOFF
from odesteer_tl.certify.steps import Steps

#: a chord is first cut into this many parts, and a part that stays open halved this many times
PARTS, HALVINGS = 8, 12
#: the least norm of a point, and one over the largest
SMALLEST = 1e-120


@dataclass(frozen=True)
class Chords:
    """`h(a + s·m)` for s in [0, 1] on n chords, as a sum of cosines.

    Attributes:
        phases, rates: `ωⱼ·a + φⱼ` and `ωⱼ·m`.
        weight: wⱼ.
        curvature: `Σ|wⱼ|(ωⱼ·m)² ≥ |h″|` along the chord.
        error: of the computed h′(s).
    """

    phases: Float[Tensor, "n J"]
    rates: Float[Tensor, "n J"]
    weight: Float[Tensor, " J"]
    curvature: Float[Tensor, " n"]
    error: Float[Tensor, " n"]

    @classmethod
    def of(cls, barrier: FourierBarrier, start: Float[Tensor, "n d"], move: Float[Tensor, "n d"]) -> Chords:
        """h along every chord from `start` by `move`."""
        frequencies, offsets, weight = (barrier.fitted(name).to(start) for name in ("frequencies", "phases", "weight"))
        phases, rates = start @ frequencies + offsets, move @ frequencies
        omega = frequencies.norm(dim=0)
        gamma = SAFETY * (2 * start.shape[1] + 2 * len(weight) + 8) * UNIT_ROUNDOFF
        length = move.norm(dim=1)
        # a rate errs by γ‖ω‖‖m‖ and a phase by γ‖ω‖(‖a‖ + ‖m‖) + γ2π, each counted at full weight
        reach = start.norm(dim=1) + length
        steep = weight.abs() * omega
        error = gamma * length * (8 * steep.sum() + reach * (steep * omega).sum())
        curvature = (rates.square() * weight.abs()).sum(1) * (1 + gamma) + gamma * (steep * omega).sum() * length**2
        return cls(phases, rates, weight, curvature, error)

    def slope(self, rows: Tensor, s: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        """h′ at the fraction s of the given chords."""
        rates = self.rates[rows]
        return -((self.phases[rows] + s[:, None] * rates).sin() * rates) @ self.weight


def certify_chords(barrier: FourierBarrier, paths: Float[Tensor, "K_plus_1 n d"]) -> tuple[Tensor, ...]:
    """The fields of `PathCertificate` for a Fourier barrier: does h rise along every straight step?

    Raises:
        ValueError: a point whose square is no float64 number; this h sees the norm, so it cannot be scaled.
    """
    require_squares(paths)
    steps = Steps.of(paths)
    shape = steps.radius.shape
    flat = Chords.of(barrier, *(x.flatten(0, 1) for x in (steps.start, steps.move)))
    length = torch.hypot(steps.along, steps.span).flatten()
    stationary = length <= SAFETY * UNIT_ROUNDOFF * steps.radius.flatten()
    lowest, prefix, refuted = _least_slope(flat)
    certified = (lowest > 0) & ~stationary
    turned = steps.turned
    # the angle turned when the fraction s of the chord is behind
    s = prefix.reshape(shape)
    at = torch.atan2(s * steps.span, steps.radius + s * steps.along).flatten()
    violation = torch.where(certified | stationary, torch.nan, at)
    tiny = torch.finfo(torch.float64).tiny
    slack = lowest / flat.curvature.clamp_min(tiny) * length
    found = (certified, refuted & ~stationary, stationary, violation, turned.flatten(), slack)
    return tuple(x.reshape(shape) for x in found)


def change_along_chords(
    barrier: FourierBarrier, paths: Float[Tensor, "2 n d"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Bounds of h(end) − h(start) from below and above.

    Raises:
        ValueError: as `certify_chords`.
    """
    require_squares(paths)
    chords = Chords.of(barrier, paths[0], paths[1] - paths[0])
    # cos(p + r) − cos p without its cancellation
    change = -2 * ((chords.phases + chords.rates / 2).sin() * (chords.rates / 2).sin()) @ chords.weight
    error = torch.where((paths[0] == paths[1]).all(-1), 0.0, 2 * chords.error)
    return change - error, change + error


def require_squares(paths: Float[Tensor, "K_plus_1 n d"]) -> None:
    """Raise `ValueError` for points whose norms are so small or large that products of them are lost."""
    norms = row_norms(paths)
    if not bool(((norms > SMALLEST) & (norms < 1 / SMALLEST)).all()):
        raise ValueError(
            f"points: norms from {float(norms.min()):.3g} to {float(norms.max()):.3g}; a Fourier barrier, which sees "
            f"the norm, is certified between {SMALLEST:g} and {1 / SMALLEST:g}: leave such points out"
        )


def _least_slope(chords: Chords) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], Bool[Tensor, " n"]]:
    """A lower bound of h′ on each chord, the fraction up to which h′ > 0 is proved, and whether h′ < 0 was seen.

    On a part of width w, `h′ ≥ (h′(s₀) + h′(s₁))/2 − Lw/2` for a slope of Lipschitz constant L. Parts whose bound is
    not positive are halved.
    """
    n = len(chords.phases)
    device = chords.phases.device
    rows = torch.arange(n, device=device).repeat_interleave(PARTS)
    left = (torch.arange(PARTS, dtype=torch.float64, device=device) / PARTS).repeat(n)
    lowest = torch.full((n,), torch.inf, dtype=torch.float64, device=device)
    open_from = torch.ones(n, dtype=torch.float64, device=device)
    falls = torch.zeros(n, dtype=torch.bool, device=device)
    width = 1 / PARTS
    for depth in range(HALVINGS + 1):
        ends = chords.slope(rows, left), chords.slope(rows, left + width)
        error, bend = chords.error[rows], chords.curvature[rows]
        below = torch.minimum(*ends) < -error
        falls[rows[below]] = True
        bound = (ends[0] + ends[1]) / 2 - bend * width / 2 - error
        unproved = ~(bound > 0)
        # where a fall was seen only the first open part is worth halving: it says from where on nothing is proved
        first = torch.full_like(lowest, torch.inf).scatter_reduce_(0, rows[unproved], left[unproved], "amin")
        halve = unproved & (~falls[rows] | (left == first[rows])) & torch.tensor(depth < HALVINGS, device=device)
        lowest.scatter_reduce_(0, rows[~halve], bound[~halve], "amin")
        given_up = unproved & ~halve
        open_from.scatter_reduce_(0, rows[given_up], left[given_up], "amin")
        width /= 2
        rows = rows[halve].repeat_interleave(2)
        left = (left[halve, None] + torch.tensor([0.0, width], dtype=torch.float64, device=device)).flatten()
        if not len(rows):
            break
    return lowest, open_from, falls
