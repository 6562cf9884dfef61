"""What every density is: a fitted log p on activations with its gradient."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import require_width
from odesteer_tl.densities.sample import Sample

#: noise variance below this share of the mean variance is raised to it: collinear data keep a finite density
NOISE_FLOOR = 1e-9

# not typing.Self: beartype, which enforces the shapes in the tests, knows that only on decorated classes
DensityT = TypeVar("DensityT", bound="Density")


class Density(ABC):
    """A probability density on activations, or on their directions.

    Hyper-parameters stand in the constructor, data in `fit`, which returns the fitted density itself. The fitted state
    is a flat dict of float64 tensors; `log_prob` and `gradient` compute in float64, batched, on the device of `a`.
    """

    #: whether p is a density of the direction a/‖a‖ alone, with respect to the area of the unit sphere
    spherical: bool = False

    def __init__(self) -> None:
        self.restore({})

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, JSON-able."""

    @classmethod
    def from_config(cls: type[DensityT], config: dict[str, Any]) -> DensityT:
        """The unfitted density that `config` describes."""
        return cls(**config)

    @abstractmethod
    def fitted_states(self, sample: Sample) -> list[dict[str, Tensor]]:
        """One fitted state a class of `sample`, which share all but the location.

        Raises:
            ValueError: too few samples for this family, or a family that cannot be tied.
        """

    @abstractmethod
    def n_parameters(self, d: int) -> int:
        """Free parameters at width `d`: what selection calls simple."""

    @property
    @abstractmethod
    def d_model(self) -> int:
        """Width of the activations."""

    @abstractmethod
    def log_prob(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """log p(a) in nats, float64."""

    @abstractmethod
    def gradient(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The score ∇ₐ log p(a), in nats per unit of activation, float64."""

    @abstractmethod
    def sample(self, n: int, seed: int = 0) -> Float[Tensor, "n d"]:
        """`n` draws, float64 (unit vectors where the density is spherical)."""

    @property
    @abstractmethod
    def gaussian(self) -> Density:
        """The Gaussian family of the activations nearest to this density, unfitted."""

    @property
    def n_dimensions(self) -> int:
        """Dimensions of the space p is a density on: d, or d − 1 for directions."""
        return self.d_model - int(self.spherical)

    def fit(self: DensityT, activations: Float[Tensor, "n d"]) -> DensityT:
        """Estimate p from activations of one class.

        Raises:
            ValueError: too few samples, a NaN, an infinite or zero activation, or a dimension that never varies.
        """
        (state,) = self.fitted_states(Sample.checked([activations]))
        return self.restore(state)

    def fit_tied(self: DensityT, classes: Sequence[Float[Tensor, "_ d"]]) -> tuple[DensityT, ...]:
        """One density a class, sharing all but the location; this object is left as it was.

        Raises:
            ValueError: as `fit`, or the family has no tied form.
        """
        return self.fit_sample(Sample.checked(classes))

    def fit_sample(self: DensityT, sample: Sample) -> tuple[DensityT, ...]:
        """One density a class of a sample whose spectrum may already be known; this object is left as it was."""
        return tuple(copy.copy(self).restore(state) for state in self.fitted_states(sample))

    def fitted(self, name: str) -> Tensor:
        """A tensor of the fitted state, or an error that says what to do."""
        if name not in self.state:
            raise ValueError(f"{type(self).__name__} has no {name!r}: it is not fitted; call fit(activations)")
        return self.state[name]

    def restore(self: DensityT, state: dict[str, Tensor]) -> DensityT:
        """Take over a fitted state."""
        self.state: dict[str, Tensor] = state
        return self

    def _prepare(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The activation in float64, width checked."""
        require_width("a", a, self.d_model)
        return a.double()

    @property
    def name(self) -> str:
        """Family and settings, as they are written in code."""
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config().items())})"

    def __repr__(self) -> str:
        return self.name + ("" if self.state else " (not fitted)")


def require_rank(what: str, rank: int, most: int, n: int, d: int) -> None:
    """Raise `ValueError` unless 0 ≤ rank ≤ most, the highest rank that n samples of width d can carry."""
    if not 0 <= rank <= most:
        raise ValueError(
            f"{what} does not fit n={n} samples of width {d}; use a rank from 0 to {most}, or more samples"
        )


def normals(n: int, d: int, seed: int) -> Float[Tensor, "n d"]:
    """Standard normal draws in float64, the same for the same arguments."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
