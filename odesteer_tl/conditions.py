"""Conditions: whether a text is steered at all, decided once, on its prompt, before the steered block is reached.

Conditional activation steering as its authors run it (Lee et al., ICLR 2025; IBM/activation-steering). A gate that is
asked anew at every token is `odesteer_tl.methods.gate`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from odesteer_tl._check import as_integer, require_finite, require_one_of
from odesteer_tl._display import Displayed
from odesteer_tl.passes import Pass, Tokens, running_pass

#: where a condition looks: what enters a block
BLOCK_INPUT = "hook_resid_pre"
#: which tokens of a prompt are pooled
POOLS = ("mean", "last")
#: when a text is steered → the authors' `condition_comparator_threshold_is`
COMPARATORS = {"above": "smaller", "below": "larger"}


@dataclass(frozen=True, repr=False, eq=False)
class Condition(Displayed):
    """When a text is steered: the similarity of its prompt with a vector, above or below a threshold.

    The prompt's states h that enter block `layer` are pooled over its real tokens, the BOS and a chat's marks among
    them as in the authors' code, and compared: `cos(h, tanh(P h))`, `P = c cᵀ / cᵀc`. Neither the length of c matters
    nor its sign. The answer holds for the prompt and all that is written behind it.

    The authors name a comparator by what the *threshold* is: their `condition_comparator_threshold_is="larger"` acts
    where the similarity is below it, "below" here, and their "smaller" is "above". Their code takes c from what
    leaves a block and compares it with what enters it; here both enter it.

    Args:
        layer: 0-based, the block whose input is looked at; or, in a `Steerer` whose model is known, a negative number,
            counted from the end.
        vector: c, [d_model], of any length but 0.
        threshold: that the similarity must pass.
        pool: "mean" over the prompt's tokens, or its "last" token alone.
        comparator: "above" to steer where the similarity is greater than the threshold, "below" where it is less.
        special_tokens: False to leave the BOS and other special tokens out of the mean. In many models the BOS is an
            attention sink, a hundred times as long as other tokens, and the mean of a short prompt is about it alone.
        provenance: anything worth keeping of how it came to be, JSON-able; of `fit_condition`, its F1.

    Raises:
        ValueError: an unknown pool or comparator, or a vector that is zero, NaN or infinite.
    """

    layer: int
    vector: Float[Tensor, " d_model"]
    threshold: float
    pool: str = "mean"
    comparator: str = "above"
    special_tokens: bool = True
    provenance: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer", as_integer("layer", self.layer))
        require_one_of("pool", self.pool, POOLS)
        require_one_of("comparator", self.comparator, COMPARATORS)
        require_finite("vector", self.vector)
        if self.vector.ndim != 1 or not bool(self.vector.any()):
            raise ValueError(
                f"vector has shape {tuple(self.vector.shape)} and norm {float(self.vector.norm()):.3g}; pass one "
                "direction of shape [d_model] that is not zero"
            )
        if not -1 <= self.threshold <= 1:
            raise ValueError(f"threshold={self.threshold} is compared with a cosine; choose one from −1 to 1")
        if self.pool == "last" and not self.special_tokens:
            raise ValueError("special_tokens=False has no meaning at pool='last', which looks at one token; leave it")
        object.__setattr__(self, "vector", self.vector.detach().double().cpu())

    def _facts(self) -> dict[str, object]:
        sign = ">" if self.comparator == "above" else "<"
        return {"steers where": f"similarity {sign} {self.threshold:.4g}", "hook point": self.hook_name,
                "pool": self.pool, "vector": self.vector}  # fmt: skip

    @property
    def hook_name(self) -> str:
        """The hook point looked at."""
        return f"blocks.{self.layer}.{BLOCK_INPUT}"

    def under(self, layer: int, n_layers: int | None = None) -> Condition:
        """The same with its layer counted from the front, if it can be asked before a layer is steered.

        Args:
            layer: the steered one, 0-based.
            n_layers: of the model, which a negative layer of the condition needs.

        Returns:
            The condition.

        Raises:
            ValueError: it lies above the steered layer, or does not exist.
        """
        if self.layer < 0 and n_layers is None:
            raise ValueError(
                f"condition.layer={self.layer} counts from the end of a model that is not known here; use 0 or more"
            )
        at = self.layer if self.layer >= 0 else self.layer + (n_layers or 0)
        if not 0 <= at <= layer:
            raise ValueError(
                f"condition.layer={self.layer} is no layer up to the steered one, {layer}, which has run when a later "
                f"one is reached; use one from 0 to {layer}"
            )
        return replace(self, layer=at)

    def similarity(self, h: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch"]:
        """`cos(h, tanh(P h))` of pooled states; 0, its limit, where they are orthogonal to the vector.

        Args:
            h: pooled states.

        Returns:
            One number from −1 to 1 a state, in float32 at least.
        """
        h = h.to(torch.promote_types(h.dtype, torch.float32))
        unit = (self.vector / self.vector.norm()).to(device=h.device, dtype=h.dtype)
        projected = torch.tanh((h @ unit)[..., None] * unit)
        lengths = h.norm(dim=-1) * projected.norm(dim=-1)
        return torch.where(lengths > 0, (h * projected).sum(-1) / lengths, 0.0)

    def holds(self, h: Float[Tensor, "*batch d_model"]) -> Bool[Tensor, "*batch"]:
        """Whether texts with these pooled states are steered.

        Args:
            h: pooled states.

        Returns:
            One truth value a state.
        """
        similarity = self.similarity(h)
        return similarity > self.threshold if self.comparator == "above" else similarity < self.threshold

    def counted(self, tokens: Tokens) -> Bool[Tensor, "batch pos"]:
        """Which tokens of a pass are pooled.

        Args:
            tokens: of the pass, with the prompt's length.

        Returns:
            The mask, on the CPU.
        """
        assert tokens.prompt is not None
        if self.pool == "last":
            return tokens.position == tokens.prompt - 1
        inside = (tokens.position >= 0) & (tokens.position < tokens.prompt)
        return inside if self.special_tokens else inside & ~tokens.special


class Verdict:
    """What a condition says of the prompts of one batch, and keeps saying while they are continued.

    A pass without a cache begins anew, so that a text which is run whole for every token is judged by its prompt as
    one with a cache is. A pass with a cache must go on from the pass before it.

    Args:
        condition: what is asked.
        prompt_length: columns of the padded prompt.
    """

    def __init__(self, condition: Condition, prompt_length: int) -> None:
        self.condition, self.prompt_length = condition, prompt_length
        self._asked: Pass | None = None
        self._sum, self._count = torch.empty(0), torch.empty(0)
        self._acts: Bool[Tensor, " batch"] | None = None

    def ask(self, x: Float[Tensor, "batch pos d_model"], hook: Any = None) -> None:
        """The hook of the condition's block: looks at the tokens of the prompt, and changes nothing.

        Raises:
            ValueError: nothing says which prompts the rows of a cached pass belong to, or no token of a prompt counts.
        """
        told = running_pass()
        counted = self.condition.counted(told.tokens(self.prompt_length)).to(x.device)
        # the last token is all that is looked at: whatever a cache holds before it
        alone = self.condition.pool == "last" and bool(counted.any(1).all())
        if told.cached == 0 or alone:
            self._acts = None
            self._sum, self._count = torch.zeros((), device=x.device), torch.zeros((), device=x.device)
        else:
            self._require_same_rows(told)
        self._asked = told
        if self._acts is not None:
            return
        wide = torch.promote_types(x.dtype, torch.float32)
        # padding may hold anything, infinities too
        self._sum = self._sum + x.detach().to(wide).masked_fill(~counted[..., None], 0.0).sum(1)
        self._count = self._count + counted.sum(1, keepdim=True)
        if told.cached + told.length >= self.prompt_length:
            self._acts = self._decided()

    def applied(self, mask: Bool[Tensor, "batch pos"], told: Pass) -> Bool[Tensor, "batch pos"]:
        """The tokens to steer, of rows that are to be steered at all.

        Raises:
            ValueError: the condition's block did not run in this pass, or tokens are to be steered before the prompt
                is complete.
        """
        where = f"condition at {self.condition.hook_name!r}"
        if self._asked is not told:
            raise ValueError(
                f"{where} was not asked in this pass, which began behind it or replaced its block; run the whole model"
            )
        if self._acts is not None:
            return mask & self._acts[:, None]
        if bool(mask.any()):
            raise ValueError(
                f"{where} is decided on the whole prompt of {self.prompt_length} columns, of which only "
                f"{told.cached + told.length} have been read when tokens of it are to be steered; read the prompt in "
                "one pass, or use positions='generated'"
            )
        return mask

    def _decided(self) -> Bool[Tensor, " batch"]:
        if bool((self._count == 0).any()):
            row = int((self._count == 0).flatten().nonzero()[0])
            raise ValueError(
                f"condition: the prompt of row {row} has no token to look at; give it one, or use special_tokens=True"
            )
        pooled = self._sum / self._count
        require_finite(f"states at {self.condition.hook_name!r}", pooled)
        return self.condition.holds(pooled).cpu()

    def _require_same_rows(self, told: Pass) -> None:
        """Raise unless a pass goes on from the one before it, row by row."""
        where, before = f"condition at {self.condition.hook_name!r}", self._asked
        if before is None or not told.follows(before):
            raise ValueError(
                f"{where} has no verdict on the {told.cached} tokens that the cache already holds, which were read "
                "without this steerer, before another prompt, or into a cache that was copied since; run the whole "
                "prompt under the steerer and pass on the cache that it leaves"
            )
        if told.batch != before.batch:
            raise ValueError(
                f"{where} was decided for {before.batch} prompts, but the pass has {told.batch} rows, so that nothing "
                "says which row belongs to which; keep the batch as it is, or run the prompts of the rows that are left"
            )
        n = min(self.prompt_length, before.real.shape[1], told.real.shape[1])
        if not torch.equal(before.real[:, :n], told.real[:, :n]):
            raise ValueError(
                f"{where}: the rows of this pass begin elsewhere than those that were decided on, so they were "
                "reordered; keep the prompts in their order"
            )
