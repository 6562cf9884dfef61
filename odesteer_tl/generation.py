"""Text generation that knows its prompt length, masks its padding and seeds its sampling."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

from odesteer_tl._tokens import fitting_tokens
from odesteer_tl._turn import turn
from odesteer_tl.hooks import HooksFor
from odesteer_tl.models import require_local

_SAMPLING = threading.RLock()


@dataclass(frozen=True)
class Generated:
    """One batch of continued prompts.

    Attributes:
        tokens: padded prompt and continuation.
        prompt_length: columns of the (left-padded) prompt.
        starts: the column of each row's first token.
        ends: the column behind each row's last token, its first generated EOS left out.
    """

    tokens: Int[Tensor, "batch pos"]
    prompt_length: int
    starts: list[int]
    ends: list[int]


def generate(
    model: TransformerBridge,
    prompts: Sequence[str],
    hooks_for: HooksFor | None = None,
    *,
    max_new_tokens: int = 20,
    temperature: float = 1.0,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
    prepend_bos: bool | None = None,
    completions_only: bool = False,
) -> list[str]:
    """Continue every prompt; one text a prompt, in order.

    Args:
        hooks_for: the hooks for a prompt length, as `steerer.hooks`; left out, nothing is steered.
        temperature: 0 is greedy.
        seed: of the sampling, which is done in a forked random state: the caller's is left as it was.
        batch_size: prompts a batch; padding is on the left and masked.
        completions_only: leave the prompt out of the returned texts.

    Returns:
        One text a prompt, in order.

    Raises:
        ValueError: no prompts, a setting out of range, or a prompt that with `max_new_tokens` exceeds the context.
    """
    batches = generate_tokens(
        model, prompts, hooks_for, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p,
        repetition_penalty=repetition_penalty, seed=seed, batch_size=batch_size, prepend_bos=prepend_bos,
    )  # fmt: skip
    return [text for batch in batches for text in decode(model, batch, completions_only)]


@torch.no_grad()
def generate_tokens(
    model: TransformerBridge,
    prompts: Sequence[str],
    hooks_for: HooksFor | None = None,
    *,
    max_new_tokens: int = 20,
    temperature: float = 1.0,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
    prepend_bos: bool | None = None,
) -> list[Generated]:
    """`generate`, before decoding; `hooks_for` is called once a batch."""
    require_local(model)
    if not prompts:
        raise ValueError("prompts is empty; pass at least one text")
    if max_new_tokens < 1 or temperature < 0 or batch_size < 1:
        raise ValueError(
            f"max_new_tokens={max_new_tokens} and batch_size={batch_size} must be at least 1 and "
            f"temperature={temperature} at least 0"
        )
    # before anything is generated; learned positions fail beyond the context, and rotary ones go on untrained
    lengths = [len(fitting_tokens(model, prompt, prepend_bos, reserve=max_new_tokens)) for prompt in prompts]
    sampling: dict[str, Any] = (
        {"do_sample": False} if temperature == 0 else {"do_sample": True, "temperature": temperature, "top_p": top_p}
    )
    tokenizer: Any = model.tokenizer
    found: list[Generated] = []
    starts = range(0, len(prompts), batch_size)
    # the random state that is seeded is the process's, not the thread's
    with _SAMPLING, torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in tqdm(starts, desc="generating", disable=len(starts) < 4, leave=False):
            batch = list(prompts[start : start + batch_size])
            own = lengths[start : start + batch_size]
            length = max(own)
            with turn(model), model.hooks(fwd_hooks=[] if hooks_for is None else hooks_for(length)):
                tokens = model.generate(
                    batch, max_new_tokens=max_new_tokens, repetition_penalty=repetition_penalty, verbose=False,
                    prepend_bos=prepend_bos, padding_side="left", return_type="tokens", **sampling,
                )  # fmt: skip
            assert isinstance(tokens, Tensor)
            ended = (tokens[:, length:] == tokenizer.eos_token_id).int()
            # a row without an EOS keeps all its tokens
            kept = torch.where(ended.any(1), ended.argmax(1), tokens.shape[1] - length) + length
            found.append(Generated(tokens, length, [length - n for n in own], kept.tolist()))
    return found


def decode(model: TransformerBridge, batch: Generated, completions_only: bool = False) -> list[str]:
    """Texts without padding and BOS, cut at the first generated EOS (which not every tokenizer calls special)."""
    tokenizer: Any = model.tokenizer
    start = batch.prompt_length if completions_only else 0
    rows = [row[start:end] for row, end in zip(batch.tokens, batch.ends, strict=True)]
    return tokenizer.batch_decode(rows, skip_special_tokens=True)
