"""Texts as a frozen model is trained through: batches in which every prompt ends at one column."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odesteer_tl._tokens import is_special, tokens_of
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.hooks import HooksFor
from odesteer_tl.plain import Model, hooked
from odesteer_tl.spans import completion_start


@dataclass(frozen=True)
class Batch:
    """Texts padded on both sides, so that all completions begin at column `prompt`.

    Attributes:
        tokens, mask: all columns, and 1 where a token is real.
        prompt: columns of the padded prompts; position rules are told it.
        targets, real: the completions' tokens, and which are no padding.
    """

    tokens: Int[Tensor, "batch pos"]
    mask: Int[Tensor, "batch pos"]
    prompt: int

    @property
    def targets(self) -> Int[Tensor, "batch n"]:
        """With padding, which `real` leaves out."""
        return self.tokens[:, self.prompt :]

    @property
    def real(self) -> Bool[Tensor, "batch n"]:
        """Of `targets`."""
        return self.mask[:, self.prompt :].bool()


@dataclass(frozen=True)
class Texts:
    """Tokenised texts, with the index of each completion's first token."""

    rows: list[Int[Tensor, " _"]]
    starts: list[int]

    @classmethod
    def of(
        cls, model: Model, texts: Sequence[str], prompts: Sequence[int] | None, prepend_bos: bool | None, name: str
    ) -> Texts:
        """Read texts; of one without a prompt its first token of text is the prompt (a BOS before it too).

        Args:
            prompts: how many characters at each text's beginning are its prompt.

        Raises:
            ValueError: a text has nothing behind its prompt, or see `tokens_of` and `completion_start`.
        """
        rows = tokens_of(model, name, texts, prepend_bos)
        if prompts is not None:
            given = zip(texts, prompts, rows, strict=True)
            return cls(rows, [completion_start(model.tokenizer, *each) for each in given])
        starts: list[int] = []
        for i, row in enumerate(rows):
            leading = is_special(model, row).long().cumprod(0).sum()
            starts.append(int(leading) + 1)
            if starts[-1] >= len(row):
                raise ValueError(f"{name}[{i}]={texts[i]!r} is one token, and nothing follows it; drop it")
        return cls(rows, starts)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_tokens(self) -> int:
        """Tokens of all texts."""
        return sum(len(row) for row in self.rows)

    def batch(self, which: Sequence[int], device: Any) -> Batch:
        """Some of the texts, in this order."""
        rows, starts = [self.rows[i] for i in which], [self.starts[i] for i in which]
        prompt = max(starts)
        tokens = torch.zeros(len(rows), prompt + max(len(r) - s for r, s in zip(rows, starts, strict=True))).long()
        mask = torch.zeros_like(tokens)
        for i, (row, start) in enumerate(zip(rows, starts, strict=True)):
            at = slice(prompt - start, prompt - start + len(row))
            tokens[i, at], mask[i, at] = row, 1
        return Batch(tokens.to(device), mask.to(device), prompt)


def sides_of(model: Model, contrast: ContrastSet, prepend_bos: bool | None) -> tuple[Texts, Texts]:
    """Both classes of a contrast."""
    bos = contrast.prepend_bos if prepend_bos is None else prepend_bos
    return (
        Texts.of(model, contrast.positive, contrast.positive_prompts, bos, "positive"),
        Texts.of(model, contrast.negative, contrast.negative_prompts, bos, "negative"),
    )


def predicted(model: Model, batch: Batch, hooks_for: HooksFor | None) -> Float[Tensor, "batch n vocab"]:
    """Logits of the completions' tokens, in float32; gradients pass where they are enabled."""
    with hooked(model, [] if hooks_for is None else hooks_for(batch.prompt)) as run:
        known = inspect.signature(run.forward).parameters
        n = batch.targets.shape[1] + 1
        told: dict[str, Any] = {"logits_to_keep": n} if "logits_to_keep" in known else {}
        if "position_ids" in known:
            told["position_ids"] = (batch.mask.cumsum(1) - 1).clamp_min(0)
        if "use_cache" in known:
            told["use_cache"] = False
        return run(input_ids=batch.tokens, attention_mask=batch.mask, **told).logits[:, -n:-1].float()


def log_likelihood(
    logits: Float[Tensor, "batch n vocab"], targets: Int[Tensor, "batch n"], real: Bool[Tensor, "batch n"]
) -> Float[Tensor, " batch"]:
    """log p of each completion, in nats."""
    # (log_softmax of all would be kept for the backward pass beside the logits)
    chosen = logits.gather(-1, targets[..., None]).squeeze(-1) - logits.logsumexp(-1)
    return chosen.where(real, 0.0).sum(-1)


def divergence(
    steered: Float[Tensor, "batch n vocab"], plain: Float[Tensor, "batch n vocab"], real: Bool[Tensor, "batch n"]
) -> Float[Tensor, ""]:
    """Mean KL(steered ‖ plain) of the next-token distributions, in nats a token."""
    p, q = steered.log_softmax(-1), plain.log_softmax(-1)
    each = (p.exp() * (p - q)).sum(-1)
    return each.where(real, 0.0).sum() / real.sum()


@contextmanager
def frozen(model: Model) -> Generator[None]:
    """No parameter of the model requires a gradient inside the block; leaving it restores each."""
    module: Any = model.original_model
    wanted = [p for p in module.parameters() if p.requires_grad]
    try:
        for p in wanted:
            p.requires_grad_(False)
        yield
    finally:
        for p in wanted:
            p.requires_grad_(True)
