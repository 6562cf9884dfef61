"""The flow: solving da/dt = v(a) from each activation for a given strength."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import as_integer, as_strength, require_one_of
from odesteer_tl._renamed import renamed
from odesteer_tl.fields.base import VectorField
from odesteer_tl.integrators import INTEGRATORS
from odesteer_tl.levels import quantile_share
from odesteer_tl.path import Path as Path
from odesteer_tl.solving import Strength as Strength
from odesteer_tl.solving import one_a_row, solve

#: the units a strength is given in
UNITS = ("angle", "T", "relative", "multiplier")


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
        each = one_a_row(cast(Strength, self.strength), norms).unsqueeze(-1)
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
        return solve(self, field, a, record)
