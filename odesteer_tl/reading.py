"""Reading positions: which tokens of a text its activations are taken at, and how they are made into rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, SupportsIndex

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odesteer_tl._check import as_integer, require_one_of
from odesteer_tl._tokens import is_special
from odesteer_tl.plain import Model
from odesteer_tl.spans import completion_starts

if TYPE_CHECKING:
    from odesteer_tl.contrast import ContrastSet

PoolFn = Callable[[Float[Tensor, "batch pos *width"], Bool[Tensor, "batch pos"]], Float[Tensor, "rows *width"]]
#: a word, a token's index within the text, or a function of all tokens
Pool = Literal["last", "mean", "all", "completion", "completion_last", "first", "answer"] | SupportsIndex | PoolFn


def _last(x: Float[Tensor, "batch pos *width"], mask: Bool[Tensor, "batch pos"]) -> Float[Tensor, "batch *width"]:
    # texts are padded on the right, so the last real token stands at length − 1
    return x[torch.arange(len(x), device=x.device), mask.sum(1) - 1]


def _mean(x: Float[Tensor, "batch pos *width"], mask: Bool[Tensor, "batch pos"]) -> Float[Tensor, "batch *width"]:
    weights = mask.float() / mask.sum(1, keepdim=True)
    return torch.einsum("bp...,bp->b...", x.float(), weights)


def _all(x: Float[Tensor, "batch pos *width"], mask: Bool[Tensor, "batch pos"]) -> Float[Tensor, "rows *width"]:
    return x[mask]


POOLS: dict[str, PoolFn] = {"last": _last, "mean": _mean, "all": _all}
#: the pools over tokens, which leave special ones out
OVER_TOKENS = ("mean", "all")
#: words for tokens of a completion → what pools them; an index is pooled as one token is
COMPLETIONS = {"completion": "mean", "completion_last": "all", "first": "all"}
ALIASES = {"answer": "first"}
#: what provenance says where every text's own column was told
COLUMN_A_TEXT = "a column a text"


def position_of(position: Pool, name: str = "position") -> str | int | PoolFn:
    """A position under its own name, or as a Python integer.

    Args:
        name: of the argument, for the message.

    Raises:
        ValueError: it is no position.
    """
    if isinstance(position, str):
        require_one_of(name, position, [*POOLS, *COMPLETIONS, *ALIASES])
        return ALIASES.get(position, position)
    if callable(position):
        return position
    return as_integer(name, position)


def position_name(position: str | int | PoolFn) -> str | int:
    """What provenance says of a position; a function is called by its own name, if that is not a position's."""
    if isinstance(position, str | int):
        return position
    name = str(getattr(position, "__name__", "callable"))
    return f"callable {name}" if name in (*POOLS, *COMPLETIONS) else name


def one_row_a_text(position: object) -> bool:
    """Whether a position that provenance names gives every text one row; of a function nobody knows."""
    return isinstance(position, int) or position in ("last", "mean", *COMPLETIONS, COLUMN_A_TEXT)


def averages_tokens(position: object) -> bool:
    """Whether several tokens of a text are read at a position, so that one of them may outweigh the others."""
    return position in (*OVER_TOKENS, "completion")


def pool_of(position: str | int | PoolFn) -> str | PoolFn:
    """What makes rows of the tokens that `tokens_read` names: a key of `POOLS`, or the function itself."""
    if isinstance(position, int):
        return "all"
    return COMPLETIONS.get(position, position) if isinstance(position, str) else position


def tokens_read(
    model: Model,
    contrast: ContrastSet,
    rows: Sequence[Int[Tensor, " _"]],
    position: str | int | PoolFn,
    special_tokens: bool,
) -> list[Bool[Tensor, " _"]]:
    """Which tokens of every text a pool over tokens takes; for "last" and functions those that a mean would.

    Args:
        rows: the tokens of every text, positive ones first.
        special_tokens: whether special tokens are among those of a mean; one token that is asked for may be special.

    Raises:
        ValueError: a text has no such token, has only special ones where they are left out, or it is not known where
            its completion begins.
    """
    if isinstance(position, int):
        return [_one(len(row), _index(model, contrast, i, row, position)) for i, row in enumerate(rows)]
    taken = [torch.ones_like(row, dtype=torch.bool) if special_tokens else ~is_special(model, row) for row in rows]
    if isinstance(position, str) and position in COMPLETIONS:
        try:
            starts = completion_starts(model.tokenizer, contrast, rows)
        except ValueError as error:
            raise ValueError(f"read_position={position!r}: {error}") from error
        if position != "completion":
            at = starts if position == "first" else [len(row) - 1 for row in rows]
            return [_one(len(row), index) for row, index in zip(rows, at, strict=True)]
        taken = [x & (torch.arange(len(x)) >= start) for x, start in zip(taken, starts, strict=True)]
    if averages_tokens(position):
        _require_some(contrast, taken, position)
    return taken


def _one(length: int, index: int) -> Bool[Tensor, " pos"]:
    return torch.arange(length) == index


def _index(model: Model, contrast: ContrastSet, i: int, row: Int[Tensor, " pos"], position: int) -> int:
    """The column of a text's own token, which a BOS before it is not."""
    bos = getattr(model.tokenizer, "bos_token_id", None)
    before = int(bos is not None and int(row[0]) == bos)
    n = len(row) - before
    if not -n <= position < n:
        raise ValueError(
            f"read_position={position}: {_named(contrast, i)} has {n} tokens behind its BOS, if it has one, so that "
            f"{-n} to {n - 1} can be read; use 'last', or drop the text"
        )
    return before + position % n


def _require_some(contrast: ContrastSet, taken: Sequence[Bool[Tensor, " _"]], position: object) -> None:
    """Raise for a text of special tokens alone, of which a pool over the others has nothing."""
    for i, tokens in enumerate(taken):
        if not bool(tokens.any()):
            raise ValueError(
                f"read_position={position!r}: {_named(contrast, i)} has special tokens only, which are left out; pass "
                "special_tokens=True, or drop the text"
            )


def _named(contrast: ContrastSet, i: int) -> str:
    """The i-th text, positive ones first, by its name."""
    n = len(contrast.positive)
    name, texts, at = ("positive", contrast.positive, i) if i < n else ("negative", contrast.negative, i - n)
    return f"{name}[{at}]={texts[at]!r}"
