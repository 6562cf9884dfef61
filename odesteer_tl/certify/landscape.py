"""The whole landscape of a quadratic on the sphere: its ceiling and all its stationary points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odesteer_tl._display import Result, rows, table
from odesteer_tl.barriers import QuadraticBarrier
from odesteer_tl.barriers.spectrum import Spectrum
from odesteer_tl.certify.secular import multipliers
from odesteer_tl.certify.sphere import sphere_maximum

if TYPE_CHECKING:
    import pandas as pd

#: eigenvalues nearer than this share of the spread are one; a load below this share of the scale is none
SAME = 1e-13
#: below this share of the scale a load, or a distance of a multiplier from an eigenvalue, tells no index
INDEX = 1e-9
#: a unit vector with less than this outside the span lies in it
OUTSIDE = 1e-13


@dataclass(frozen=True, repr=False)
class Ceiling(Result):
    """The most h can be, on any activation.

    Attributes:
        bound: a proof: h ≤ bound everywhere.
        value: h at `point`.
        point: the direction that reaches it (unit norm).
    """

    bound: float
    value: float
    point: Float[Tensor, " d"]

    @property
    def gap(self) -> float:
        """bound − value: how far from tight."""
        return self.bound - self.value

    def __float__(self) -> float:
        return self.bound

    def _facts(self) -> dict[str, object]:
        return {"bound of h": self.bound, "h at the point": self.value, "gap": self.gap, "point": self.point}

    def frame(self) -> pd.DataFrame:
        """One row: bound, value and gap."""
        return table([{"bound": self.bound, "value": self.value, "gap": self.gap}])


def ceiling(quadratic: QuadraticBarrier) -> Ceiling:
    """The global maximum of h on the sphere.

    Stationarity is `u = ½(μI − A)⁻¹b` with ‖u‖ = 1, the maximum at the one root μ > λmax; `c + μ + ¼Σβ²/(μ−λ)` bounds h
    for every such μ. Where b is orthogonal to the top eigenspace (the hard case) the top eigenvector completes u.

    Args:
        quadratic: the barrier h.

    Returns:
        The bound, h at the best direction, and that direction; `float(...)` is the bound.

    Example:
        >>> import torch
        >>> import odesteer_tl as ode
        >>> h = ode.QuadraticBarrier(A=torch.diag(torch.tensor([1.0, -1.0])), b=torch.zeros(2), c=0.0)
        >>> round(float(ode.ceiling(h)), 6)  # the largest eigenvalue of A
        1.0
    """
    values, loads = quadratic.spectrum.values, quadratic.spectrum.loads
    top = values.max()
    above, y = sphere_maximum((top - values)[None], loads[None] / 2)
    point = _lift(quadratic, y[0])
    size = float(values.abs().max() + loads.norm() / 2)
    rounding = 64 * len(values) * 2.0**-53 * (size + abs(quadratic.c)) + 4 * quadratic.spectral_error
    return Ceiling(float(top + above[0]) + quadratic.c + rounding, float(quadratic.value(point)), point)


@dataclass(frozen=True, repr=False)
class Landscape(Result):
    """All stationary points of h on the sphere, the highest first.

    Attributes:
        quadratic: h.
        coordinates: unit points in the spectrum's coordinates.
        multipliers: μ of each, `2(A − μI)u + b = 0`.
        values: h at each.
        ascending: in how many independent directions h rises from each; 0 is a maximum.
        degenerate: where the index cannot be told: the point is within rounding of merging with another, or a load so
            small that rounding may have made it (below 1e-9 of the scale) decides. `ascending` is a guess there.
        family: dimension of the set each stands for: 0 for a point; where b has no part in an eigenspace of
            dimension m, the stationary points may form a sphere of dimension m − 1.
    """

    quadratic: QuadraticBarrier
    coordinates: Float[Tensor, "m k"]
    multipliers: Float[Tensor, " m"]
    values: Float[Tensor, " m"]
    ascending: Int[Tensor, " m"]
    family: Int[Tensor, " m"]
    degenerate: Bool[Tensor, " m"]

    @cached_property
    def points(self) -> Float[Tensor, "m d"]:
        """The stationary directions as activations of unit norm."""
        return torch.stack([_lift(self.quadratic, y) for y in self.coordinates])

    @property
    def maxima(self) -> int:
        """Number of local maxima (of families of them, where b leaves an eigenspace free); see `degenerate`."""
        return int((self.ascending == 0).sum())

    @property
    def minima(self) -> int:
        """Number of local minima."""
        return int((self.ascending + self.family == self.quadratic.d_model - 1).sum())

    @property
    def benign(self) -> bool:
        """Exactly one maximum and one minimum: the flow reaches the maximum from everywhere but the minimum."""
        return len(self.values) == 2

    @property
    def surely_benign(self) -> bool:
        """The sufficient test `‖b‖ > 2(λmax − λmin)`."""
        values = self.quadratic.spectrum.values
        return float(self.quadratic.b.norm()) > 2 * float(values.max() - values.min())

    def _facts(self) -> dict[str, object]:
        return {
            "maxima": self.maxima,
            "minima": self.minima,
            "saddles": len(self.values) - self.maxima - self.minima,
            "degenerate (index untold)": int(self.degenerate.sum()),
            "highest h": float(self.values.max()),
            "lowest h": float(self.values.min()),
            "width": self.quadratic.d_model,
        }

    def frame(self) -> pd.DataFrame:
        """One row a stationary point, the highest first."""
        names = ("values", "multipliers", "ascending", "family", "degenerate")
        columns = {name: getattr(self, name) for name in names}
        return rows(["point"], columns).rename(columns={"values": "value", "multipliers": "multiplier"})


@torch.no_grad()
def landscape(quadratic: QuadraticBarrier) -> Landscape:
    """Find every stationary point of h on the sphere by the roots of the secular equation.

    A pair of points about to merge (a double root, exactly) may be left out: it is no maximum of a generic h.

    Args:
        quadratic: the barrier h.

    Returns:
        Every stationary point with its height, its multiplier and its index.
    """
    spectrum = quadratic.spectrum
    order = spectrum.values.argsort()
    values, loads = spectrum.values[order], spectrum.loads[order]
    # the reduced span's complement is one coordinate that stands for d − r
    multiplicity = torch.ones(len(values), dtype=torch.int64)
    multiplicity[order == len(values) - 1] = quadratic.d_model - len(values) + 1
    y, mu, family, free = _stationary(values, loads, multiplicity)
    degenerate = _degenerate(values, loads, y, mu, free)
    heights = (values * y * y).sum(1) + y @ loads + quadratic.c
    above = (multiplicity * (values > mu[:, None] + SAME * _scale(values, loads))).sum(1)
    # the tangent space has one ascending direction less where uᵀ(A − μI)⁻¹u > 0; as u = ½(μI − A)⁻¹b, that is −Σ2u³/β
    inverse = torch.where(loads == 0, 0.0, -2 * y**3 / loads).sum(1)
    lost = (inverse > 0) & ~free
    best = heights.argsort(descending=True)
    restored = y[:, order.argsort()]
    ascending = above - lost.long()
    return Landscape(quadratic, restored[best], mu[best], heights[best], ascending[best], family[best].long(),
                     degenerate[best])  # fmt: skip


def _degenerate(
    values: Float[Tensor, " k"], loads: Float[Tensor, " k"], y: Float[Tensor, "m k"], mu: Float[Tensor, " m"],
    free: Bool[Tensor, " m"],
) -> Bool[Tensor, " m"]:  # fmt: skip
    """Where the signs that make up the index are those of numbers that may be rounding.

    They are the signs of λ − μ, and of uᵀ(A − μI)⁻¹u, which is 0 where two points merge. A point that an unloaded
    eigenvalue gave has λ = μ there, and is degenerate if that eigenvalue is loaded after all, or another is as near.
    """
    near = (values - mu[:, None]).abs() <= INDEX * _scale(values, loads)
    touched = near & (loads.abs() > 0)
    others = near & free[:, None] & (values != mu[:, None])
    terms = torch.where(loads == 0, 0.0, -2 * y**3 / loads)
    merging = terms.sum(1).abs() <= 1e-6 * terms.abs().sum(1)
    return (touched | others).any(1) | (merging & ~free)


def local_maxima(values: Float[Tensor, " k"], loads: Float[Tensor, " k"]) -> tuple[Float[Tensor, "m k"], float]:
    """Candidates for local maxima: stationary points with at most one eigenvalue above their multiplier.

    A quadratic on the sphere has at most one local maximum that is not global (Martínez 1994).

    Args:
        values: eigenvalues, ascending.

    Returns:
        The points, and how much higher a true one may be: eigenvalues taken for equal need not be.
    """
    y, _, _, _ = _stationary(values, loads, torch.ones(len(values), dtype=torch.int64), highest_only=True)
    return y, 2 * len(values) * SAME * _scale(values, loads)


def _scale(values: Tensor, loads: Tensor) -> float:
    return float(values[-1] - values[0] + loads.norm()) or 1.0


def _stationary(
    values: Float[Tensor, " k"], loads: Float[Tensor, " k"], multiplicity: Int[Tensor, " k"], highest_only: bool = False
) -> tuple[Float[Tensor, "m k"], Float[Tensor, " m"], Int[Tensor, " m"], Bool[Tensor, " m"]]:
    """Coordinates, multipliers, family dimension, and whether an unloaded eigenvalue gave them, of all stationary
    points (or of those above the second eigenvalue).

    Eigenvalues that agree are one with the norm of their loads; a loaded one gives poles of the secular equation, an
    unloaded one points of its own where the others leave length for it.
    """
    scale = _scale(values, loads)
    fresh = torch.cat([values.new_ones(1).bool(), values.diff() > SAME * scale])
    group = fresh.long().cumsum(0) - 1
    count = int(group[-1]) + 1
    level = values[fresh]
    load = torch.zeros(count, dtype=values.dtype, device=values.device).index_add_(0, group, loads.square()).sqrt()
    size = torch.zeros(count, dtype=torch.int64, device=values.device).index_add_(0, group, multiplicity.to(group))
    loaded = load > SAME * scale
    half = torch.where(loaded[group], loads / 2, 0.0)
    found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    if bool(loaded.any()):
        poles = level[loaded]
        lowest = max(0, len(poles) - 2) if highest_only else 0
        anchor, offset = multipliers(poles, load[loaded] / 2, lowest)
        # (0 where nothing is loaded, also where the root falls on that very eigenvalue)
        y = torch.where(half == 0, 0.0, -half / ((level[group] - anchor[:, None]) - offset[:, None]))
        none = torch.zeros(len(y), dtype=torch.int64)
        found.append((y / y.norm(dim=1, keepdim=True), anchor + offset, none, none.bool()))
    free = torch.nonzero(~loaded).squeeze(1)
    for g in free[-2:] if highest_only else free:
        y = torch.where(half == 0, 0.0, half / (level[g] - level[group]))
        missing = 1 - float(y.square().sum())
        if missing > 0:
            first = int((group == g).nonzero()[0])
            both = torch.stack([y, y])
            both[:, first] = torch.tensor([1.0, -1.0], dtype=torch.float64) * missing**0.5
            dimension = int(size[g]) - 1
            # the two signs are one connected family as soon as there is room to turn
            both = both if dimension == 0 else both[:1]
            family = torch.full((len(both),), dimension)
            found.append((both, level[g].expand(len(both)), family, torch.ones_like(family).bool()))
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))  # pyright: ignore[reportReturnType]


def _lift(quadratic: QuadraticBarrier, y: Float[Tensor, " k"]) -> Float[Tensor, " d"]:
    """A unit vector with coordinates y; the complement's coordinate may point anywhere orthogonal to the span."""
    basis = quadratic.spectrum.basis
    return lifted(quadratic.spectrum, y[None], torch.zeros_like(basis[:, 0])[None])[0]


def lifted(spectrum: Spectrum, y: Float[Tensor, "n k"], u0: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Unit vectors with coordinates y, whose part outside the span points along that of u₀, or anywhere."""
    basis = spectrum.basis
    r = basis.shape[1]
    u = y[:, :r] @ basis.mT
    if spectrum.reduced:
        outside = _complement(basis, _complement(basis, u0))
        # (what is left of a u₀ inside the span is rounding): the coordinate axis least inside it will do as well
        axis = torch.zeros_like(u0[:1])
        axis[0, int(basis.square().sum(1).argmin())] = 1
        axis = _complement(basis, _complement(basis, axis))
        outside = torch.where(outside.norm(dim=1, keepdim=True) > OUTSIDE, outside, axis)
        u = u + y[:, r:] * outside / outside.norm(dim=1, keepdim=True)
    return u / u.norm(dim=1, keepdim=True)


def _complement(basis: Float[Tensor, "d r"], x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    return x - (x @ basis) @ basis.mT
