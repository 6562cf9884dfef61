"""Continuation: the loop that reads a prompt once and then writes token by token, on any causal language model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

#: `(logits [batch, vocab], tokens so far [batch, pos]) → the next token of every row`
Pick = Callable[[Tensor, Tensor], Tensor]
#: `tokens so far [batch, pos] → rows that are at their end`
Ended = Callable[[Tensor], Tensor]


@torch.no_grad()
def continued(
    run: Any,
    tokens: Int[Tensor, "batch prompt"],
    mask: Int[Tensor, "batch prompt"],
    pick: Pick,
    ended: Ended,
    *,
    max_new_tokens: int,
    fill: int,
) -> Int[Tensor, "batch pos"]:
    """The prompts and what follows them; keys and values are kept where the model has a cache.

    Args:
        run: a transformers model.
        tokens, mask: left-padded prompts, and 1 where a token is real.
        pick: chooses the next tokens; called once a token, with logits that are finite.
        ended: called with all tokens after each one that is written.
        fill: what is written behind a row's end while others go on.

    Returns:
        Up to `max_new_tokens` more columns than `tokens` has; fewer where all rows have ended.

    Raises:
        ValueError: logits are NaN or infinite, of which the largest means nothing.
    """
    known = inspect.signature(run.forward).parameters
    told: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
    caches, cache, cached = "past_key_values" in known, None, 0
    done = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
    for _ in range(max_new_tokens):
        if "position_ids" in known:
            told["position_ids"] = (mask.cumsum(1) - 1).clamp_min(0)[:, cached:]
        if caches:
            told |= {"past_key_values": cache, "use_cache": True}
        out = run(input_ids=tokens[:, cached:], attention_mask=mask, **told)
        if caches:
            cache, cached = out.past_key_values, tokens.shape[1]
        logits = out.logits[:, -1]
        _require_finite(run, logits)
        following = pick(logits, tokens).to(tokens.device).masked_fill(done, fill)
        tokens = torch.cat([tokens, following[:, None]], dim=1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        done = done | ended(tokens)
        if bool(done.all()):
            break
    return tokens


def _require_finite(run: Any, logits: Float[Tensor, "batch vocab"]) -> None:
    # one pass over a wide vocabulary, which a mask of it is not: a sum of finite numbers is finite unless they are huge
    if bool(logits.sum(dtype=torch.promote_types(logits.dtype, torch.float32)).isfinite()):
        return
    finite: Bool[Tensor, " batch"] = logits.isfinite().all(-1)
    if not bool(finite.all()):
        raise ValueError(
            f"model={type(run).__name__} gives NaN or infinite logits in {logits.dtype} for {int((~finite).sum())} of "
            f"{len(finite)} prompts; half precision overflows first: load it with dtype='float32' or 'bfloat16', or "
            "steer less"
        )
