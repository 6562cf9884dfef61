"""What every barrier is: a fitted score h ≈ log p₊/p₋ with a value and a gradient."""

from __future__ import annotations

import sys
import warnings
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from odesteer_tl._check import require_classes, require_width
from odesteer_tl._difference import require_different
from odesteer_tl._display import Displayed
from odesteer_tl._groups import GroupedRows, Groups, count_groups, row_labels
from odesteer_tl._scale import directions, row_norms
from odesteer_tl.barriers.calibration import Calibration
from odesteer_tl.barriers.state import FittedState

if TYPE_CHECKING:
    from odesteer_tl.barriers.quadratic import QuadraticBarrier
    from odesteer_tl.barriers.transforms import SketchTransforms


# not typing.Self: beartype, which enforces the shapes in the tests, knows that only on decorated classes
BarrierT = TypeVar("BarrierT", bound="Barrier")


class Barrier(FittedState, Displayed, ABC):
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

    def _fit_by_groups(
        self, positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], labels: Int[np.ndarray, " rows"]
    ) -> dict[str, Tensor]:
        """The same with the group of every row, called where `cross_validated`."""
        raise NotImplementedError

    @property
    def cross_validated(self) -> bool:
        """Whether the fit holds rows out, so that it must know which of them come from one text."""
        return False

    def fit(
        self: BarrierT,
        positive: Float[Tensor, "n d"],
        negative: Float[Tensor, "m d"],
        groups: Groups | None = None,
    ) -> BarrierT:
        """Learn h from activations of positive and negative texts.

        Args:
            groups: labels of the positive and of the negative rows (`acts[layer].groups`); rows of one label are held
                out together by a barrier that cross-validates, and no other needs them. Without, every row is taken as
                a text of its own, and rows of equal index in equally long classes as a pair.

        Raises:
            ValueError: a class is empty, an activation is NaN, infinite or zero, the widths differ, the classes
                coincide within rounding, `groups` is not one label a row, or it is missing where a barrier that
                cross-validates is given activations with several rows a text.
        """
        require_classes(positive, negative)
        labels = row_labels(positive, negative, groups) if self.cross_validated or groups is not None else None
        pos, neg = positive.detach().cpu().double(), negative.detach().cpu().double()
        norms = torch.cat([pos, neg]).norm(dim=-1)
        if self.spherical:
            require_different(pos / pos.norm(dim=-1, keepdim=True), neg / neg.norm(dim=-1, keepdim=True))
        else:
            require_different(pos, neg)
        state = (
            self._fit_by_groups(pos, neg, labels)
            if self.cross_validated and labels is not None
            else self._fit(pos, neg)
        )
        self.restore({**state, "median_norm": norms.median()}, None)
        self._remember(pos)
        return self

    def fit_activations(self: BarrierT, acts: GroupedRows) -> BarrierT:
        """`fit(acts.positive, acts.negative, groups=acts.groups)`, for one layer's activations."""
        return self.fit(acts.positive, acts.negative, groups=acts.groups)

    def _remember(self, positive: Float[Tensor, "n d"]) -> None:
        """Keep the percentiles of h over positives."""
        self.state["positive_percentiles"] = torch.quantile(
            self.value(positive.double()).cpu(), torch.linspace(0, 1, 101, dtype=torch.float64)
        )
        self._cast.clear()  # float64 copies that steering has no use for

    def positive_quantile(self, share: float) -> float:
        """The value of h below which this share of the positives lies, to the percentile.

        The positives are those of `fit`, whose h is higher than that of others, or of `calibrate` once it was called.

        Raises:
            ValueError: a share that is no whole percentage, or a barrier that was not fitted on positives: given by
                its coefficients, or saved before it kept this.
        """
        percent = round(100 * share)
        if not 0 <= percent <= 100 or abs(percent - 100 * share) > 1e-9:
            raise ValueError(f"share={share} must be a whole percentage between 0 and 1, such as 0.75")
        if "positive_percentiles" not in self.state:
            raise ValueError(
                f"{type(self).__name__} does not know h of its positives, so level='median' and other quantiles mean "
                "nothing; fit it again, calibrate it, or give the level as a number"
            )
        return float(self.state["positive_percentiles"][percent])

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

    @property
    def transforms(self) -> SketchTransforms | None:
        """The slope of `quadratic` by Fourier transforms, where that is cheaper than its eigenbasis; else None."""
        return None

    def calibrate(
        self: BarrierT,
        positive: Float[Tensor, "n d"],
        negative: Float[Tensor, "m d"],
        groups: Groups | None = None,
    ) -> BarrierT:
        """Fit `slope · h + intercept` to be a log-ratio, on data that took no part in `fit` (see `Calibration.of`).

        From then on `positive_quantile` speaks of these positives, whose h is not raised by having been fitted.

        Args:
            groups: as in `fit`; what the data can show is counted in groups.

        Raises:
            ValueError: a class is not usable, h is the same for all rows, or groups are missing where there are
                several rows a text.

        Warns:
            UserWarning: the held-out texts are separated, so that the data bound the log-ratio from one side only.
        """
        require_classes(positive, negative)
        labels = row_labels(positive, negative, groups)
        scores = [self.value(x.double()) for x in (positive, negative)]
        found = Calibration.of(scores[0], scores[1], count_groups(labels, len(positive)))
        if found.bound is not None:
            warnings.warn(
                f"the {found.n_positive} + {found.n_negative} held-out texts are separated: they say only how large "
                f"the log-ratio is at least, so its slope is Platt's smoothing and no more than {found.bound:.1f} nats "
                "are claimed either way; calibrate on more texts",
                stacklevel=_callers_level(),
            )
        self.calibration = found
        self._remember(positive)
        return self

    def calibrate_activations(self: BarrierT, acts: GroupedRows) -> BarrierT:
        """`calibrate(acts.positive, acts.negative, groups=acts.groups)`, for one layer's held-out activations."""
        return self.calibrate(acts.positive, acts.negative, groups=acts.groups)

    def log_ratio(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Calibrated estimate of log p₊(a)/p₋(a), in nats.

        Raises:
            ValueError: `calibrate` has not been called; an uncalibrated h is a score, not a log-ratio.
        """
        if self.calibration is None:
            raise ValueError(
                "this barrier is not calibrated; call calibrate(positive, negative) on held-out data first"
            )
        return self.calibration(self.value(a))

    def restore(self: BarrierT, state: dict[str, Tensor], calibration: Calibration | None) -> BarrierT:
        """Take over a fitted state; whatever was derived from an earlier one is dropped."""
        self.state = state
        self.calibration: Calibration | None = calibration
        return self

    def _prepare(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The activation in the dtype we compute in, width checked."""
        require_width("a", a, self.d_model)
        return a if a.dtype == torch.float64 else a.float()

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
        # of what was chosen by cross-validation, what it is
        found = {**self.config(), **(getattr(self, "chosen", {}) if self.state else {})}
        inside = ", ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v!r}" for k, v in found.items())
        return f"{type(self).__name__}({inside})" + ("" if self.state else " (not fitted)")


def _callers_level() -> int:
    """The `stacklevel` that names the first line outside the package (and outside what checks shapes in its tests)."""
    level, frame = 1, sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    inside = ("odesteer_tl", "beartype", "jaxtyping")
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in inside:
        level, frame = level + 1, frame.f_back
    return level


def pull_back(a: Float[Tensor, "*batch d"], g: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
    """∇ₐ q(a/‖a‖) = P g / ‖a‖ from g = ∇q at u = a/‖a‖, with P the projection orthogonal to u."""
    u = directions(a)
    return (g - (g * u).sum(-1, keepdim=True) * u) / row_norms(a).unsqueeze(-1)
