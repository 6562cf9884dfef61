"""Solving: from each activation along a field, by whichever way serves its solver best."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import require_nonzero_rows, require_width
from odesteer_tl._scale import exponents, row_norms, times_power
from odesteer_tl.barriers.quadratic import QuadraticBarrier
from odesteer_tl.certify.cap import optimal_point
from odesteer_tl.certify.several import hold_back_several
from odesteer_tl.certify.written import hold_back
from odesteer_tl.extrapolation import extrapolated_end
from odesteer_tl.fields.barrier import BarrierField, DiagonalField, TransformField
from odesteer_tl.fields.barrier_set import BarrierSet
from odesteer_tl.fields.base import Chart, VectorField, unit
from odesteer_tl.integrators import INTEGRATORS, Integrator, Step, Velocity, projected, tangent_part
from odesteer_tl.levels import climb, level_of
from odesteer_tl.path import Path
from odesteer_tl.timed import follow_in_time

if TYPE_CHECKING:
    from odesteer_tl.flow import Flow

#: one number, or one for every row of activations
Strength = float | Float[Tensor, "*rows"]
#: from this many unrecorded steps on, the end point is extrapolated from coarser integrations (extrapolation.py)
EXTRAPOLATE_FROM = 100


def solve(flow: Flow, field: VectorField, a: Float[Tensor, "*batch d"], record: bool) -> Path:
    """`Flow.solve`."""
    if torch.is_grad_enabled() and a.requires_grad and INTEGRATORS[flow.solver].needs_quadratic:
        path = flow.solve(field, a.detach(), record)
        return replace(path, end=NoGradient.apply(a, path.end, flow.solver))
    require_width("a", a, field.d_model)
    if isinstance(field, BarrierSet) and flow.solver == "certified" and flow.level is None:
        path = replace(flow, solver="geodesic").solve(field, a.double(), record)
        written, held = hold_back_several(field.barriers, field.levels, a, path.end)
        return replace(path, end=written, held_back=held)
    quadratic = _quadratic(flow, field)
    x = a.double() if a.dtype == torch.float64 or quadratic is not None else a.float()
    norms = row_norms(x).unsqueeze(-1)
    require_nonzero_rows("a", norms)
    if flow.level is not None:
        return _to_level(flow, field, a, x, norms, record)
    T = flow.length(field, norms)
    if not bool(T.any()):
        return _resting(flow, a, x, record)
    if a.shape[-1] == 1 and (INTEGRATORS[flow.solver].tangent or quadratic is not None or field.tangent):
        raise ValueError(
            f"a has width 1, where a sphere is two points and solver={flow.solver!r} has nowhere to turn; use "
            "solver='euler' with a field that is no barrier's, or activations of more dimensions"
        )
    if flow.solver == "optimal":
        assert quadratic is not None
        end = optimal_point(quadratic, x, (T / norms).squeeze(-1))
        points = torch.stack([x, end]) if record else None
        return Path(end.to(a.dtype), points, 1, (end == x).all(-1))
    if field.timed:
        points = follow_in_time(field, x, T, flow)
        end, still = points[-1], (points[-1] == points[-2]).all(-1)
        return Path(end.to(a.dtype), torch.stack(points) if record else None, flow.steps, still)
    path = _in_chart(flow, field, x, norms, T, record)
    if quadratic is None:
        return replace(path, end=path.end.to(a.dtype))
    written, held = hold_back(quadratic, a, path.end)
    return replace(path, end=written, held_back=held)


def _quadratic(flow: Flow, field: VectorField) -> QuadraticBarrier | None:
    """The field's own, where the solver is one for quadratics."""
    if not INTEGRATORS[flow.solver].needs_quadratic:
        return None
    quadratic = field.quadratic if isinstance(field, BarrierField) else None
    if quadratic is None:
        raise ValueError(f"solver={flow.solver!r} needs a quadratic barrier (degree ≤ 2); use 'geodesic'")
    return quadratic


def _resting(flow: Flow, a: Float[Tensor, "*batch d"], x: Float[Tensor, "*batch d"], record: bool) -> Path:
    """No way at all."""
    points = x.expand(flow.steps + 1, *x.shape).clone() if record else None
    still = torch.zeros(a.shape[:-1], dtype=torch.bool, device=a.device)
    return Path(a.clone(), points, 0, still, still.clone() if flow.solver == "certified" else None)


def _in_chart(
    flow: Flow,
    field: VectorField,
    x: Float[Tensor, "*batch d"],
    norms: Float[Tensor, "*batch 1"],
    T: Float[Tensor, "*batch 1"],
    record: bool,
) -> Path:
    """Along the field in coordinates in which steps are cheap, and back."""
    integrator = INTEGRATORS[flow.solver]
    # a quadratic sees the direction alone: in a scale where no square of a tiny or a huge norm is lost
    taken = exponents(x) if integrator.needs_quadratic else None
    y0 = x if taken is None else times_power(x, -taken)
    length = T if taken is None else times_power(T, -taken)
    eigen = integrator.needs_quadratic
    chart = field.eigenchart(y0) if eigen and isinstance(field, BarrierField) else field.chart(y0)
    velocity, step = _at_pace(flow, integrator, field, chart.field)
    many = integrator.smooth and flow.steps >= EXTRAPOLATE_FROM and not record and not chart.start.requires_grad
    if many and isinstance(chart.field, DiagonalField | TransformField):
        coordinates, evaluations = _extrapolate(flow, integrator, chart.field, chart, length)
    else:
        on_sphere = norms if integrator.project and field.tangent else None
        coordinates = _integrate(flow, step, velocity, chart, length, on_sphere, record)
        evaluations = integrator.evaluations * flow.steps
    still = (coordinates[-1] == coordinates[-2]).all(-1)
    left = [chart.leave(y) for y in (coordinates[1:] if record else coordinates[-1:])]
    left = left if taken is None else [times_power(y, taken) for y in left]
    points, end = torch.stack([x, *left]) if record else None, left[-1]
    if isinstance(flow.strength, Tensor):  # a row of strength 0 among others stays what it is, bitwise
        end = torch.where(T == 0, x, end)
        points = None if points is None else torch.where(T == 0, x, points)
        still = still | (T == 0).squeeze(-1)
    return Path(end, points, evaluations, still)


def _to_level(
    flow: Flow,
    field: VectorField,
    a: Float[Tensor, "*batch d"],
    x: Float[Tensor, "*batch d"],
    norms: Float[Tensor, "*batch 1"],
    record: bool,
) -> Path:
    """Up the flow of a quadratic barrier to a level of h; rows that stay are what they were, bitwise."""
    assert isinstance(field, BarrierField)  # `solve` has refused others by now
    assert field.quadratic is not None
    assert flow.level is not None
    level = one_a_row(level_of(field.barrier, flow.level), norms) - field.quadratic.c
    cap = one_a_row(torch.pi if flow.angle is None else flow.angle, norms)
    chart = field.eigenchart(x)
    assert isinstance(chart.field, DiagonalField)
    path = climb(chart.field, chart.start / norms, level, cap, flow.steps)
    end, *_ = left = [
        torch.where((y == path.points[0]).all(-1, keepdim=True), x, chart.leave(y * norms))
        for y in (path.points[::-1] if record else path.points[-1:])
    ]
    points = torch.stack(left[::-1]) if record else None
    written, held = hold_back(field.quadratic, a, end)
    return Path(written, points, len(path.points) - 1, path.stationary, held, path.reached & ~held)


def _extrapolate(
    flow: Flow, integrator: Integrator, field: DiagonalField | TransformField, chart: Chart, T: Tensor
) -> tuple[list[Tensor], int]:
    """Start and end of many steps, from few of them, in float64 coordinates."""
    exact = field.double()

    def step(y: Tensor, eta: Tensor) -> Tensor:
        y_next = integrator.step(exact, y, eta)
        return (
            y_next * (y.norm(dim=-1, keepdim=True) / y_next.norm(dim=-1, keepdim=True))
            if integrator.project
            else y_next
        )

    start = chart.start.double()
    # ten roundings of the activations' own precision, and 1e-7 in float64
    tolerance = max(10 * torch.finfo(chart.start.dtype).eps, 1e-7)
    end, evaluations = extrapolated_end(step, start, T.double(), flow.steps, tolerance)
    if flow.solver != "euler":  # which alone leaves the sphere
        end = end * (start.norm(dim=-1, keepdim=True) / end.norm(dim=-1, keepdim=True))
    return [chart.start, end.to(chart.start.dtype)], integrator.evaluations * evaluations


def _at_pace(flow: Flow, integrator: Integrator, field: VectorField, velocity: Velocity) -> tuple[Velocity, Step]:
    """The velocity as the integrator wants it, and the integrator's step: unit speed, unless T is a time."""
    if field.unit_speed:
        return (velocity if field.tangent or not integrator.tangent else projected(velocity)), integrator.step
    if flow.T is None and flow.multiplier is None:
        return (projected(velocity) if integrator.tangent else lambda y: unit(velocity(y), 0.0)), integrator.step
    return (velocity if integrator.timed is None else tangent_part(velocity)), integrator.timed or integrator.step


def _integrate(
    flow: Flow, step: Step, velocity: Velocity, chart: Chart, T: Tensor, norms: Tensor | None, record: bool
) -> list[Tensor]:
    """Points in the chart's coordinates: all of them if recorded, else the last two.

    Args:
        norms: put every point back on the sphere of these, if given.
    """
    k = chart.start.shape[-1]
    if record or chart.rows is None or chart.start.numel() <= chart.rows * k:
        return _steps(flow, step, velocity, chart.start, T, norms, record)
    # rows do not know of each other: each block goes all its way before the next begins
    starts, lengths = (x.reshape(-1, x.shape[-1]).split(chart.rows) for x in (chart.start, T))
    spheres = [None] * len(starts) if norms is None else norms.reshape(-1, 1).split(chart.rows)
    blocks = [_steps(flow, step, velocity, *x, record) for x in zip(starts, lengths, spheres, strict=True)]
    return [torch.cat(points).reshape(chart.start.shape) for points in zip(*blocks, strict=True)]


def _steps(
    flow: Flow, step: Step, velocity: Velocity, start: Tensor, T: Tensor, norms: Tensor | None, record: bool
) -> list[Tensor]:
    """`_integrate` for one block of rows."""
    eta = T / flow.steps
    points = [start]
    for _ in range(flow.steps):
        y = step(velocity, points[-1], eta)
        if norms is not None:
            y = y * (norms / y.norm(dim=-1, keepdim=True))
        points = [*points, y] if record else [points[-1], y]
    return points


class NoGradient(torch.autograd.Function):
    """An end point that was chosen rather than computed: whoever asks for its gradient is told that there is none."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, end: Tensor, solver: str) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """`end`, depending on `a`."""
        ctx.solver = solver
        return end.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Refuse."""
        raise ValueError(
            f"solver={ctx.solver!r} chooses where to stop, which has no gradient; use 'geodesic', or run it under "
            "torch.no_grad()"
        )


def one_a_row(strength: Strength, norms: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch"]:
    """One number for every row, in the dtype and on the device of `norms`."""
    given = torch.as_tensor(strength, dtype=norms.dtype, device=norms.device)
    try:
        return given.expand(norms.shape[:-1])
    except RuntimeError as error:
        raise ValueError(
            f"strength has shape {tuple(given.shape)}, which does not broadcast to the "
            f"{tuple(norms.shape[:-1])} rows; pass one number, or one a row"
        ) from error
