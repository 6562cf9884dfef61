"""The sign of a trigonometric polynomial on an arc, decided by Bernstein coefficients.

`f(φ) = Σₖ cₖ cos kφ + sₖ sin kφ` (k = 0 … p) on [0, Φ], Φ < π. About the arc's middle and with t = tan(ψ/2),
`(1+t²)ᵖ f` is a polynomial of degree 2p on [−tan(Φ/4), tan(Φ/4)] ⊂ [−1, 1]; its Bernstein coefficients bound it from
both sides, and more tightly on every part. All tensors are float64.
"""

from __future__ import annotations

from functools import cache
from math import comb

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

#: parts shorter than 2⁻¹² of the arc are not cut further
MAX_DEPTH = 12
#: rounding of the change of basis and of de Casteljau's algorithm, in units of Σ|coefficients|
BASIS_ROUNDING = 1024 * 2.0**-53


def arc_polynomial(
    cosines: Float[Tensor, "n p_plus_1"], sines: Float[Tensor, "n p_plus_1"], angle: Float[Tensor, " n"]
) -> Float[Tensor, "n m"]:
    """Bernstein coefficients (m = 2p + 1) of `(1+t²)ᵖ f` over the arc, from its start to its end."""
    p = cosines.shape[1] - 1
    shift = angle[:, None] / 2 * torch.arange(p + 1, dtype=angle.dtype, device=angle.device)
    c = cosines * shift.cos() + sines * shift.sin()
    s = sines * shift.cos() - cosines * shift.sin()
    half_width = (angle / 4).tan()[:, None] ** torch.arange(2 * p + 1, dtype=angle.dtype, device=angle.device)
    from_cos, from_sin, to_bernstein = (x.to(angle.device) for x in _conversions(p))
    return ((c @ from_cos + s @ from_sin) * half_width) @ to_bernstein


def angle_at(fraction: Float[Tensor, " n"], angle: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The angle φ at a fraction of the polynomial's interval."""
    return angle / 2 + 2 * torch.atan((angle / 4).tan() * (2 * fraction - 1))


def positive_prefix(coefficients: Float[Tensor, "n m"], margin: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The largest fraction s (in steps of 2⁻¹²) found so that the polynomial exceeds `margin` on [0, s].

    Sound: a part counts only if all its Bernstein coefficients exceed the margin. 1 means the whole interval.
    """
    reached = torch.zeros_like(margin)
    whole = (coefficients > margin[:, None]).all(1)
    reached[whole] = 1.0
    todo = torch.nonzero(~whole & (coefficients[:, 0] > margin)).squeeze(1)
    width = torch.full((len(todo),), 0.5, dtype=margin.dtype, device=margin.device)
    rest = coefficients[todo]  # the polynomial on [reached, 1]
    while len(todo):
        start = reached[todo]
        # the last part may be shorter than the width
        cut = torch.minimum(width / (1 - start), torch.ones_like(width))
        left, right = split(rest, cut)
        good = (left > margin[todo, None]).all(1)
        reached[todo] = torch.where(good, torch.where(cut == 1, 1.0, start + width), start)
        rest = torch.where(good[:, None], right, rest)
        width = torch.where(good, 2 * width, width / 2)
        alive = (width >= 2.0**-MAX_DEPTH) & (reached[todo] < 1)
        todo, width, rest = todo[alive], width[alive], rest[alive]
    return reached


def falls_somewhere(
    coefficients: Float[Tensor, "n m"], margin: Float[Tensor, " n"], prefix: Float[Tensor, " n"]
) -> Bool[Tensor, " n"]:
    """Whether the polynomial is below −`margin` at a point after `prefix`: at the ends, or close behind a root."""
    _, rest = split(coefficients, prefix)
    offsets = torch.cat([2.0 ** -torch.arange(0, 30, dtype=margin.dtype), torch.linspace(0, 1, 65).double()])
    return (bernstein_values(rest, offsets.to(margin.device)) < -margin[:, None]).any(1)


def bernstein_values(coefficients: Float[Tensor, "n m"], s: Float[Tensor, " points"]) -> Float[Tensor, "n points"]:
    """The polynomial at fractions s of its interval."""
    m = coefficients.shape[1] - 1
    k = torch.arange(m + 1, dtype=s.dtype, device=s.device)
    choose = torch.tensor([comb(m, i) for i in range(m + 1)], dtype=s.dtype, device=s.device)
    return coefficients @ (choose * s[:, None] ** k * (1 - s[:, None]) ** (m - k)).mT


def split(
    coefficients: Float[Tensor, "n m"], s: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]:
    """Bernstein coefficients over [0, s] and over [s, 1] (the two sides of de Casteljau's triangle)."""
    row = coefficients.mT.contiguous()
    firsts, lasts = [row[0]], [row[-1]]
    for _ in range(len(row) - 1):
        row = torch.lerp(row[:-1], row[1:], s)
        firsts.append(row[0])
        lasts.append(row[-1])
    return torch.stack(firsts, dim=1), torch.stack(lasts[::-1], dim=1)


@cache
def _conversions(p: int) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices from cos kψ and sin kψ to powers of t, and from powers on [−1, 1] to Bernstein coefficients.

    All entries are integers or ratios of integers, rounded once.
    """
    cosines, sines = np.zeros((p + 1, 2 * p + 1)), np.zeros((p + 1, 2 * p + 1))
    for k in range(p + 1):
        # (1+t²)ᵖ e^{ikψ} = (1+it)²ᵏ (1+t²)ᵖ⁻ᵏ
        turn = np.array([comb(2 * k, j) * 1j**j for j in range(2 * k + 1)])
        rest = np.polynomial.polynomial.polypow([1, 0, 1], p - k)
        product = np.convolve(turn, rest)
        cosines[k], sines[k] = np.real(product), np.imag(product)
    m = 2 * p
    bernstein = np.zeros((m + 1, m + 1))
    for j in range(m + 1):
        for i in range(m + 1):
            # xʲ on [−1, 1]: the i-th coefficient is a Krawtchouk sum over how many of j draws fall on either end
            total = sum((-1) ** (j - r) * comb(i, r) * comb(m - i, j - r) for r in range(j + 1))
            bernstein[j, i] = total / comb(m, j)
    return torch.from_numpy(cosines), torch.from_numpy(sines), torch.from_numpy(bernstein)
