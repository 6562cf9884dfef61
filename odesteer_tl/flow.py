"""The flow: solving da/dt = v(a) from each activation for a given strength."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import as_integer, as_strength, require_nonzero_rows, require_one_of, require_width
from odesteer_tl._renamed import renamed
from odesteer_tl._scale import exponents, row_norms, times_power
from odesteer_tl.certify.cap import optimal_point
from odesteer_tl.certify.several import hold_back_several
from odesteer_tl.certify.written import hold_back
from odesteer_tl.extrapolation import extrapolated_end
from odesteer_tl.fields.barrier import BarrierField, DiagonalField, TransformField
from odesteer_tl.fields.barrier_set import BarrierSet
from odesteer_tl.fields.base import Chart, VectorField, unit
from odesteer_tl.integrators import INTEGRATORS, Integrator, Step, Velocity, projected, tangent_part
from odesteer_tl.levels import climb, level_of, quantile_share
from odesteer_tl.path import Path as Path
from odesteer_tl.timed import follow_in_time

#: one number, or one for every row of activations
Strength = float | Float[Tensor, "*rows"]
#: the units a strength is given in
UNITS = ("angle", "T", "relative", "multiplier")
#: from this many unrecorded steps on, the end point is extrapolated from coarser integrations (extrapolation.py)
EXTRAPOLATE_FROM = 100


@renamed(method="solver")
@dataclass(frozen=True)
class Flow:
    """How far and how to integrate. Give the strength in exactly one of four units, or the `level` h is to reach.

    A strength is one number, or a tensor (or array) with one for every row, of a shape that broadcasts to that of the
    activations without their width: `angle=torch.tensor([[0.1], [0.3]])` for two prompts of any length.

    `angle` and `relative` are lengths of path whatever the field: one of its own speed is then followed at unit speed,
    and rests where it vanishes. So every method can be run at the same budget.

    Args:
        angle: in radians of the activation's own norm, T = angle · ‖a‖: comparable between models and layers.
        T: integration time. For a unit-speed field the length of the path, in activation units (the paper's); a field
            of its own speed is followed for that time, so that T = 1 in one Euler step applies a map T(a) = a + v(a).
        relative: fraction of the median norm of the fitting activations, T = relative · median.
        multiplier: in the method's own unit, α of `a + α·v` with v as the method learned it, not normalised: a setting
            of a paper, of steering-vectors or of repeng, as it is. T is α · `field.length` for a `ConstantField`, and α
            for a field of its own speed, where 1 is the whole of the map.
        steps: N ≥ 1; by default 10, and 1 with `multiplier`.
        solver: by default "geodesic"; "euler" with `multiplier`, which then adds; "certified" with `level`.
            "euler" (as published; leaves the sphere: ‖a_N‖² = ‖a₀‖² + T²/N), "midpoint", "rk4" (both put back on
            the sphere where the field is tangent to it), "geodesic", "geodesic_midpoint" (great-circle steps,
            orders 1 and 2), "certified" (geodesic steps cut where h would stop rising, and an end that is held back
            until, rounded to the dtype of the activations, it is proved no lower than the start; of a `BarrierSet`, no
            barrier lower than its level or start anywhere on the step written), or "optimal" (the maximum of h within
            the angle, in closed form). The last two need a barrier that is quadratic on the sphere.
        level: follow a barrier's flow until h is this: a number, one a row, or "median", "q75", …: that quantile of h
            over the positives the barrier was fitted on (those it was calibrated on, once it was). `angle`, by
            default π, is then the longest path allowed, and N steps share the rise of h, all proved to raise it
            throughout, the last ending on the level. A row that is there already rests; one that cannot get there
            ends at its best, and `Path.reached` says so.

    Raises:
        ValueError: not exactly one strength, steps < 1, an unknown solver, a strength that is not finite, or a
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
    steps: int = cast(int, None)
    solver: str = cast(str, None)
    multiplier: Strength | None = None
    level: Strength | str | None = None

    if TYPE_CHECKING:  # steps and solver may be left to the unit; the attributes are what was chosen

        def __init__(
            self, angle: Strength | None = None, T: Strength | None = None, relative: Strength | None = None,
            steps: int | None = None, solver: str | None = None, multiplier: Strength | None = None,
            level: Strength | str | None = None,
        ) -> None: ...  # fmt: skip

    def __post_init__(self) -> None:
        given = {name: value for name in (*UNITS, "level") if (value := getattr(self, name)) is not None}
        if len(given) != 1 and set(given) != {"level", "angle"}:
            raise ValueError(
                f"strength given as {given or 'nothing'}; give exactly one of {', '.join(UNITS)}, or level and, if "
                "it should go no further, angle"
            )
        if self.solver is None:  # pyright: ignore[reportUnnecessaryComparison]
            chosen = {"multiplier": "euler", "level": "certified"}.get(self.unit, "geodesic")
            object.__setattr__(self, "solver", chosen)
        if self.steps is None:  # pyright: ignore[reportUnnecessaryComparison]
            object.__setattr__(self, "steps", 1 if self.unit == "multiplier" else 10)
        require_one_of("solver", self.solver, INTEGRATORS)
        # Python's own numbers, so that what was given can be saved
        given = {
            name: x if name == "level" and isinstance(x, str) else as_strength(name, x) for name, x in given.items()
        }
        for name, value in {**given, "steps": as_integer("steps", self.steps)}.items():
            object.__setattr__(self, name, value)
        if self.steps < 1:
            raise ValueError(f"steps={self.steps} must be at least 1; for no steering use a strength of 0")
        for name, value in given.items():
            if isinstance(value, str):
                quantile_share(value)
            elif not bool(torch.as_tensor(value, dtype=torch.float32).isfinite().all()):
                raise ValueError(
                    f"{name}={value} must be finite in float32, so below {torch.finfo(torch.float32).max:.1e}; use a "
                    "smaller strength (an angle of 2π is a whole turn)"
                )
        strength = self.angle if self.level is not None else self.strength
        forward = INTEGRATORS[self.solver].needs_quadratic and strength is not None
        if forward and bool(torch.as_tensor(strength).lt(0).any()):
            raise ValueError(
                f"{next(iter(given))}={strength} is negative, but solver={self.solver!r} has no inverse; use 'geodesic'"
            )
        if self.level is not None and self.solver != "certified":
            raise ValueError(f"level={self.level} with solver={self.solver!r}: only 'certified' meets a level")

    @property
    def unit(self) -> str:
        """The name of the strength that was given: one of `UNITS`, or "level"."""
        return "level" if self.level is not None else next(x for x in UNITS if getattr(self, x) is not None)

    @property
    def strength(self) -> Strength | str:
        """What was given, in its unit."""
        return cast("Strength | str", getattr(self, self.unit))

    def config(self) -> dict[str, float | int | str | None]:
        """The constructor's arguments, JSON-able.

        Raises:
            ValueError: the strength is one of every row, which means nothing without those rows.
        """
        for value in (self.strength, self.angle):
            if isinstance(value, Tensor):
                raise ValueError(
                    f"strength holds one number for each of {tuple(value.shape)} rows and cannot be saved; "
                    "use one number"
                )
        return asdict(self)

    def length(self, field: VectorField, norms: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch 1"]:
        """T for activations of the given norms, in activation units.

        Raises:
            ValueError: a tensor of strengths that does not fit the rows, `relative` without a median norm, or a length
                that is no finite number.
        """
        if self.level is not None:
            raise ValueError(f"level={self.level}: how far a level is depends on where a row starts; use solve")
        each = _one_a_row(cast(Strength, self.strength), norms).unsqueeze(-1)
        if self.angle is not None:
            T = each * norms
        elif self.T is not None:
            T = each
        elif self.multiplier is not None:
            T = each * field.own_length
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
            ValueError: wrong width, or one in which nothing turns, a zero or non-finite activation, or a solver the
                field does not allow; in the backward pass, a gradient asked of "certified" or "optimal", which have
                none.
        """
        if torch.is_grad_enabled() and a.requires_grad and INTEGRATORS[self.solver].needs_quadratic:
            path = self.solve(field, a.detach(), record)
            return replace(path, end=NoGradient.apply(a, path.end, self.solver))
        require_width("a", a, field.d_model)
        if isinstance(field, BarrierSet) and self.solver == "certified" and self.level is None:
            path = replace(self, solver="geodesic").solve(field, a.double(), record)
            written, held = hold_back_several(field.barriers, field.levels, a, path.end)
            return replace(path, end=written, held_back=held)
        integrator = INTEGRATORS[self.solver]
        quadratic = field.quadratic if integrator.needs_quadratic and isinstance(field, BarrierField) else None
        if integrator.needs_quadratic and quadratic is None:
            raise ValueError(f"solver={self.solver!r} needs a quadratic barrier (degree ≤ 2); use 'geodesic'")
        exact = a.dtype == torch.float64 or integrator.needs_quadratic
        x = a.double() if exact else a.float()
        norms = row_norms(x).unsqueeze(-1)
        require_nonzero_rows("a", norms)
        if self.level is not None:
            return self._to_level(field, a, x, norms, record)
        T = self.length(field, norms)
        if not bool(T.any()):
            points = x.expand(self.steps + 1, *x.shape).clone() if record else None
            still = torch.zeros(a.shape[:-1], dtype=torch.bool, device=a.device)
            return Path(a.clone(), points, 0, still, still.clone() if self.solver == "certified" else None)
        if a.shape[-1] == 1 and (integrator.tangent or integrator.needs_quadratic or field.tangent):
            raise ValueError(
                f"a has width 1, where a sphere is two points and solver={self.solver!r} has nowhere to turn; use "
                "solver='euler' with a field that is no barrier's, or activations of more dimensions"
            )
        if self.solver == "optimal":
            assert quadratic is not None
            end = optimal_point(quadratic, x, (T / norms).squeeze(-1))
            points = torch.stack([x, end]) if record else None
            return Path(end.to(a.dtype), points, 1, (end == x).all(-1))
        if field.timed:
            points = follow_in_time(field, x, T, self)
            end, still = points[-1], (points[-1] == points[-2]).all(-1)
            return Path(end.to(a.dtype), torch.stack(points) if record else None, self.steps, still)
        # a quadratic sees the direction alone: in a scale where no square of a tiny or a huge norm is lost
        taken = exponents(x) if integrator.needs_quadratic else None
        y0 = x if taken is None else times_power(x, -taken)
        length = T if taken is None else times_power(T, -taken)
        chart = field.eigenchart(y0) if quadratic is not None and isinstance(field, BarrierField) else field.chart(y0)
        velocity, step = self._at_pace(integrator, field, chart.field)
        many = integrator.smooth and self.steps >= EXTRAPOLATE_FROM and not record and not chart.start.requires_grad
        if many and isinstance(chart.field, DiagonalField | TransformField):
            coordinates, evaluations = self._extrapolate(integrator, chart.field, chart, length)
        else:
            on_sphere = norms if integrator.project and field.tangent else None
            coordinates = self._integrate(step, velocity, chart, length, on_sphere, record)
            evaluations = integrator.evaluations * self.steps
        end = coordinates[-1]
        still = (end == coordinates[-2]).all(-1)
        left = [chart.leave(y) for y in (coordinates[1:] if record else coordinates[-1:])]
        left = left if taken is None else [times_power(y, taken) for y in left]
        points, final = torch.stack([x, *left]) if record else None, left[-1]
        if isinstance(self.strength, Tensor):  # a row of strength 0 among others stays what it is, bitwise
            final = torch.where(T == 0, x, final)
            points = None if points is None else torch.where(T == 0, x, points)
            still = still | (T == 0).squeeze(-1)
        if self.solver != "certified":
            return Path(final.to(a.dtype), points, evaluations, still)
        assert quadratic is not None
        written, held = hold_back(quadratic, a, final)
        return Path(written, points, evaluations, still, held)

    def _to_level(
        self,
        field: VectorField,
        a: Float[Tensor, "*batch d"],
        x: Float[Tensor, "*batch d"],
        norms: Float[Tensor, "*batch 1"],
        record: bool,
    ) -> Path:
        """Up the flow of a quadratic barrier to a level of h; rows that stay are what they were, bitwise."""
        assert isinstance(field, BarrierField)  # `solve` has refused others by now
        assert field.quadratic is not None
        assert self.level is not None
        level = _one_a_row(level_of(field.barrier, self.level), norms) - field.quadratic.c
        cap = _one_a_row(torch.pi if self.angle is None else self.angle, norms)
        chart = field.eigenchart(x)
        assert isinstance(chart.field, DiagonalField)
        path = climb(chart.field, chart.start / norms, level, cap, self.steps)
        end, *_ = left = [
            torch.where((y == path.points[0]).all(-1, keepdim=True), x, chart.leave(y * norms))
            for y in (path.points[::-1] if record else path.points[-1:])
        ]
        points = torch.stack(left[::-1]) if record else None
        written, held = hold_back(field.quadratic, a, end)
        return Path(written, points, len(path.points) - 1, path.stationary, held, path.reached & ~held)

    def _extrapolate(
        self, integrator: Integrator, field: DiagonalField | TransformField, chart: Chart, T: Tensor
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
        end, evaluations = extrapolated_end(step, start, T.double(), self.steps, tolerance)
        if self.solver != "euler":  # which alone leaves the sphere
            end = end * (start.norm(dim=-1, keepdim=True) / end.norm(dim=-1, keepdim=True))
        return [chart.start, end.to(chart.start.dtype)], integrator.evaluations * evaluations

    def _at_pace(self, integrator: Integrator, field: VectorField, velocity: Velocity) -> tuple[Velocity, Step]:
        """The velocity as the integrator wants it, and the integrator's step: unit speed, unless T is a time."""
        if field.unit_speed:
            return (velocity if field.tangent or not integrator.tangent else projected(velocity)), integrator.step
        if self.T is None and self.multiplier is None:
            return (projected(velocity) if integrator.tangent else lambda y: unit(velocity(y), 0.0)), integrator.step
        return (velocity if integrator.timed is None else tangent_part(velocity)), integrator.timed or integrator.step

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


def _one_a_row(strength: Strength, norms: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch"]:
    """One number for every row, in the dtype and on the device of `norms`."""
    given = torch.as_tensor(strength, dtype=norms.dtype, device=norms.device)
    try:
        return given.expand(norms.shape[:-1])
    except RuntimeError as error:
        raise ValueError(
            f"strength has shape {tuple(given.shape)}, which does not broadcast to the "
            f"{tuple(norms.shape[:-1])} rows; pass one number, or one a row"
        ) from error
