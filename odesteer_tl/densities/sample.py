"""A sample: activations of one or more classes, with the moments and the spectrum that every density family shares."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import require_finite, require_nonzero_rows, require_width
from odesteer_tl._difference import NoDifference
from odesteer_tl.densities.sphere import Chart


class Sample:
    """Float64 activations of `n_classes` ≥ 1 classes; several classes share all of a density but its location.

    What is expensive (the spectrum of the pooled deviations from the class means) is computed once, whatever the
    number of families and ranks fitted to it.
    """

    def __init__(self, classes: Sequence[Float[Tensor, "_ d"]]) -> None:
        self.classes: tuple[Tensor, ...] = tuple(x.detach().cpu().double() for x in classes)

    @classmethod
    def checked(cls, classes: Sequence[Float[Tensor, "_ d"]]) -> Sample:
        """A sample of what a user handed in.

        Raises:
            ValueError: a class is not a matrix with at least 2 rows, holds a NaN, an infinity or a zero row, the widths
                differ.
            NoDifference: a dimension never varies; a `ValueError`.
        """
        for x in classes:
            if x.ndim != 2 or len(x) < 2:
                raise ValueError(f"activations have shape {tuple(x.shape)}; pass [n, d_model] with n ≥ 2 a class")
            require_finite("activations", x)
            require_nonzero_rows("activations", x.norm(dim=-1))
            require_width("activations", x, classes[0].shape[-1])
        self = cls(classes)
        constant = (self.deviations.abs().amax(0) <= 1e-12 * self.pooled.abs().amax(0)).nonzero().flatten().tolist()
        if constant:
            raise NoDifference(
                f"activations: {len(constant)} of {self.d} dimensions never vary (the first: {constant[:5]}); no "
                "density exists there: drop these columns, here and from every point that is scored"
            )
        return self

    @property
    def n(self) -> int:
        """Rows of all classes together."""
        return sum(len(x) for x in self.classes)

    @property
    def d(self) -> int:
        """Width."""
        return self.classes[0].shape[1]

    @property
    def degrees(self) -> int:
        """The most directions the deviations from the class means can span."""
        return min(self.n - len(self.classes), self.d)

    @cached_property
    def pooled(self) -> Float[Tensor, "n d"]:
        """All classes, one under the other."""
        return torch.cat(self.classes)

    @cached_property
    def means(self) -> Float[Tensor, "n_classes d"]:
        """The class means."""
        return torch.stack([x.mean(0) for x in self.classes])

    @cached_property
    def deviations(self) -> Float[Tensor, "n d"]:
        """All rows less the mean of their class."""
        return torch.cat([x - m for x, m in zip(self.classes, self.means, strict=True)])

    @cached_property
    def variances(self) -> Float[Tensor, " d"]:
        """Variance of each dimension about the class means (1/n)."""
        return self.deviations.square().mean(0)

    @cached_property
    def spectrum(self) -> tuple[Float[Tensor, " k"], Float[Tensor, "d k"]]:
        """Falling eigenvalues and eigenvectors of the pooled covariance (1/n), k = `degrees`."""
        return principal_axes(self.deviations, self.degrees)

    @cached_property
    def charted(self) -> tuple[Chart, Sample]:
        """The chart of the sphere at the mean direction of all classes, and the sample in its coordinates."""
        u = self.pooled / self.pooled.norm(dim=-1, keepdim=True)
        chart = Chart(u.mean(0))
        return chart, Sample([chart.enter(x) for x in self.classes])


def principal_axes(x: Float[Tensor, "n d"], k: int) -> tuple[Float[Tensor, " k"], Float[Tensor, "d k"]]:
    """The k leading eigenvalues (falling) and eigenvectors of xᵀx/n, from the smaller of xᵀx and xxᵀ."""
    n, d = x.shape
    if d <= n:
        values, vectors = torch.linalg.eigh(x.mT @ x / n)
        return values.flip(0)[:k].clamp_min(0), vectors.flip(1)[:, :k].contiguous()
    values, rows = torch.linalg.eigh(x @ x.mT / n)
    values, rows = values.flip(0)[:k].clamp_min(0), rows.flip(1)[:, :k]
    # a direction without variance comes out of rounding, and whatever stands there is multiplied by its zero variance
    scale = (n * values).sqrt().clamp_min(torch.finfo(torch.float64).eps * (n * values[:1]).sqrt())
    return values, x.mT @ rows / scale
