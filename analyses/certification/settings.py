"""What a certification is about, as its command line and its hash have it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from analyses.options import POSITIVE, Formerly, NewTokens, OwnAngle, Seed, Temperature
from odesteer_tl._words import require_one_of

if TYPE_CHECKING:
    import odesteer_tl as ode

TableAngles = Annotated[
    tuple[float, ...],
    arg(name="table-angle", help="radians whose certificates are tabled beside, one by one"),
    Formerly(("strengths",)),
    POSITIVE,
]
#: shares of the contrast: two halves to fit on, one to calibrate on, one to report on
SPLITS = {"half": 0.3, "other half": 0.3, "calibrate": 0.2, "test": 0.2}
#: the default method, which is known to be there without asking the library
PUBLISHED = "odesteer"
TEXTS = ("auto", "unsteered", "steered")
#: pairs that four parts can be cut from, and that can be left out in turn
LEAST, LEAST_CROSS = 40, 20


@dataclass(frozen=True)
class CertificationSettings:
    """How the paths to certify come about.

    Exactly one of `angle`, `T` and `relative` is the strength; steps and integrator are the method's own unless given.

    Args:
        method: one of METHODS that steers the residual stream.
        T: the path's length.
        relative: the same, as a share of the fitting data's median norm.
        steps: of the flow; left out, the method's own.
        solver: of the flow; left out, the method's own.
        alpha: 1 minus the level of the bounds.
        texts: whose tokens are steered and certified: those of the "unsteered" model's own texts, written once and the
            same at all layers, or of texts "steered" at the layer, written anew for each. "auto" is steered where a
            grammar judges what was written, and else unsteered.
        cross_fit: fit on all pairs, calibrate and report h on pairs left out in turn, for contrasts too small to be
            split; the audit of the halves remains.

    Raises:
        ValueError: the method is unknown, or does not steer the residual stream, or a setting is out of range.
    """

    method: str = PUBLISHED
    angle: OwnAngle = None
    T: float | None = None
    relative: float | None = None
    steps: int | None = None
    solver: str | None = None
    max_new_tokens: NewTokens = 10
    temperature: Temperature = 0.7
    strengths: TableAngles = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
    alpha: float = 0.05
    seed: Seed = 0
    texts: str = "auto"
    cross_fit: bool = False

    def __post_init__(self) -> None:
        require_one_of("texts", self.texts, TEXTS)
        given = {name: getattr(self, name) for name in ("angle", "T", "relative") if getattr(self, name) is not None}
        if len(given) > 1:
            raise ValueError(f"{' and '.join(f'{k}={x}' for k, x in given.items())}: give one strength")
        for name, value in given.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name}={value} must be a positive number")
        if not self.strengths or not all(math.isfinite(x) and x > 0 for x in self.strengths):
            raise ValueError(f"strengths={self.strengths} must be positive angles in radians, at least one")
        if self.max_new_tokens < 1 or (self.steps is not None and self.steps < 1):
            raise ValueError(f"max_new_tokens={self.max_new_tokens} and steps={self.steps} must be at least 1")
        if not self.temperature >= 0 or not 0 < self.alpha < 1:
            raise ValueError(
                f"temperature={self.temperature} must be at least 0 and alpha={self.alpha} between 0 and 1"
            )
        if self.method != PUBLISHED:
            self._require_method()
        if self.solver is not None:
            self.flow()

    def _require_method(self) -> None:
        import odesteer_tl as ode  # (its methods bring the model's libraries with them)
        from odesteer_tl.sites import BLOCK_OUTPUT

        require_one_of("method", self.method, ode.METHODS)
        site = ode.METHODS[self.method].site
        if site != BLOCK_OUTPUT:
            raise ValueError(
                f"method={self.method!r} steers {site!r}, and the barriers that would certify it are fitted on "
                f"{BLOCK_OUTPUT!r}; choose a method of the residual stream"
            )

    def flow(self) -> ode.Flow:
        """The flow of the method at this strength (angle 0.5 if none is given)."""
        import odesteer_tl as ode

        method = ode.METHODS[self.method]
        angle = 0.5 if self.angle is self.T is self.relative is None else self.angle
        return ode.Flow(angle=angle, T=self.T, relative=self.relative, steps=self.steps or method.steps,
                        solver=self.solver or method.solver)  # fmt: skip
