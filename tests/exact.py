"""h on points as they are written, in exact arithmetic: the sign of h(end) − h(start) for numbers of any dtype."""

from fractions import Fraction
from math import isqrt

from torch import Tensor


def fractions(x: Tensor) -> list:
    """The numbers of a tensor, exactly."""
    return [Fraction(v) for v in x.double().tolist()] if x.ndim == 1 else [fractions(row) for row in x]


def exact_value(A: list, b: list, a: list, bits: int = 600) -> tuple[Fraction, Fraction]:
    """Bounds of `(aᵀAa)/(a·a) + (b·a)/‖a‖` that lie 2⁻ᵇⁱᵗˢ apart, relative to the second term."""
    square = sum(x * x for x in a)
    bent = sum(x * sum(c * y for c, y in zip(row, a, strict=True)) for x, row in zip(a, A, strict=True)) / square
    along = sum(x * y for x, y in zip(b, a, strict=True))
    # (b·a)/‖a‖ = ±√r
    r = along * along / square
    below = Fraction(isqrt(r.numerator * 4**bits // r.denominator), 2**bits)
    above = below + Fraction(1, 2**bits)
    return (bent + below, bent + above) if along > 0 else (bent - above, bent - below) if along else (bent, bent)


def exact_rise(A: list, b: list, start: list, end: list) -> int:
    """The sign of h(end) − h(start): 1, 0 (equal to 600 bits) or −1."""
    low, high = exact_value(A, b, start), exact_value(A, b, end)
    return 1 if high[0] > low[1] else -1 if high[1] < low[0] else 0
