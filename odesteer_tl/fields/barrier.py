"""The barrier field: v = ∇h/‖∇h‖, ODESteer's."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.barriers import BARRIERS, Barrier, Calibration, QuadraticBarrier
from odesteer_tl.barriers.spectrum import Spectrum
from odesteer_tl.barriers.transforms import SketchTransforms
from odesteer_tl.fields.base import Chart, VectorField, unit

#: numbers of one block of rows in an eigenbasis, small enough to stay in a core's cache
CACHED = 2**17


class BarrierField(VectorField):
    """`v(a) = ∇h(a)/‖∇h(a)‖` (arXiv 2602.17560), zero at a numerical fixed point of h.

    For a barrier that is one quadratic on the sphere the flow is integrated in the eigenbasis of its A, where a
    step costs O(d); the activation is rotated once in and once out. A sketch too wide for that to pay is followed by
    its own Fourier transforms; the end points are the same, and no matrix is made until a certificate asks for one.

    Args:
        barrier: fitted.
    """

    def __init__(self, barrier: Barrier) -> None:
        self.barrier = barrier
        self.tangent = barrier.spherical

    @property
    def quadratic(self) -> QuadraticBarrier | None:
        """The barrier, as it is fitted now, as one quadratic, or None; collapsed when first asked for."""
        return self.barrier.quadratic if self.barrier.is_quadratic else None

    @property
    def d_model(self) -> int:
        return self.barrier.d_model

    @property
    def median_norm(self) -> float | None:
        return self.barrier.median_norm

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The unit gradient of h."""
        # ‖a‖∇h is the gradient on the unit sphere, whose size `_scale` bounds
        return unit(self.barrier.gradient(a) * a.norm(dim=-1, keepdim=True), self._scale)

    @property
    def _scale(self) -> float:
        if self.barrier.transforms is not None:
            return self.barrier.transforms.scale
        return 0.0 if self.quadratic is None else self.quadratic.curvature_bound

    def chart(self, a: Float[Tensor, "*batch d"]) -> Chart:
        """The eigenbasis of the quadratic, where there is one and it is worth finding.

        In float32 without the eigenvalues whose proved effect on h is below 1e-6 of its range (`Spectrum.brief`).
        """
        transforms = self.barrier.transforms
        if transforms is not None:
            return Chart(TransformField(transforms), a, lambda y: y, transforms.rows(a.device))
        quadratic = self.quadratic
        if quadratic is None:
            return super().chart(a)
        spectrum = quadratic.spectrum if a.dtype == torch.float64 else quadratic.spectrum.brief
        return _eigenchart(spectrum, quadratic.curvature_bound, a)

    def eigenchart(self, a: Float[Tensor, "*batch d"]) -> Chart:
        """The whole eigenbasis of the quadratic, whatever it costs: what `certified` and `optimal` are stated in.

        Raises:
            ValueError: the barrier is not a quadratic.
        """
        quadratic = self.barrier.quadratic
        return _eigenchart(quadratic.spectrum, quadratic.curvature_bound, a)

    def _made_of(self) -> dict[str, object]:
        return {"barrier": self.barrier}

    def dump(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The barrier's class, constructor arguments, calibration and fitted state."""
        calibration = self.barrier.calibration
        settings = {
            "barrier": type(self.barrier).__name__,
            "config": self.barrier.config(),
            "calibration": None if calibration is None else vars(calibration),
        }
        return settings, dict(self.barrier.state)

    @classmethod
    def load(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> BarrierField:
        """Rebuild from `dump`'s output; nothing is fitted again."""
        kind = BARRIERS[settings["barrier"]]
        # a quadratic's constructor takes its coefficients; they are restored as state like every other barrier's
        barrier = kind(**settings["config"]) if kind is not QuadraticBarrier else QuadraticBarrier.__new__(kind)
        calibration = settings["calibration"]
        return cls(barrier.restore(tensors, None if calibration is None else Calibration(**calibration)))


def _eigenchart(spectrum: Spectrum, curvature_bound: float, a: Float[Tensor, "*batch d"]) -> Chart:
    spectrum = spectrum.like(a)
    start = spectrum.enter(a)
    field = DiagonalField(spectrum.values, spectrum.loads, curvature_bound)
    return Chart(field, start, lambda y: spectrum.leave(a, start, y), max(1, CACHED // start.shape[-1]))


class TransformField:
    """The unit gradient of `uᵀAu + b·u`, u = a/‖a‖, in the activations themselves, by Fourier transforms."""

    def __init__(self, transforms: SketchTransforms) -> None:
        self._transforms = transforms

    def double(self) -> TransformField:
        """The same field: it computes in the dtype of what it is given."""
        return self

    def __call__(self, y: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        norm, linear = torch.linalg.vector_norm(y, dim=-1, keepdim=True), self._transforms.linear_like(y)
        g = torch.addcmul(linear, self._transforms.product(y), norm.reciprocal())
        along = torch.linalg.vecdot(g, y).unsqueeze(-1) / norm.square()
        out = None if g.requires_grad else g
        return unit(torch.addcmul(g, y, along, value=-1, out=out), self._transforms.scale)


class DiagonalField:
    """The unit gradient of `Σλᵢuᵢ² + β·u`, u = y/‖y‖, in eigenbasis coordinates y.

    Attributes:
        values, loads: λ and β.
        scale: a bound on h″ along every unit-speed great circle, beside which a gradient may be rounding noise.
    """

    def __init__(self, values: Float[Tensor, " k"], loads: Float[Tensor, " k"], curvature_bound: float) -> None:
        self.values, self.loads = values, loads
        self._twice, self.scale = 2 * values, curvature_bound

    def double(self) -> DiagonalField:
        """The same field in float64."""
        return DiagonalField(self.values.double(), self.loads.double(), self.scale)

    def __call__(self, y: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch k"]:
        u = y / torch.linalg.vector_norm(y, dim=-1, keepdim=True)
        g = torch.addcmul(self.loads, u, self._twice)
        along = torch.linalg.vecdot(g, u).unsqueeze(-1)
        # g is ours: no pass over fresh memory, unless its value is needed again for a gradient
        out = None if g.requires_grad else g
        return unit(torch.addcmul(g, u, along, value=-1, out=out), self.scale)
