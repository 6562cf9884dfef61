"""Spans: at which token of a text a completion begins, read off the tokenisation of the whole text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxtyping import Int
from torch import Tensor

if TYPE_CHECKING:
    from odesteer_tl.contrast import ContrastSet

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


def completion_starts(tokenizer: Any, contrast: ContrastSet, rows: Sequence[Int[Tensor, " _"]]) -> list[int]:
    """`completion_start` of every text of a contrast that remembers its prompts, positive ones first.

    Args:
        rows: the tokens of every text, in that order.

    Raises:
        ValueError: the contrast knows no prompts, or see `completion_start`.
    """
    if contrast.positive_prompts is None or contrast.negative_prompts is None:
        raise ValueError(
            "contrast does not know where its completions begin; make it with ContrastSet.from_completions or "
            "from_chat (of chats that end with the assistant's turn), or read it at 'last'"
        )
    texts, lengths = contrast.positive + contrast.negative, contrast.positive_prompts + contrast.negative_prompts
    return [completion_start(tokenizer, *each) for each in zip(texts, lengths, rows, strict=True)]


def _shown(text: str, characters: int) -> str:
    return f"{text[:characters][-30:]!r} + {text[characters:][:30]!r}"
