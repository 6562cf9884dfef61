"""The affine field: the displacement of an affine map, as in MiMiC and AcT."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields.stored import StoredField


class AffineField(StoredField):
    """`v(a) = Wa + b − a`: one Euler step of time s goes the share s of the way to `Wa + b`.

    Args:
        weight: W [d, d], or its diagonal [d].
        bias: b [d].
        median_norm: of the fitting activations, for `Flow(relative=…)`.
        support: each coordinate's least and greatest value (rows 0 and 1) at which a diagonal W acts; a coordinate
            outside them rests. None: W acts everywhere.

    Raises:
        ValueError: the shapes do not fit, a coefficient is NaN or infinite, or a support is given for a W that mixes
            coordinates or has a least value above its greatest.
    """

    def __init__(
        self,
        weight: Float[Tensor, "d d"] | Float[Tensor, " d"],
        bias: Float[Tensor, " d"],
        median_norm: float | None,
        support: Float[Tensor, "2 d"] | None = None,
    ) -> None:
        d = bias.shape[0]
        if tuple(weight.shape) not in ((d,), (d, d)):
            raise ValueError(f"weight has shape {tuple(weight.shape)} and bias {(d,)}; weight must be [d, d] or [d]")
        tensors = {"weight": weight, "bias": bias}
        if support is not None:
            if weight.ndim != 1 or tuple(support.shape) != (2, d) or bool((support[0] > support[1]).any()):
                raise ValueError(
                    f"support has shape {tuple(support.shape)} and weight {tuple(weight.shape)}; a support is [2, d], "
                    "least values over greatest ones, and its weight a diagonal [d]"
                )
            tensors["support"] = support
        super().__init__(d, median_norm, tensors)

    @property
    def is_shift(self) -> bool:
        """Whether every activation is moved by the same vector, `bias`."""
        weight = self.tensors["weight"]
        return "support" not in self.tensors and weight.ndim == 1 and bool((weight == 1).all())

    def target(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Wa + b."""
        a = self.require(a)
        weight = self.on("weight", a)
        return (a @ weight.mT if weight.ndim == 2 else a * weight) + self.on("bias", a)

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The displacement to the map's value, 0 in coordinates outside the support."""
        v = self.target(a) - a
        if "support" not in self.tensors:
            return v
        least, greatest = self.on("support", a)
        return torch.where((a >= least) & (a <= greatest), v, 0.0)
