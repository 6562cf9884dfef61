"""The affine field: the displacement of an affine map, as in MiMiC and AcT."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields.stored import StoredField


class AffineField(StoredField):
    """`v(a) = Wa + b − a`: one Euler step of time s goes the share s of the way to `Wa + b`.

    Args:
        weight: W [d, d], or its diagonal [d].
        bias: b [d].
        median_norm: of the fitting activations, for `Flow(relative=…)`.

    Raises:
        ValueError: the shapes do not fit, or a coefficient is NaN or infinite.
    """

    def __init__(
        self, weight: Float[Tensor, "d d"] | Float[Tensor, " d"], bias: Float[Tensor, " d"], median_norm: float | None
    ) -> None:
        d = bias.shape[0]
        if tuple(weight.shape) not in ((d,), (d, d)):
            raise ValueError(f"weight has shape {tuple(weight.shape)} and bias {(d,)}; weight must be [d, d] or [d]")
        super().__init__(d, median_norm, {"weight": weight, "bias": bias})

    def target(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Wa + b."""
        a = self.require(a)
        weight = self.on("weight", a)
        return (a @ weight.mT if weight.ndim == 2 else a * weight) + self.on("bias", a)

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The displacement to the map's value."""
        return self.target(a) - a
