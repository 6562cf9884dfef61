"""The concept flow: a learned velocity of whole texts, told of a concept by the tokens of its description (FLAS)."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields.attention import block
from odesteer_tl.fields.base import Seen
from odesteer_tl.fields.stored import StoredField


class ConceptFlowField(StoredField):
    """`v(a, t, c) = x_B − x_0` of B attention blocks over the text so far; with gates of 0 the identity.

    Every token sees itself and the tokens before it, each where its own path is at that moment; a token that is not
    steered stays where it is, and is seen there. A state asked about alone is a text of one token.

    Args:
        tensors: of the blocks, as "0.gates", … (see `attention.block`), and "concept" [tokens, d], the concept's states
            in units of a coordinate.
        concept: the text they are of.
        blocks, heads: how many.
        median_norm: of the fitting activations.
    """

    timed = True
    context = "sequence"

    def __init__(self, tensors: dict[str, Tensor], concept: str, blocks: int, heads: int, median_norm: float) -> None:
        d = tensors["concept"].shape[1]
        super().__init__(d, median_norm, tensors, {"concept": concept, "blocks": blocks, "heads": heads})

    def told(self, concept: str, states: Float[Tensor, "tokens d"]) -> ConceptFlowField:
        """The same flow for another concept."""
        settings, tensors = self.dump()
        settings = {**settings, "own": {**settings["own"], "concept": concept}}
        return ConceptFlowField.load(settings, {**tensors, "concept": states})

    def within(self, seen: Seen) -> ConceptFlowField:
        """The field on these texts."""
        other = copy.copy(self)
        vars(other)["seen"] = seen
        return other

    def at_time(self, a: Float[Tensor, "*batch d"], t: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch d"]:
        """The velocity, in activation units; 0 at tokens that are not steered."""
        seen: Seen | None = vars(self).get("seen")
        self.require(a)
        if seen is None:
            flat, times = a.reshape(-1, 1, a.shape[-1]), t.expand(*a.shape[:-1], 1).reshape(-1, 1, 1)
            alone = torch.ones(len(flat), 1, 1, dtype=torch.bool, device=a.device)
            return self._velocity(flat, times, alone).reshape(a.shape)
        n = a.shape[1]
        causal = torch.ones(n, n, dtype=torch.bool, device=a.device).tril()
        itself = torch.eye(n, dtype=torch.bool, device=a.device)
        sees = (causal & seen.real[:, None, :]) | itself  # (padding sees itself, so that no softmax is empty)
        return self._velocity(a, t.expand(*a.shape[:-1], 1), sees).where(seen.moves[..., None], 0.0)

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The velocity at the start."""
        return self.at_time(a, torch.zeros_like(a[..., :1]))

    def _velocity(self, a: Tensor, t: Tensor, sees: Tensor) -> Tensor:
        assert self.median_norm is not None
        scale = self.d_model**0.5 / self.median_norm
        x = start = a * scale
        for i in range(self.settings["blocks"]):
            x = block(lambda name, i=i: self.on(f"{i}.{name}", a), x, t.to(x.dtype), self.on("concept", a), sees,
                      self.settings["heads"])  # fmt: skip
        return (x - start) / scale
