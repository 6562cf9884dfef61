"""Several barriers at once: the least intervention that keeps, or brings, each of them to its level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import require_positive, require_width
from odesteer_tl.barriers import Barrier, MergedBarrier
from odesteer_tl.fields.barrier import BarrierField
from odesteer_tl.fields.base import VectorField
from odesteer_tl.fields.least import least_correction

if TYPE_CHECKING:
    from odesteer_tl.certify.several import SetCertificate
    from odesteer_tl.path import Path


class BarrierSet(VectorField):
    """The shortest v with `∇hᵢ(a)·v ≥ rate·(levelᵢ − hᵢ(a))` for every barrier; at rest where no v serves them all.

    The quadratic programme of several control barrier functions (Ames et al., IEEE TAC 2017) with the plant da/dt = v,
    exact for one and two barriers and by a kept solver for more (`least_correction`). Along the exact flow a barrier
    below its level comes to it as e^{−rate·t}, and one above it may give way to the others, but never below the level.
    `Flow(solver="certified")` takes that to steps: it ends where `certify` proves it of the step written.

    Args:
        barriers: each a quadratic on the sphere (of degree ≤ 2), all of one width.
        levels: one for all, or one each: numbers in units of hᵢ, or "median" or "q75" of the barrier's positives.
        rate: per unit of time.

    Raises:
        ValueError: no barriers, one that is no quadratic, widths that differ, as many levels as there are barriers
            missing, or a rate that is not positive.

    Example:
        >>> import torch
        >>> import odesteer_tl as ode
        >>> h = [ode.QuadraticBarrier(torch.zeros(3, 3), torch.eye(3)[i], 0.0) for i in (0, 1)]
        >>> a = torch.tensor([[-1.0, 0.2, 2.0]])
        >>> safe = ode.BarrierSet(h, levels=0.1)
        >>> path = ode.Flow(T=1.0, steps=10, solver="certified").solve(safe, a)
        >>> bool(safe.certify(a, path.end).certified.all())  # neither is lower than its level, or than it was
        True
    """

    unit_speed = False
    tangent = True

    def __init__(
        self, barriers: Sequence[Barrier], levels: float | str | Sequence[float | str] = 0.0, rate: float = 5.0
    ) -> None:
        from odesteer_tl.levels import level_of  # which needs fields

        require_positive("rate", rate)
        self.barriers, self.rate = list(barriers), rate
        if not self.barriers:
            raise ValueError("barriers is empty; give at least one")
        for i, h in enumerate(self.barriers):
            if not isinstance(h, Barrier) or not h.is_quadratic:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ValueError(
                    f"barriers[{i}] is a {type(h).__name__} of no degree ≤ 2 on the sphere; give quadratics"
                )
            if h.d_model != self.barriers[0].d_model:
                raise ValueError(f"barriers[{i}] has width {h.d_model} and barriers[0] {self.barriers[0].d_model}")
        each = [levels] * len(self.barriers) if isinstance(levels, str | int | float) else list(levels)
        if len(each) != len(self.barriers):
            raise ValueError(f"levels has {len(each)} entries for {len(self.barriers)} barriers; give one, or one each")
        self.levels = [float(level_of(h, level)) for h, level in zip(self.barriers, each, strict=True)]

    @property
    def d_model(self) -> int:
        return self.barriers[0].d_model

    @property
    def median_norm(self) -> float | None:
        return self.barriers[0].median_norm

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The closed form, or the solver's, for every activation on its own."""
        require_width("a", a, self.d_model)
        gradients = torch.stack([h.gradient(a) for h in self.barriers], dim=-2)
        values = torch.stack([h.value(a) for h in self.barriers], dim=-1)
        asked = self.rate * (torch.tensor(self.levels, dtype=values.dtype, device=values.device) - values)
        return least_correction(gradients, asked).to(a.dtype)

    def certify(
        self, start: Path | Float[Tensor, "*batch d"], end: Float[Tensor, "*batch d"] | None = None
    ) -> SetCertificate:
        """What is proved of every barrier along the step from `start` to `end`, or along a recorded path.

        Raises:
            ValueError: the shapes differ, the path was not recorded, or a point is zero or not finite.
        """
        from odesteer_tl.certify.several import certify_levels
        from odesteer_tl.path import Path

        if isinstance(start, Path):
            return certify_levels(self.barriers, self.levels, start)
        if end is None or end.shape != start.shape:
            raise ValueError(
                f"start has shape {tuple(start.shape)} and end {None if end is None else tuple(end.shape)}"
            )
        points = torch.stack([start.double(), end.double()])
        return certify_levels(self.barriers, self.levels, points)

    def merged(self, kappa: float = 10.0) -> MergedBarrier:
        """The smooth minimum of hᵢ − levelᵢ: at least 0 only where all are at least their levels."""
        from odesteer_tl.barriers import QuadraticBarrier

        shifted: list[Barrier] = []
        for h, level in zip(self.barriers, self.levels, strict=True):
            q = h.quadratic
            shifted.append(QuadraticBarrier(q.A, q.b, q.c - level).with_collapse_error(q.collapse_error))
        return MergedBarrier(shifted, kappa)

    def _made_of(self) -> dict[str, object]:
        return {"barriers": self.barriers, "levels": self.levels, "rate": self.rate}

    def dump(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Every barrier's, with levels and rate."""
        parts = [BarrierField(h).dump() for h in self.barriers]
        tensors = {f"{i}.{name}": x for i, (_, own) in enumerate(parts) for name, x in own.items()}
        return {"barriers": [settings for settings, _ in parts], "levels": self.levels, "rate": self.rate}, tensors

    @classmethod
    def load(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> BarrierSet:
        barriers: list[Barrier] = []
        for i, own in enumerate(settings["barriers"]):
            part = {n.removeprefix(f"{i}."): x for n, x in tensors.items() if n.startswith(f"{i}.")}
            barriers.append(BarrierField.load(own, part).barrier)
        return cls(barriers, settings["levels"], settings["rate"])
