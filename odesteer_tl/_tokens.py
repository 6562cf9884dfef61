"""Tokens of a text: all of them, or a refusal."""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge


def fitting_tokens(
    model: TransformerBridge, text: str, prepend_bos: bool | None = None, *, reserve: int = 0
) -> Int[Tensor, " pos"]:
    """The tokens of a text that fits the model's context with `reserve` tokens to spare, on the CPU.

    TransformerLens cuts a longer text on the right without a word, and its last token is then not the text's last.

    Raises:
        ValueError: it does not fit.
    """
    tokens = model.to_tokens(text, prepend_bos=prepend_bos, truncate=False, move_to_device=False)[0]
    context = int(model.cfg.n_ctx)
    if len(tokens) + reserve > context:
        taken = f" with {reserve} tokens to be generated" if reserve else ""
        shown = text if len(text) <= 60 else f"{text[:40]}…{text[-20:]}"
        raise ValueError(
            f"text {shown!r} has {len(tokens)} tokens{taken}, and the model's context is {context}; "
            "cut its beginning off, so that its last token stays what it is, or leave it out"
        )
    return tokens
