"""What every barrier is: a fitted score h ≈ log p₊/p₋ with a value and a gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from odesteer_tl._check import require_classes, require_width
from odesteer_tl._display import Displayed

if TYPE_CHECKING:
    from odesteer_tl.barriers.quadratic import QuadraticBarrier


@dataclass(frozen=True, repr=False)
class Calibration(Displayed):
    """The affine map from a barrier's score to a log-ratio: `slope · h + intercept` (Platt, held-out data).

    Attributes:
        slope, intercept: of the map.
        n_positive, n_negative: the held-out rows behind it.
    """

    slope: float
    intercept: float
    n_positive: int
    n_negative: int

    def _facts(self) -> dict[str, object]:
        return {
            "slope (ideally 1)": self.slope,
            "intercept (nats)": self.intercept,
            "held-out positives": self.n_positive,
            "held-out negatives": self.n_negative,
        }


# not typing.Self: beartype, which enforces the shapes in the tests, knows that only on decorated classes
BarrierT = TypeVar("BarrierT", bound="Barrier")


class Barrier(Displayed, ABC):
    """A score h on activations, positive where p₊ outweighs p₋.

    Hyper-parameters stand in the constructor, data in `fit`, which returns the fitted barrier itself. The fitted
    state is a flat dict of tensors, so that every barrier is saved the same way. `value` and `gradient` compute in
    float32, or in float64 for float64 activations.
    """

    #: whether h depends on the direction a/‖a‖ alone
    spherical: bool = True

    def __init__(self) -> None:
        self.restore({}, None)

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, JSON-able."""

    @abstractmethod
    def _fit(self, positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"]) -> dict[str, Tensor]:
        """The fitted state from float64 CPU activations."""

    @abstractmethod
    def value(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """h(a), dimensionless (a log-ratio once calibrated)."""

    @abstractmethod
    def gradient(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """∇h(a) with respect to the activation itself, in units of 1/activation."""

    def fit(self: BarrierT, positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"]) -> BarrierT:
        """Learn h from activations of positive and negative texts.

        Raises:
            ValueError: a class is empty, an activation is NaN, infinite or zero, or the widths differ.
        """
        require_classes(positive, negative)
        pos, neg = positive.detach().cpu().double(), negative.detach().cpu().double()
        norm = torch.cat([pos, neg]).norm(dim=-1).median()
        return self.restore({**self._fit(pos, neg), "median_norm": norm}, None)

    @property
    @abstractmethod
    def d_model(self) -> int:
        """Width of the activations this barrier was fitted on."""

    @property
    def median_norm(self) -> float | None:
        """Median norm of the fitting activations (None for a barrier given by its coefficients)."""
        return float(self.state["median_norm"]) if "median_norm" in self.state else None

    @property
    def polynomial_degree(self) -> int | None:
        """Degree of h as a polynomial of a/‖a‖; None where it is not one, and no certificate follows from it."""
        return None

    @property
    def is_quadratic(self) -> bool:
        """Whether `quadratic` exists: a polynomial of degree ≤ 2."""
        return self.polynomial_degree is not None and self.polynomial_degree <= 2

    @property
    def value_error(self) -> float:
        """Bound on the rounding of `value` for float64 activations, absolute. Certificates of degree ≥ 3 need it."""
        raise ValueError(f"{type(self).__name__} bounds no rounding of its value: no sound certificate exists for it")

    @property
    def slope_bound(self) -> float:
        """Bound on |dh/dφ| along every great circle. Certificates of degree ≥ 3 need it."""
        raise ValueError(f"{type(self).__name__} bounds no slope: no sound certificate exists for it")

    @property
    def quadratic(self) -> QuadraticBarrier:
        """The same h as one quadratic xᵀAx + b·x + c on the unit sphere.

        Raises:
            ValueError: this barrier is not a polynomial of degree ≤ 2 in a/‖a‖.
        """
        raise ValueError(f"{type(self).__name__} with {self.config()} is not a quadratic on the sphere; use degree ≤ 2")

    def calibrate(self: BarrierT, positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"]) -> BarrierT:
        """Fit `slope · h + intercept` to be a log-ratio, on data that took no part in `fit`.

        Logistic loss with the classes weighted equally, so that the intercept is a log-ratio of densities and not of
        class sizes; targets are smoothed (Platt 1999), so that separable data give a finite slope.
        """
        require_classes(positive, negative)
        scores = [self.value(x.double()).cpu().numpy() for x in (positive, negative)]
        # in units of their own spread: of scores of 1e-6 the loss is flat, and the solver would stop where it starts
        every = np.concatenate(scores)
        middle, scale = float(np.median(every)), float(every.std()) or 1.0
        unit = tuple((x - middle) / scale for x in scores)
        result = minimize(_platt_loss, np.array([1.0, 0.0]), args=unit, jac=True, method="L-BFGS-B")
        slope = float(result.x[0]) / scale
        intercept = float(result.x[1]) - slope * middle
        self.calibration = Calibration(slope, intercept, len(positive), len(negative))
        return self

    def log_ratio(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Calibrated estimate of log p₊(a)/p₋(a), in nats.

        Raises:
            ValueError: `calibrate` has not been called; an uncalibrated h is a score, not a log-ratio.
        """
        if self.calibration is None:
            raise ValueError(
                "this barrier is not calibrated; call calibrate(positive, negative) on held-out data first"
            )
        return self.calibration.slope * self.value(a) + self.calibration.intercept

    def fitted(self, name: str) -> Tensor:
        """A tensor of the fitted state, or an error that says what to do."""
        if name not in self.state:
            raise ValueError(f"{type(self).__name__} has no {name!r}: it is not fitted; call fit(positive, negative)")
        return self.state[name]

    def restore(self: BarrierT, state: dict[str, Tensor], calibration: Calibration | None) -> BarrierT:
        """Take over a fitted state; whatever was derived from an earlier one is dropped."""
        self.state: dict[str, Tensor] = state
        self.calibration: Calibration | None = calibration
        self._cast: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}
        self._collapsed: QuadraticBarrier | None = None
        return self

    def _prepare(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The activation in the dtype we compute in, width checked."""
        require_width("a", a, self.d_model)
        return a if a.dtype == torch.float64 else a.float()

    def _on(self, name: str, like: Tensor) -> Tensor:
        """A state tensor in the dtype and on the device of `like`, converted once."""
        key = (name, like.dtype, like.device)
        if key not in self._cast:
            self._cast[key] = self.fitted(name).to(device=like.device, dtype=like.dtype)
        return self._cast[key]

    def _facts(self) -> dict[str, object]:
        if not self.state:
            return {**self.config(), "state": "not fitted"}
        chosen = {f"{name} in use": x for name, x in getattr(self, "chosen", {}).items()}
        degree = self.polynomial_degree
        return {
            **self.config(),
            **chosen,
            "width": self.d_model,
            "degree on the sphere": "not a polynomial" if degree is None else degree,
            "calibration": self.calibration or "none: h is a score, not a log-ratio",
        }

    def __repr__(self) -> str:
        inside = ", ".join(f"{k}={v!r}" for k, v in self.config().items())
        return f"{type(self).__name__}({inside})" + ("" if self.state else " (not fitted)")


def pull_back(a: Float[Tensor, "*batch d"], g: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
    """∇ₐ q(a/‖a‖) = P g / ‖a‖ from g = ∇q at u = a/‖a‖, with P the projection orthogonal to u."""
    norm = a.norm(dim=-1, keepdim=True)
    u = a / norm
    return (g - (g * u).sum(-1, keepdim=True) * u) / norm


def _platt_loss(theta: Any, positive: Any, negative: Any) -> tuple[float, Any]:
    """Class-balanced logistic loss of `theta = (slope, intercept)` and its gradient."""
    loss, gradient = 0.0, np.zeros(2)
    for scores, high in ((positive, True), (negative, False)):
        n = len(scores)
        target = (n + 1) / (n + 2) if high else 1 / (n + 2)
        z = theta[0] * scores + theta[1]
        loss += float(np.mean(np.logaddexp(0, z) - target * z))
        residual = 1 / (1 + np.exp(-np.clip(z, -700, 700))) - target
        gradient += np.array([np.mean(residual * scores), np.mean(residual)])
    return loss, gradient
