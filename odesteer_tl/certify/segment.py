"""The exact segment certificate: does h rise on the whole of every step, not only between its ends?

A straight segment from a to a′, seen through a/‖a‖, is an arc of a great circle, and on a great circle a polynomial of
degree p is a trigonometric polynomial of degree p. So one certificate serves every method that produces points,
whatever the method and the dtype. A Fourier barrier, which sees the norm too, is
certified on the chord itself by its curvature bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._display import Result, of, rows, spread
from odesteer_tl.barriers import Barrier, FourierBarrier, MergedBarrier
from odesteer_tl.certify.arc import angle_at, falls_somewhere
from odesteer_tl.certify.chord import certify_chords
from odesteer_tl.certify.circle import Circles
from odesteer_tl.certify.rise import Rise
from odesteer_tl.certify.steps import Steps, in_scale, require_path, tensor_of
from odesteer_tl.path import Path

if TYPE_CHECKING:
    import pandas as pd

#: numbers, and steps, worked on at once: what fits a processor's cache
BLOCK_NUMBERS, BLOCK_STEPS = 2**19, 2**13


@dataclass(frozen=True, repr=False)
class PathCertificate(Result):
    """What is proved of each step. `certified` and `refuted` are both proofs; a step may have neither.

    Attributes:
        certified: h rises strictly along the whole segment.
        refuted: h falls strictly somewhere on the segment.
        stationary: the direction turns by no more than rounding; neither certified nor refuted.
        first_violation: angle in radians from the step's start up to which h is proved to rise, where the step is
            not certified; NaN where it is.
        angle: length of the step in radians.
        slack: a lower bound of dh/dφ over the step divided by a bound L of |d²h/dφ²| on its circle: an angle in radians
            that h is sure to go on rising for. Negative values bound how fast h may fall. (Of a Fourier
            barrier: a length along the chord, in units of activation.)

    A move through the origin, to rounding, turns by π in a plane that cannot be told: it is refuted where h at its
    end is below h at its start, and undecided elsewhere.

    It speaks of the barrier given, in exact arithmetic on the points given; not of another barrier fitted on other
    data, not of these points rounded to another dtype (`certify_written`), and not of the model's behaviour.
    """

    certified: Bool[Tensor, "steps *batch"]
    refuted: Bool[Tensor, "steps *batch"]
    stationary: Bool[Tensor, "steps *batch"]
    first_violation: Float[Tensor, "steps *batch"]
    angle: Float[Tensor, "steps *batch"]
    slack: Float[Tensor, "steps *batch"]

    @property
    def undecided(self) -> Bool[Tensor, "steps *batch"]:
        """Moving steps that are neither certified nor refuted: a slope within rounding of 0, or a turn by π."""
        return ~(self.certified | self.refuted | self.stationary)

    def _facts(self) -> dict[str, object]:
        total = self.certified.numel()
        names = ("certified", "refuted", "stationary", "undecided")
        whole = self.certified.all(0)
        return {
            **{f"steps {name}": of(int(getattr(self, name).sum()), total) for name in names},
            "paths certified throughout": of(int(whole.sum()), whole.numel()),
            "angle of a step (rad)": spread(self.angle),
            "slack (rad)": spread(self.slack),
        }

    def frame(self) -> pd.DataFrame:
        """One row a step and path (the batch, flattened), with the verdicts and the attributes of each."""
        names = ("certified", "refuted", "stationary", "undecided", "first_violation", "angle", "slack")
        return rows(["step", "row"], {name: getattr(self, name) for name in names})


def certify_path(barrier: Barrier, points: Path | Float[Tensor, "steps_plus_1 *batch d"]) -> PathCertificate:
    """Certify that h rises along every segment of a path, however the path was made.

    The points meant are those given. `path.points` are the points integrated, in float32 or float64; what a model of
    lower precision is given is `path.end`, which `certify_written` asks about.

    Args:
        barrier: any polynomial of the direction (linear, sketch, kernel, quadratic; exact), a Fourier barrier, or a
            merged one of these.
        points: a path solved with `record=True`, or realised points in any dtype, `[steps + 1, *batch, d]` with at
            least one batch axis; arithmetic is float64 with rounding accounted for.

    Returns:
        A verdict for every step of every path, with where it first falls and how much room it had.

    Raises:
        ValueError: the barrier has no sound certificate, there are fewer than two points, a point is zero or not
            finite, the path was not recorded, or points is a matrix, whose rows need not be steps.

    Example:
        >>> import torch
        >>> import odesteer_tl as ode
        >>> h = ode.QuadraticBarrier(A=torch.diag(torch.tensor([1.0, -1.0])), b=torch.zeros(2), c=0.0)
        >>> angle = torch.linspace(0.1, 1.5, 8)
        >>> points = torch.stack([angle.sin(), angle.cos()], dim=-1)[:, None]  # uphill on the circle
        >>> bool(ode.certify_path(h, points).certified.all())
        True
        >>> bool(ode.certify_path(h, points.flip(0)).refuted.all())
        True
    """
    if isinstance(barrier, MergedBarrier):
        return _of_members([certify_path(member, points) for member in barrier.members])
    if isinstance(barrier, FourierBarrier):
        certify = partial(certify_chords, barrier)
    elif isinstance(barrier, Barrier) and barrier.polynomial_degree is not None:  # pyright: ignore[reportUnnecessaryIsInstance]
        certify = partial(_certify_arcs, barrier)
    else:
        raise ValueError(f"barrier is a {type(barrier).__name__}: no sound certificate exists for this class")
    paths = require_path(points, barrier.d_model)
    batch = tensor_of(points).shape[1:-1]
    count, n, d = paths.shape
    block = max(1, min(BLOCK_NUMBERS // (count * d), BLOCK_STEPS // count))
    blocks = [certify(paths[:, i : i + block]) for i in range(0, n, block)]
    fields = [torch.cat(parts, dim=1).reshape(-1, *batch) for parts in zip(*blocks, strict=True)]
    return PathCertificate(*fields)


def _of_members(parts: Sequence[PathCertificate]) -> PathCertificate:
    """What the certificates of its members say of a barrier that rises with each of them."""
    first = parts[0]
    certified = torch.stack([x.certified for x in parts]).all(0)
    stationary = torch.stack([x.stationary for x in parts]).any(0)
    # a member that is certified is proved to the step's end
    proved = torch.stack([torch.where(x.certified, x.angle, x.first_violation.nan_to_num(0.0)) for x in parts]).amin(0)
    violation = torch.where(certified | stationary, torch.nan, proved)
    # where each member falls is another place, and of the merged barrier's second derivative no bound is known
    slack = torch.where(certified, 0.0, -torch.inf)
    return PathCertificate(certified, torch.zeros_like(certified), stationary, violation, first.angle, slack)


def _certify_arcs(barrier: Barrier, paths: Float[Tensor, "K_plus_1 n d"]) -> tuple[Tensor, ...]:
    """The fields of `PathCertificate` for a polynomial on the sphere."""
    steps = Steps.of(in_scale(paths))
    circles = steps.circles(barrier)
    return arcs_certified(steps, circles, Rise.of(circles, steps.turned.flatten()))


def arcs_certified(steps: Steps, circles: Circles, rise: Rise) -> tuple[Tensor, ...]:
    """The fields of `PathCertificate` from where h is proved to rise on every arc, each [K, n]."""
    angle, stationary, lost = steps.turned.flatten(), steps.stationary.flatten(), steps.lost.flatten()
    certified = rise.whole & ~stationary & ~lost
    refuted = lost & (circles.half_turn.flatten() < 0)
    rows = torch.nonzero(~(certified | stationary | lost)).squeeze(1)
    refuted[rows] = falls_somewhere(rise.coefficients[rows], rise.margin[rows], rise.proved[rows])
    violation = torch.where(certified | stationary, torch.nan, angle_at(torch.where(lost, 0.0, rise.proved), angle))
    # (1 + t²)ᵖ ≥ 1 shrinks a positive bound by at most 2ᵖ and a negative one not at all
    low = rise.coefficients.amin(1) - rise.margin
    bend = circles.curvature.flatten().clamp_min(torch.finfo(torch.float64).tiny)
    slack = torch.where(low > 0, low / 2**circles.degree, low) / bend
    # |h′| ≤ L on every circle
    slack = torch.where(lost, -1.0, slack)
    shape = steps.radius.shape
    return tuple(x.reshape(shape) for x in (certified, refuted, stationary, violation, angle, slack))
