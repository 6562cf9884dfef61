"""The exact segment certificate: does h rise on the whole of every step, not only between its ends?

A straight segment from a to a′, seen through a/‖a‖, is an arc of a great circle, and on a great circle a quadratic is
a trigonometric polynomial of degree 2. So one certificate serves every method that produces points, whatever the
method and the dtype (MATHEMATICS, Segment certificate).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._check import require_nonzero_rows, require_width
from odesteer_tl.barriers import Barrier, QuadraticBarrier
from odesteer_tl.certify.arc import BASIS_ROUNDING, angle_at, arc_polynomial, falls_somewhere, positive_prefix

UNIT_ROUNDOFF = 2.0**-53
#: safety factor on the a-priori rounding bound
SAFETY = 16.0
#: arcs are shorter than π; a requested step is cut here
LONGEST_ARC = 3.14159


@dataclass(frozen=True)
class PathCertificate:
    """What is proved of each step. `certified` and `refuted` are both proofs; a step may have neither.

    Attributes:
        certified: h rises strictly along the whole segment.
        refuted: h falls strictly somewhere on the segment.
        stationary: the direction does not move beyond rounding; neither certified nor refuted.
        first_violation: angle in radians from the step's start up to which h is proved to rise, where the step is
            not certified; NaN where it is.
        angle: length of the step in radians.
        slack: a lower bound of dh/dφ over the step divided by the barrier's curvature bound L (dimensionless): the
            room left before h would stop rising. Negative values bound how fast h may fall.

    It speaks of the barrier given, in exact arithmetic on the points given; not of another barrier fitted on other
    data, and not of the model's behaviour.
    """

    certified: Bool[Tensor, "steps *batch"]
    refuted: Bool[Tensor, "steps *batch"]
    stationary: Bool[Tensor, "steps *batch"]
    first_violation: Float[Tensor, "steps *batch"]
    angle: Float[Tensor, "steps *batch"]
    slack: Float[Tensor, "steps *batch"]

    @property
    def undecided(self) -> Bool[Tensor, "steps *batch"]:
        """Moving steps that are neither certified nor refuted: within rounding of a stationary point."""
        return ~(self.certified | self.refuted | self.stationary)

    def __str__(self) -> str:
        total = self.certified.numel()
        counts = {name: int(getattr(self, name).sum()) for name in ("certified", "refuted", "stationary", "undecided")}
        return f"PathCertificate({total} steps: " + ", ".join(f"{n} {name}" for name, n in counts.items()) + ")"

    __repr__ = __str__


def certify_path(barrier: Barrier, points: Float[Tensor, "steps_plus_1 *batch d"]) -> PathCertificate:
    """Certify that h rises along every segment of a path, however the path was made.

    Args:
        barrier: one that is quadratic on the sphere (degree ≤ 2).
        points: realised points in any dtype, step first; arithmetic is float64 with rounding accounted for.

    Raises:
        ValueError: the barrier has no sound certificate, there are fewer than two points, or a point is zero or not
            finite.
    """
    if not isinstance(barrier, Barrier):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"barrier is a {type(barrier).__name__}: no sound certificate exists for this class")
    quadratic = barrier.quadratic
    if points.ndim < 2 or points.shape[0] < 2:
        raise ValueError(f"points has shape {tuple(points.shape)}; pass at least two points, [steps + 1, *batch, d]")
    require_width("points", points, quadratic.d_model)
    a = points.double()
    require_nonzero_rows("points", a.norm(dim=-1))
    batch = a.shape[1:-1]
    flat = a.reshape(a.shape[0], -1, a.shape[-1])
    rows = [_certify_step(quadratic, flat[k], flat[k + 1]) for k in range(len(flat) - 1)]
    parts = [torch.stack(column).reshape(len(rows), *batch) for column in zip(*rows, strict=True)]
    return PathCertificate(*parts)


def _certify_step(
    q: QuadraticBarrier, start: Float[Tensor, "n d"], end: Float[Tensor, "n d"]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The fields of `PathCertificate` for one step of n paths."""
    d = start.shape[-1]
    u = start / start.norm(dim=-1, keepdim=True)
    move = end - start  # exact for close points; the tangent keeps its relative accuracy however short the step
    across = move - (move * u).sum(-1, keepdim=True) * u
    length, span = move.norm(dim=-1), across.norm(dim=-1)
    gamma = SAFETY * (2 * d + 8) * UNIT_ROUNDOFF
    stationary = span <= gamma * length
    v = across / torch.where(stationary, 1.0, span)[:, None]
    turned = torch.atan2(span, (end * u).sum(-1))
    angle, antipodal = turned.clamp_max(LONGEST_ARC), turned > LONGEST_ARC

    Au, Av = q.product(u), q.product(v)
    b = q.b.to(u)
    cosines, sines = _slopes((u * Au).sum(-1), (v * Av).sum(-1), (u * Av).sum(-1), u @ b, v @ b)
    coefficients = arc_polynomial(cosines, sines, angle)
    # the tangent's relative error is rounding times length/span; every coefficient inherits it
    scale = gamma * torch.where(stationary, 1.0, length / span) * q.rounding_scale
    size = cosines.abs().sum(1) + sines.abs().sum(1)
    margin = 4 * (scale + BASIS_ROUNDING * size)  # (1 + t²)² ≤ 4

    prefix = positive_prefix(coefficients, margin)
    movable = ~stationary & ~antipodal
    certified = (prefix >= 1) & movable
    refuted = torch.zeros_like(certified)
    open_rows = torch.nonzero(~certified & ~stationary).squeeze(1)
    refuted[open_rows] = falls_somewhere(coefficients[open_rows], margin[open_rows], prefix[open_rows])
    violation = torch.where(certified | stationary, torch.nan, angle_at(prefix, angle))
    # (1 + t²)² ≥ 1 shrinks a positive bound by at most 4 and a negative one not at all
    low = coefficients.amin(1) - margin
    slack = torch.where(low > 0, low / 4, low) / max(q.curvature_bound, torch.finfo(torch.float64).tiny)
    return certified, refuted, stationary, violation, angle, slack


def _slopes(uAu: Tensor, vAv: Tensor, uAv: Tensor, bu: Tensor, bv: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine coefficients (k = 1, 2) of h′ on the circle through u along v."""
    return torch.stack([bv, 2 * uAv], dim=1), torch.stack([-bu, vAv - uAu], dim=1)


def monotone_angle(
    u: Float[Tensor, "*batch k"],
    v: Float[Tensor, "*batch k"],
    values: Float[Tensor, " k"],
    loads: Float[Tensor, " k"],
    limit: Float[Tensor, "*batch"],
) -> Float[Tensor, "*batch"]:
    """The largest angle ≤ `limit` along which `Σλu² + β·u` is proved to rise from u in the direction v."""
    batch, k = u.shape[:-1], u.shape[-1]
    u, v, limit = u.reshape(-1, k), v.reshape(-1, k), limit.reshape(-1).clamp_max(LONGEST_ARC)
    cosines, sines = _slopes(
        (values * u * u).sum(-1), (values * v * v).sum(-1), (values * u * v).sum(-1), u @ loads, v @ loads
    )
    size = cosines.abs().sum(1) + sines.abs().sum(1)
    rounding = SAFETY * (2 * k + 8) * UNIT_ROUNDOFF * (values.abs().max() + loads.norm()) + BASIS_ROUNDING * size
    prefix = positive_prefix(arc_polynomial(cosines, sines, limit), 4 * rounding)
    # an arc of G/L always rises, and is finer than the prefix's grid where a maximum is near
    slope = (cosines.sum(1) - 4 * rounding).clamp_min(0)
    bound = 2 * (values.max() - values.min()) + loads.norm()
    safe = torch.where(bound > 0, slope / bound, 0.0)
    proved = torch.where(prefix >= 1, limit, torch.where(prefix > 0, angle_at(prefix, limit), 0.0))
    return torch.maximum(proved, torch.minimum(safe, limit)).reshape(batch)
