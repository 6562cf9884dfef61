"""The flow: solving da/dt = v(a) from each activation for a given strength."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._check import require_nonzero_rows, require_one_of, require_width
from odesteer_tl.certify.cap import optimal_point
from odesteer_tl.certify.segment import monotone_angle
from odesteer_tl.extrapolation import extrapolated_end
from odesteer_tl.fields.barrier import BarrierField, DiagonalField
from odesteer_tl.fields.base import Chart, VectorField, tangential, unit

Velocity = Callable[[Tensor], Tensor]
Step = Callable[[Velocity, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Path:
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


def _euler(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    return torch.addcmul(y, field(y), eta)


def _midpoint(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    return y + eta * field(y + eta / 2 * field(y))


def _rk4(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    k1 = field(y)
    k2 = field(y + eta / 2 * k1)
    k3 = field(y + eta / 2 * k2)
    k4 = field(y + eta * k3)
    return y + eta / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _geodesic(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    return _along_circle(y, field(y), norm, eta / norm)


def _geodesic_midpoint(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    """Field at half the arc, carried back to the start by parallel transport along the arc."""
    norm = y.norm(dim=-1, keepdim=True)
    u, phi = y / norm, eta / norm
    back = _from_half_way(field, u, field(y), norm, phi)
    return _along_circle(y, tangential(u, back), norm, phi)  # transport and rounding leave it tangent to 1e-16 only


def _from_half_way(field: Velocity, u: Tensor, v: Tensor, norm: Tensor, phi: Tensor) -> Tensor:
    """The field at half the arc `phi` from u along the unit tangent v, carried back to u by parallel transport."""
    half = _along_circle(u, v, 1.0, phi / 2)
    w = field(half * norm)
    v_there = torch.cos(phi / 2) * v - torch.sin(phi / 2) * u
    return w + (w * v_there).sum(-1, keepdim=True) * (v - v_there)


def _timed_geodesic(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    """The great circle along a tangent of any length, followed for the time `eta`."""
    return _for_time(y, field(y), eta)


def _timed_geodesic_midpoint(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    norm = y.norm(dim=-1, keepdim=True)
    u, v = y / norm, field(y)
    speed = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    back = _from_half_way(field, u, unit(v, 0.0), norm, eta * speed / norm)
    return _for_time(y, back - (back * u).sum(-1, keepdim=True) * u, eta)


def _for_time(y: Tensor, v: Tensor, eta: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    speed = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    return _along_circle(y, unit(v, 0.0), norm, eta * speed / norm)


def _certified(field: Velocity, y: Tensor, eta: Tensor) -> Tensor:
    """A geodesic step, cut at the first angle where h stops rising: h can never fall (MATHEMATICS, Steps)."""
    assert isinstance(field, DiagonalField)
    norm = y.norm(dim=-1, keepdim=True)
    # near a maximum v is the small rest of large terms: made orthogonal once more, else the angle proved is not its own
    v = tangential(y / norm, field(y))
    phi = monotone_angle(y / norm, v, field.values, field.loads, (eta / norm).squeeze(-1).expand(y.shape[:-1]))
    return _along_circle(y, v, norm, phi.unsqueeze(-1))


def _along_circle(y: Tensor, v: Tensor, norm: Tensor | float, phi: Tensor) -> Tensor:
    """The point at angle `phi` on the great circle from y along the unit tangent v (y itself where v = 0)."""
    phi = torch.where(v.any(-1, keepdim=True), phi, 0.0)
    return torch.addcmul(torch.cos(phi) * y, v, norm * torch.sin(phi))


def _projected(field: Velocity) -> Velocity:
    """The field's unit tangent part, for geodesic steps along a field that is not tangent (a constant one)."""
    return lambda y: tangential(y / y.norm(dim=-1, keepdim=True), unit(field(y), 0.0))


def _tangent_part(field: Velocity) -> Velocity:
    """The field's tangent part at its own speed."""

    def velocity(y: Tensor) -> Tensor:
        u, v = y / y.norm(dim=-1, keepdim=True), field(y)
        return v - (v * u).sum(-1, keepdim=True) * u

    return velocity


@dataclass(frozen=True)
class Integrator:
    """An integrator: its step, evaluations a step, and how it treats the sphere.

    `project` puts every point back on the sphere (for fields tangent to it); `tangent` wants unit tangents as input,
    which `timed` does without: the same step for a field followed at its own speed.
    """

    step: Step
    evaluations: int
    project: bool = False
    tangent: bool = False
    needs_quadratic: bool = False
    timed: Step | None = None

    @property
    def smooth(self) -> bool:
        """Whether the end point is a smooth function of the step (no step is cut)."""
        return not self.needs_quadratic


#: from this many unrecorded steps on, the end point is extrapolated from coarser integrations (extrapolation.py)
EXTRAPOLATE_FROM = 100

INTEGRATORS: dict[str, Integrator] = {
    "euler": Integrator(_euler, 1),
    "midpoint": Integrator(_midpoint, 2, project=True),
    "rk4": Integrator(_rk4, 4, project=True),
    "geodesic": Integrator(_geodesic, 1, tangent=True, timed=_timed_geodesic),
    "geodesic_midpoint": Integrator(_geodesic_midpoint, 2, tangent=True, timed=_timed_geodesic_midpoint),
    "certified": Integrator(_certified, 1, tangent=True, needs_quadratic=True),
    # no steps at all: the end point is the maximum of h within the angle (certify/cap.py)
    "optimal": Integrator(_geodesic, 1, needs_quadratic=True),
}


@dataclass(frozen=True)
class Flow:
    """How far and how to integrate. Give the strength in exactly one of three units.

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
    """

    angle: float | None = None
    T: float | None = None
    relative: float | None = None
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
        if not -torch.inf < value < torch.inf:
            raise ValueError(f"{name}={value} must be finite")
        if value < 0 and INTEGRATORS[self.method].needs_quadratic:
            raise ValueError(f"{name}={value} is negative, but method={self.method!r} has no inverse; use 'geodesic'")

    @property
    def strength(self) -> float:
        """The number given, in its unit."""
        return next(v for v in (self.angle, self.T, self.relative) if v is not None)

    def config(self) -> dict[str, float | int | str | None]:
        """The constructor's arguments."""
        return asdict(self)

    def length(self, field: VectorField, norms: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch 1"]:
        """T for activations of the given norms, in activation units."""
        if self.angle is not None:
            return self.angle * norms
        if self.T is not None:
            return torch.full_like(norms, self.T)
        if field.median_norm is None:
            raise ValueError("relative: this field does not know its fitting data's norms; use angle or T")
        return torch.full_like(norms, self.strength * field.median_norm)

    @torch.no_grad()
    def solve(self, field: VectorField, a: Float[Tensor, "*batch d"], record: bool = False) -> Path:
        """Integrate from every row of `a` on its own; rows never influence each other.

        Args:
            field: the velocity; in float32 (float64 for float64 activations and for `certified` and `optimal`).
            a: activations in any floating dtype, on any device.
            record: keep all N + 1 points.

        Raises:
            ValueError: wrong width, a zero or non-finite activation, or a method the field does not allow.
        """
        require_width("a", a, field.d_model)
        method = INTEGRATORS[self.method]
        quadratic = field.quadratic if isinstance(field, BarrierField) else None
        if method.needs_quadratic and quadratic is None:
            raise ValueError(f"method={self.method!r} needs a quadratic barrier (degree ≤ 2); use 'geodesic'")
        exact = a.dtype == torch.float64 or method.needs_quadratic
        x = a.double() if exact else a.float()
        norms = x.norm(dim=-1, keepdim=True)
        require_nonzero_rows("a", norms)
        T = self.length(field, norms)
        chart = field.chart(x)
        if self.strength == 0:
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
                and isinstance(chart.field, DiagonalField)
                and not record
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
        return Path(final.to(a.dtype), points, evaluations, still)

    def _extrapolate(
        self, method: Integrator, field: DiagonalField, chart: Chart, T: Tensor
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
            return (velocity if field.tangent or not method.tangent else _projected(velocity)), method.step
        if self.T is None:
            return (_projected(velocity) if method.tangent else lambda y: unit(velocity(y), 0.0)), method.step
        return (velocity if method.timed is None else _tangent_part(velocity)), method.timed or method.step

    def _integrate(
        self, step: Step, velocity: Velocity, chart: Chart, T: Tensor, norms: Tensor | None, record: bool
    ) -> list[Tensor]:
        """Points in the chart's coordinates: all of them if recorded, else the last two.

        Args:
            norms: put every point back on the sphere of these, if given.
        """
        eta = T / self.steps
        points = [chart.start]
        for _ in range(self.steps):
            y = step(velocity, points[-1], eta)
            if norms is not None:
                y = y * (norms / y.norm(dim=-1, keepdim=True))
            points = [*points, y] if record else [points[-1], y]
        return points
