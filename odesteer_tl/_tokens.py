"""Tokens of texts: all of them, with one BOS where there should be one, or a refusal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from odesteer_tl._check import require_texts, warn
from odesteer_tl.models import model_name, require_tokenizer
from odesteer_tl.plain import Model


def text_tokens(model: Model, text: str, prepend_bos: bool | None = None) -> Int[Tensor, " pos"]:
    """The tokens of a text on the CPU, none cut off; a text that begins with the BOS token gets no second one."""
    tokenizer = require_tokenizer(model)
    bos = tokenizer.bos_token
    if bos and text.startswith(bos):
        own = tokenizer(text, add_special_tokens=False)["input_ids"]
        if own[:1] == [tokenizer.bos_token_id]:  # not so where the vocabulary does not hold it as one token
            return torch.tensor(own)
    return model.to_tokens(text, prepend_bos=prepend_bos, truncate=False, move_to_device=False)[0]


def fitting_tokens(
    model: Model, text: str, prepend_bos: bool | None = None, *, reserve: int = 0
) -> Int[Tensor, " pos"]:
    """`text_tokens` of a text that fits the model's context with `reserve` tokens to spare.

    TransformerLens cuts a longer text on the right without a word, and its last token is then not the text's last.

    Raises:
        ValueError: it does not fit.
    """
    tokens = text_tokens(model, text, prepend_bos)
    context = int(model.cfg.n_ctx)
    if len(tokens) + reserve > context:
        taken = f" with {reserve} tokens to be generated" if reserve else ""
        raise ValueError(
            f"text {_shown(text)} has {len(tokens)} tokens{taken}, and the model's context is {context}; "
            "cut its beginning off, so that its last token stays what it is, or leave it out"
        )
    return tokens


def tokens_of(
    model: Model, name: str, texts: Iterable[str], prepend_bos: bool | None = None, *, reserve: int = 0
) -> list[Int[Tensor, " _"]]:
    """`fitting_tokens` of every text; warns where most of a text is unknown to the tokenizer.

    Args:
        name: of the argument that holds the texts, for messages.

    Raises:
        ValueError: no texts, something that is not a sequence of texts, or one that does not fit.
    """
    texts = require_texts(name, texts)
    if not texts:
        raise ValueError(f"{name} is empty; pass at least one text")
    rows = [fitting_tokens(model, text, prepend_bos, reserve=reserve) for text in texts]
    _warn_of_unknown(model, name, texts, rows)
    return rows


def left_padded(
    model: Model, rows: Sequence[Int[Tensor, " _"]]
) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch pos"]]:
    """Rows of tokens as one batch padded on the left, and 1 where a token is real.

    The mask comes from the lengths: a pad token that stands in a text is real.
    """
    tokenizer: Any = model.tokenizer
    pad = 0 if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
    width = max(len(row) for row in rows)
    tokens = torch.full((len(rows), width), pad)
    mask = torch.zeros_like(tokens)
    for i, row in enumerate(rows):
        tokens[i, width - len(row) :] = row
        mask[i, width - len(row) :] = 1
    return tokens, mask


def special_ids(model: Model) -> list[int]:
    """Tokens that stand for no piece of text: BOS, EOS, padding, marks of a chat template; not the unknown token."""
    tokenizer: Any = model.tokenizer
    marked: set[int] = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    named = [getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "eos", "pad", "cls", "sep")]
    # where one token has several names, as in GPT-2, it is special
    return sorted(
        (marked | set(tokenizer.all_special_ids)) - {tokenizer.unk_token_id} | {i for i in named if i is not None}
    )


def is_special(model: Model, tokens: Int[Tensor, "*batch pos"]) -> Bool[Tensor, "*batch pos"]:
    """Which tokens are `special_ids`."""
    return torch.isin(tokens, torch.tensor(special_ids(model), device=tokens.device))


def _warn_of_unknown(model: Model, name: str, texts: Sequence[str], rows: Sequence[Int[Tensor, " _"]]) -> None:
    tokenizer: Any = model.tokenizer
    unknown = tokenizer.unk_token_id
    # byte-level vocabularies know everything, and use the name for another token
    if unknown is None or unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
        return
    special = is_special(model, torch.cat(list(rows))).split([len(row) for row in rows])
    counts = [(int((row == unknown).sum()), int((~own).sum())) for row, own in zip(rows, special, strict=True)]
    mostly = [i for i, (missed, n) in enumerate(counts) if 2 * missed > n]
    if mostly:
        share = sum(missed for missed, _ in counts) / sum(n for _, n in counts)
        warn(
            f"{name}: most tokens of {len(mostly)} of {len(texts)} texts are unknown to the tokenizer of "
            f"{model_name(model)!r} ({share:.0%} of all; first {name}[{mostly[0]}]={_shown(texts[mostly[0]])}), "
            f"which reads {tokenizer.unk_token!r} there; use texts of its vocabulary, or another model"
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:40]}…{text[-20:]}")
