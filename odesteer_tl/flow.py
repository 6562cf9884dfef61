"""The flow: solving da/dt = v(a) from each activation for a given strength."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._check import require_nonzero_rows, require_one_of, require_width
from odesteer_tl._display import Displayed, of
from odesteer_tl.certify.cap import optimal_point
from odesteer_tl.extrapolation import extrapolated_end
from odesteer_tl.fields.barrier import BarrierField, DiagonalField, TransformField
from odesteer_tl.fields.base import Chart, VectorField, unit
from odesteer_tl.integrators import INTEGRATORS, Integrator, Step, Velocity, projected, tangent_part


@dataclass(frozen=True, repr=False)
class Path(Displayed):
    """What a solve returns.

    Attributes:
        end: the end points, in the dtype of the activations.
        points: all points of the path if it was recorded, in the dtype that was integrated in.
        n_evaluations: evaluations of the field per activation (fewer than the steps where these are extrapolated).
        stationary: where the path ended at a numerical fixed point of the field.
    """

    end: Float[Tensor, "*batch d"]
    points: Float[Tensor, "steps_plus_1 *batch d"] | None
    n_evaluations: int
    stationary: Bool[Tensor, "*batch"]

    def _facts(self) -> dict[str, object]:
        return {
            "end": self.end,
            "points": "not recorded" if self.points is None else self.points,
            "evaluations of the field": self.n_evaluations,
            "ended at a fixed point": of(int(self.stationary.sum()), self.stationary.numel()),
        }


#: one number, or one for every row of activations
Strength = float | Float[Tensor, "*rows"]
#: from this many unrecorded steps on, the end point is extrapolated from coarser integrations (extrapolation.py)
EXTRAPOLATE_FROM = 100


@dataclass(frozen=True)
class Flow:
    """How far and how to integrate. Give the strength in exactly one of three units.

    A strength is one number, or a tensor with one for every row, of a shape that broadcasts to that of the
    activations without their width: `angle=torch.tensor([[0.1], [0.3]])` for two prompts of any length.

    `angle` and `relative` are lengths of path whatever the field: one of its own speed is then followed at unit speed,
    and rests where it vanishes. So every method can be run at the same budget.

    Args:
        angle: in radians of the activation's own norm, T = angle · ‖a‖: comparable between models and layers.
        T: integration time. For a unit-speed field the length of the path, in activation units (the paper's); a field
            of its own speed is followed for that time, so that T = 1 in one Euler step applies a map T(a) = a + v(a).
        relative: fraction of the median norm of the fitting activations, T = relative · median.
        steps: N ≥ 1.
        method: "euler" (as published; leaves the sphere: ‖a_N‖² = ‖a₀‖² + T²/N), "midpoint", "rk4" (both put back on
            the sphere where the field is tangent to it), "geodesic", "geodesic_midpoint" (great-circle steps,
            orders 1 and 2), "certified" (geodesic steps cut where h would stop rising), or "optimal" (the maximum of
            h within the angle, in closed form). The last two need a barrier that is quadratic on the sphere.

    Raises:
        ValueError: not exactly one strength, steps < 1, an unknown method, a strength that is not finite, or a
            negative one where going back is not defined (certified, optimal).

    Example:
        >>> import torch
        >>> import odesteer_tl as ode
        >>> a = torch.tensor([[2.0, 0.0]])
        >>> end = ode.Flow(angle=0.5, steps=3).solve(ode.ConstantField(torch.tensor([0.0, 1.0])), a).end[0]
        >>> round(float(torch.atan2(end[1], end[0])), 4), round(float(end.norm()), 4)  # turned by 0.5; the norm is kept
        (0.5, 2.0)
    """

    angle: Strength | None = None
    T: Strength | None = None
    relative: Strength | None = None
    steps: int = 10
    method: str = "geodesic"

    def __post_init__(self) -> None:
        given = {k: v for k, v in (("angle", self.angle), ("T", self.T), ("relative", self.relative)) if v is not None}
        if len(given) != 1:
            raise ValueError(f"strength given as {given or 'nothing'}; give exactly one of angle, T and relative")
        require_one_of("method", self.method, INTEGRATORS)
        if self.steps < 1:
            raise ValueError(f"steps={self.steps} must be at least 1; for no steering use a strength of 0")
        ((name, value),) = given.items()
        if not bool(torch.as_tensor(value, dtype=torch.float32).isfinite().all()):
            raise ValueError(
                f"{name}={value} must be finite in float32, so below {torch.finfo(torch.float32).max:.1e}; use a "
                "smaller strength (an angle of 2π is a whole turn)"
            )
        if bool(torch.as_tensor(value).lt(0).any()) and INTEGRATORS[self.method].needs_quadratic:
            raise ValueError(f"{name}={value} is negative, but method={self.method!r} has no inverse; use 'geodesic'")

    @property
    def strength(self) -> Strength:
        """What was given, in its unit."""
        return next(v for v in (self.angle, self.T, self.relative) if v is not None)

    def config(self) -> dict[str, float | int | str | None]:
        """The constructor's arguments, JSON-able.

        Raises:
            ValueError: the strength is one of every row, which means nothing without those rows.
        """
        if isinstance(self.strength, Tensor):
            raise ValueError(
                f"strength holds one number for each of {tuple(self.strength.shape)} rows and cannot be saved; "
                "use one number"
            )
        return asdict(self)

    def length(self, field: VectorField, norms: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch 1"]:
        """T for activations of the given norms, in activation units.

        Raises:
            ValueError: a tensor of strengths that does not fit the rows, `relative` without a median norm, or a length
                that is no finite number.
        """
        strength = torch.as_tensor(self.strength, dtype=norms.dtype, device=norms.device)
        try:
            each = strength.expand(norms.shape[:-1]).unsqueeze(-1)
        except RuntimeError as error:
            raise ValueError(
                f"strength has shape {tuple(strength.shape)}, which does not broadcast to the "
                f"{tuple(norms.shape[:-1])} rows; pass one number, or one a row"
            ) from error
        if self.angle is not None:
            T = each * norms
        elif self.T is not None:
            T = each
        elif field.median_norm is not None:
            T = each * field.median_norm
        else:
            raise ValueError("relative: this field does not know its fitting data's norms; use angle or T")
        if not bool(T.isfinite().all()):
            raise ValueError(
                f"strength={self.strength} is an infinite length for an activation of norm {float(norms.max()):.3g} in "
                f"{norms.dtype}; use a smaller strength"
            )
        return T

    def solve(self, field: VectorField, a: Float[Tensor, "*batch d"], record: bool = False) -> Path:
        """Integrate from every row of `a` on its own; rows never influence each other.

        Where gradients are enabled they pass through, to the activations and to the field's own tensors.

        Args:
            field: the velocity; in float32 (float64 for float64 activations and for `certified` and `optimal`).
            a: activations in any floating dtype, on any device.
            record: keep all N + 1 points.

        Raises:
            ValueError: wrong width, a zero or non-finite activation, or a method the field does not allow; in the
                backward pass, a gradient asked of "certified" or "optimal", which have none.
        """
        if torch.is_grad_enabled() and a.requires_grad and INTEGRATORS[self.method].needs_quadratic:
            path = self.solve(field, a.detach(), record)
            return replace(path, end=NoGradient.apply(a, path.end, self.method))
        require_width("a", a, field.d_model)
        method = INTEGRATORS[self.method]
        if method.needs_quadratic and not (isinstance(field, BarrierField) and field.barrier.is_quadratic):
            raise ValueError(f"method={self.method!r} needs a quadratic barrier (degree ≤ 2); use 'geodesic'")
        exact = a.dtype == torch.float64 or method.needs_quadratic
        x = a.double() if exact else a.float()
        norms = x.norm(dim=-1, keepdim=True)
        require_nonzero_rows("a", norms)
        T = self.length(field, norms)
        chart = field.eigenchart(x) if method.needs_quadratic and isinstance(field, BarrierField) else field.chart(x)
        if not bool(T.any()):
            points = x.expand(self.steps + 1, *x.shape).clone() if record else None
            return Path(a.clone(), points, 0, torch.zeros(a.shape[:-1], dtype=torch.bool, device=a.device))
        if self.method == "optimal":
            assert isinstance(chart.field, DiagonalField)
            end = optimal_point(chart.field.values, chart.field.loads, chart.start, (T / norms).squeeze(-1))
            coordinates, evaluations = [chart.start, end], 1
        else:
            velocity, step = self._at_pace(method, field, chart.field)
            if (
                method.smooth
                and self.steps >= EXTRAPOLATE_FROM
                and isinstance(chart.field, (DiagonalField, TransformField))
                and not record
                and not chart.start.requires_grad
            ):
                coordinates, evaluations = self._extrapolate(method, chart.field, chart, T)
            else:
                on_sphere = norms if method.project and field.tangent else None
                coordinates = self._integrate(step, velocity, chart, T, on_sphere, record)
                evaluations = method.evaluations * self.steps
        end = coordinates[-1]
        still = (end == coordinates[-2]).all(-1)
        points = torch.stack([x] + [chart.leave(y) for y in coordinates[1:]]) if record else None
        final = points[-1] if points is not None else chart.leave(end)
        if isinstance(self.strength, Tensor):  # a row of strength 0 among others stays what it is, bitwise
            final = torch.where(T == 0, x, final)
            points = None if points is None else torch.where(T == 0, x, points)
            still = still | (T == 0).squeeze(-1)
        return Path(final.to(a.dtype), points, evaluations, still)

    def _extrapolate(
        self, method: Integrator, field: DiagonalField | TransformField, chart: Chart, T: Tensor
    ) -> tuple[list[Tensor], int]:
        """Start and end of many steps, from few of them, in float64 coordinates."""
        exact = field.double()

        def step(y: Tensor, eta: Tensor) -> Tensor:
            y_next = method.step(exact, y, eta)
            return (
                y_next * (y.norm(dim=-1, keepdim=True) / y_next.norm(dim=-1, keepdim=True))
                if method.project
                else y_next
            )

        start = chart.start.double()
        # ten roundings of the activations' own precision, and 1e-7 in float64
        tolerance = max(10 * torch.finfo(chart.start.dtype).eps, 1e-7)
        end, evaluations = extrapolated_end(step, start, T.double(), self.steps, tolerance)
        if self.method != "euler":  # which alone leaves the sphere
            end = end * (start.norm(dim=-1, keepdim=True) / end.norm(dim=-1, keepdim=True))
        return [chart.start, end.to(chart.start.dtype)], method.evaluations * evaluations

    def _at_pace(self, method: Integrator, field: VectorField, velocity: Velocity) -> tuple[Velocity, Step]:
        """The velocity as the integrator wants it, and the integrator's step: unit speed, unless T is a time."""
        if field.unit_speed:
            return (velocity if field.tangent or not method.tangent else projected(velocity)), method.step
        if self.T is None:
            return (projected(velocity) if method.tangent else lambda y: unit(velocity(y), 0.0)), method.step
        return (velocity if method.timed is None else tangent_part(velocity)), method.timed or method.step

    def _integrate(
        self, step: Step, velocity: Velocity, chart: Chart, T: Tensor, norms: Tensor | None, record: bool
    ) -> list[Tensor]:
        """Points in the chart's coordinates: all of them if recorded, else the last two.

        Args:
            norms: put every point back on the sphere of these, if given.
        """
        k = chart.start.shape[-1]
        if record or chart.rows is None or chart.start.numel() <= chart.rows * k:
            return self._steps(step, velocity, chart.start, T, norms, record)
        # rows do not know of each other: each block goes all its way before the next begins
        starts, lengths = (x.reshape(-1, x.shape[-1]).split(chart.rows) for x in (chart.start, T))
        spheres = [None] * len(starts) if norms is None else norms.reshape(-1, 1).split(chart.rows)
        blocks = [self._steps(step, velocity, *x, record) for x in zip(starts, lengths, spheres, strict=True)]
        return [torch.cat(points).reshape(chart.start.shape) for points in zip(*blocks, strict=True)]

    def _steps(
        self, step: Step, velocity: Velocity, start: Tensor, T: Tensor, norms: Tensor | None, record: bool
    ) -> list[Tensor]:
        """`_integrate` for one block of rows."""
        eta = T / self.steps
        points = [start]
        for _ in range(self.steps):
            y = step(velocity, points[-1], eta)
            if norms is not None:
                y = y * (norms / y.norm(dim=-1, keepdim=True))
            points = [*points, y] if record else [points[-1], y]
        return points


class NoGradient(torch.autograd.Function):
    """An end point that was chosen rather than computed: whoever asks for its gradient is told that there is none."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, end: Tensor, method: str) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """`end`, depending on `a`."""
        ctx.method = method
        return end.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Refuse."""
        raise ValueError(
            f"method={ctx.method!r} chooses where to stop, which has no gradient; use 'geodesic', or run it under "
            "torch.no_grad()"
        )
