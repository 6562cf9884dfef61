"""Decoding-time control: DECIDER, which moves the next-token distribution and no activation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import LogitsProcessor

from odesteer_tl._check import require_texts
from odesteer_tl.plain import Model

#: `tokens so far [batch, pos] → marked tokens [vocab] or [batch, vocab]`: what a rule engine says of the next token
Rule = Callable[[Int[Tensor, "batch pos"]], Bool[Tensor, "*batch vocab"]]


class Decider(LogitsProcessor):
    """DECIDER's decision function: `softmax(z + α · I ⊙ P)` with `P = softmax(z)` and `I` the tokens a rule marks.

    In probabilities, `P′ᵢ ∝ Pᵢ · exp(α Iᵢ Pᵢ)`: for α > 0 the marked tokens gain together, those most that the model
    itself finds likely, and the order within the marked and within the unmarked tokens stays. The push is at most α.

    A transformers logits processor. TransformerLens's `model.generate` takes the argument `logits_processor` and
    ignores it in silence, so generate with the wrapped model:
    `model.hf_generate(prompts, logits_processor=LogitsProcessorList([decider]))`. Steering hooks work there too.

    A reconstruction (Xu et al., DECIDER, arXiv 2403.01954: base model, logical reasoner, decision function) of the
    decision function alone. Its first-order-logic reasoner is whatever `rule` is, and its perturbation of attention
    is left out.

    Args:
        rule: the marked tokens for the tokens so far; `stem_rule` makes one from word stems.
        alpha: strength α in nats: what a marked token of probability 1 gains. 0 changes nothing, negative discourages.

    Raises:
        ValueError: alpha is not finite.
    """

    def __init__(self, rule: Rule, alpha: float) -> None:
        if not math.isfinite(alpha):
            raise ValueError(f"alpha={alpha} must be finite; to forbid all unmarked tokens, mask their logits instead")
        self.rule = rule
        self.alpha = alpha

    def __call__(
        self, input_ids: Int[Tensor, "batch pos"], scores: Float[Tensor, "batch vocab"]
    ) -> Float[Tensor, "batch vocab"]:
        """The logits z + α · I ⊙ softmax(z), in the dtype of z.

        Raises:
            ValueError: the rule returned something else than a boolean mask over this vocabulary.
        """
        marked = self.rule(input_ids)
        if marked.dtype != torch.bool or marked.shape not in (scores.shape, scores.shape[1:]):
            raise ValueError(
                f"rule returned {tuple(marked.shape)} {marked.dtype}, but the logits are {tuple(scores.shape)}; "
                "return a boolean mask [vocab] or [batch, vocab] as wide as the logits"
            )
        push = self.alpha * scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))
        return torch.where(marked.to(scores.device), scores + push, scores).to(scores.dtype)


def stem_rule(model: Model, stems: Sequence[str]) -> Rule:
    """A rule that marks, always, every token whose text begins with one of the stems, in any case.

    Tokens are read one by one: a word of several tokens is marked where its first token already shows the stem, and a
    piece from the middle of a word that happens to begin so is marked too.

    Args:
        model: whose vocabulary is read.
        stems: beginnings of words.

    Returns:
        The rule, for `Decider`.

    Raises:
        ValueError: no stems, or one that begins no token of this vocabulary.
    """
    stems = require_texts("stems", stems)
    tokenizer: Any = model.tokenizer
    # the logits may be wider than the tokenizer (padded for speed) or narrower (tokens added without new weights)
    n = min(len(tokenizer), int(model.cfg.d_vocab))
    special = set(tokenizer.all_special_ids)
    words = [
        "" if i in special else word.strip().lower()
        for i, word in enumerate(tokenizer.batch_decode([[i] for i in range(n)]))
    ]
    wanted = [stem.strip().lower() for stem in stems]
    missing = [stem for stem in wanted if not stem or not any(word.startswith(stem) for word in words)]
    if missing or not wanted:
        raise ValueError(
            f"stems={list(stems)}: {missing or 'none given'} begin no token of this vocabulary; shorten them"
        )
    mask = torch.zeros(int(model.cfg.d_vocab), dtype=torch.bool)
    mask[:n] = torch.tensor([word.startswith(tuple(wanted)) for word in words])
    return lambda input_ids: mask
