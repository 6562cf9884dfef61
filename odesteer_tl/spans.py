"""Spans: at which token of a text a completion begins, read off the tokenisation of the whole text."""

from __future__ import annotations

from typing import Any

from jaxtyping import Int
from torch import Tensor

#: how tokens that hold the space before them are written, by byte-level and by SentencePiece vocabularies
SPACES = ("Ġ", "▁")


def completion_start(tokenizer: Any, text: str, characters: int, tokens: Int[Tensor, " pos"]) -> int:
    """The index in `tokens` of the first token behind the first `characters` characters of a text.

    The text is tokenised whole, since a completion has other tokens alone than behind its prompt, and the tokenizer
    says where each token stands in it.

    Args:
        tokenizer: a fast one of transformers, which knows the offsets of its tokens.
        tokens: the text's tokens as the model reads them, with or without a BOS before them.

    Raises:
        ValueError: one token holds the prompt's end and the completion's beginning, the completion has no token, the
            tokenizer gives no offsets, or `tokens` is not how it reads this text.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"tokenizer={type(tokenizer).__name__} does not say where its tokens stand in a text, so where a "
            "completion begins is not known; load a fast tokenizer, or read at 'last'"
        )
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = list(read["input_ids"]), list(read["offset_mapping"])
    first = next((i for i, (_, end) in enumerate(offsets) if end > characters), None)
    if first is None:
        raise ValueError(f"text {_shown(text, characters)} has no token behind its prompt; give it a completion")
    begin, token = offsets[first][0], str(tokenizer.convert_ids_to_tokens(ids[first]))
    if token.startswith(SPACES):  # some tokenizers leave the space out of the offsets of the token that holds it
        begin = min(begin, offsets[first - 1][1] if first else 0)
    if begin < characters:
        raise ValueError(
            f"text {_shown(text, characters)}: the token {token!r} holds the prompt's end and the completion's "
            "beginning; move the boundary to where a token begins, often before the space"
        )
    count = len(ids) - first
    if tokens[-count:].tolist() != ids[first:]:
        raise ValueError(
            f"text {_shown(text, characters)} is read as other tokens by the model than by its tokenizer alone; read "
            "it at 'last' or at an integer"
        )
    return len(tokens) - count


def _shown(text: str, characters: int) -> str:
    return f"{text[:characters][-30:]!r} + {text[characters:][:30]!r}"
