"""The filter field: learned linear barriers keep the move from one token's state to the next one's (BarrierSteer)."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import require_at_least, require_one_of, require_positive
from odesteer_tl.barriers.merged import merged
from odesteer_tl.fields.least import least_correction
from odesteer_tl.fields.stored import StoredField

Constraints = Literal["all", "top", "merged"]


class FilterField(StoredField):
    """`v(a) = u* − u₀`: the least change of u₀ = a − p with `∇bᵢ(p)·u + gain·bᵢ(p) ≥ 0` for all i.

    p is what was written for the token before; one Euler step of time 1 applies the filter. A text's first token, and a
    state asked about alone, has none before it and is taken as at rest, p = a, which is ours. Barriers are
    `bᵢ(a) = wᵢ·a + cᵢ`: the constraint is `bᵢ(p + u) ≥ (1 − gain) bᵢ(p)`. Where no u meets them all,
    and where a meets them, it rests.

    Args:
        weights, offsets: w [k, d] and c [k].
        gain: in (0, 1]; 1 asks for bᵢ ≥ 0 at once, whatever p.
        constraints: "all"; "top", the `top` that are missed by most; or "merged", the one of the smooth minimum
            `−(1/κ) log Σ exp(−κ bᵢ)`.
        top, kappa: of these.
        median_norm: of the fitting activations.

    Raises:
        ValueError: a setting out of range.
    """

    context = "previous"

    def __init__(
        self,
        weights: Float[Tensor, "k d"],
        offsets: Float[Tensor, " k"],
        median_norm: float | None,
        *,
        gain: float = 0.5,
        constraints: Constraints = "all",
        top: int = 1,
        kappa: float = 10.0,
    ) -> None:
        require_one_of("constraints", constraints, ("all", "top", "merged"))
        require_at_least("top", top, 1)
        require_positive("kappa", kappa)
        if not 0 < gain <= 1:
            raise ValueError(f"gain={gain} must lie between 0 and 1: it is the share of a barrier a move may use up")
        own = {"gain": gain, "constraints": constraints, "top": top, "kappa": kappa}
        super().__init__(weights.shape[1], median_norm, {"weights": weights, "offsets": offsets}, own)

    def values(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch k"]:
        """The barriers at a."""
        return self.require(a) @ self.on("weights", a).mT + self.on("offsets", a)

    def after(self, previous: Float[Tensor, "*batch d"]) -> FilterField:
        """The field at tokens whose previous token's state is given."""
        other = copy.copy(self)
        vars(other)["previous"] = previous
        return other

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The correction of the move."""
        previous = vars(self).get("previous")
        p = a if previous is None else previous.to(a)
        barriers, gain = self.values(p), self.settings["gain"]
        # in the coordinates of the weights: the constraint on v = u − u₀ is w·v ≥ −gain·b(p) − w·(a − p)
        weights = self.on("weights", a).expand(*a.shape[:-1], -1, -1)
        if self.settings["constraints"] == "merged":
            share = torch.softmax(-self.settings["kappa"] * barriers, dim=-1)
            weights = (share.unsqueeze(-1) * weights).sum(-2, keepdim=True)
            barriers = merged(barriers, self.settings["kappa"]).unsqueeze(-1)
        asked = -gain * barriers - (weights @ (a - p).unsqueeze(-1)).squeeze(-1)
        k = min(self.settings["top"], asked.shape[-1])
        if self.settings["constraints"] == "top":
            missed = asked / weights.norm(dim=-1)
            kept = missed.topk(k, dim=-1).indices
            asked = asked.gather(-1, kept)
            weights = weights.gather(-2, kept.unsqueeze(-1).expand(*kept.shape, weights.shape[-1]))
        return least_correction(weights, asked)
