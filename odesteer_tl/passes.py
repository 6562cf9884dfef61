"""Forward passes: what a model is told of the tokens in one, and so where each token stands in its own text.

A hook sees `[batch, pos, width]` and nothing of where `pos` begins: neither the length of a pass nor the shape of an
attention pattern says it under chunked prefill, kept or static caches, sliding windows or speculative decoding. The
arguments that the model itself is called with do. `listen` has a model keep them while a pass runs.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import ref

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

_RUNNING = threading.local()
#: names under which models take a cache and return it
CACHES = ("past_key_values", "cache_params")


@dataclass(frozen=True)
class Tokens:
    """The tokens of one pass, each in its own text.

    Attributes:
        position: 0 for the first token of a row's text; −1 for padding.
        prompt: tokens of each row's prompt, its padding left out; None where no prompt length was given.
        told: the pass.
    """

    position: Int[Tensor, "batch pos"]
    prompt: Int[Tensor, "batch 1"] | None
    told: Pass

    @property
    def special(self) -> Bool[Tensor, "batch pos"]:
        """Which are special to the tokenizer: BOS, EOS, padding, the marks of a chat's turns.

        Raises:
            ValueError: the model was given embeddings.
        """
        if self.told.input_ids is None:
            raise ValueError(
                "positions: this rule must know the special tokens, but the model was given inputs_embeds; pass "
                "input_ids, or use positions='all_and_bos'"
            )
        return torch.isin(self.told.input_ids.cpu(), torch.tensor(self.told.special_ids))


@dataclass(frozen=True)
class Pass:
    """What a model is told in one forward pass.

    Attributes:
        batch, length: of the tokens in this pass.
        cached: tokens that the cache held before it.
        mask: the attention mask, if it was told one.
        position_ids: the positions, if it was told them.
        input_ids: the tokens; None where embeddings stand in their place.
        special_ids: ids of the tokenizer's special tokens.
        caches: the cache that it reads and, behind the pass, the one that it left; not kept alive by that.
    """

    batch: int
    length: int
    cached: int
    mask: Any
    position_ids: Tensor | None
    input_ids: Tensor | None
    special_ids: tuple[int, ...]
    caches: list[ref[Any]] = field(default_factory=list[ref[Any]])

    def follows(self, earlier: Pass | None) -> bool:
        """Whether it reads the cache that an earlier pass left."""
        left = [] if earlier is None else [cache() for cache in earlier.caches]
        return self.cached > 0 and any(cache() is x for cache in self.caches for x in left if x is not None)

    def tokens(self, prompt_length: int | None) -> Tokens:
        """Where each token of the pass stands in its own text.

        Args:
            prompt_length: columns of the padded prompt.

        Raises:
            ValueError: what the model was told does not say where its rows begin.
        """
        real = self.real
        own = torch.where(real, real.cumsum(1) - 1, -1)[:, self.cached : self.cached + self.length]
        return Tokens(own, None if prompt_length is None else self._prompts(prompt_length), self)

    @cached_property
    def real(self) -> Bool[Tensor, "batch known"]:
        """Which columns hold a text, from the first cached one on, as far as the model was told; on the CPU."""
        seen = self.cached + self.length
        if isinstance(self.mask, Tensor) and self.mask.ndim == 2:
            if self.mask.shape[1] < seen:
                raise ValueError(
                    f"attention_mask has {self.mask.shape[1]} columns, but the cache holds {self.cached} tokens and "
                    f"the pass {self.length}; pass a mask of all {seen}"
                )
            return (self.mask != 0).cpu()
        if self.position_ids is not None:
            starts = self._starts(self.position_ids.cpu())
            return torch.arange(seen) >= starts
        if self.mask is not None:
            raise ValueError(
                f"attention_mask is a prepared {_described(self.mask)} and there are no position_ids, so that nothing "
                "says where each row begins; pass position_ids, or a mask of shape [batch, tokens]"
            )
        return torch.ones(self.batch, seen, dtype=torch.bool)

    def _starts(self, ids: Tensor) -> Int[Tensor, "batch 1"]:
        """The column of each row's first token, from positions that count on to the end of the pass."""
        if ids.ndim == 1:
            ids = ids[None]
        last = self.cached + self.length - 1
        columns = torch.arange(self.cached, last + 1)
        starts = last - ids[..., -1:]
        # a model that was told a mask counts padding as 0 or 1 throughout; without one there is none
        padding = (
            (ids == ids[..., :1]) & (ids <= 1) if self.mask is not None else torch.zeros_like(ids, dtype=torch.bool)
        )
        fits = (starts >= 0) & torch.where(columns < starts, padding, ids == columns - starts)
        if ids.ndim != 2 or not bool(fits.all()):
            raise ValueError(
                f"position_ids={_shortened(ids)} do not count on to the last of the {last + 1} tokens seen so far "
                f"({self.cached} of them in the cache), so that nothing says where each row begins (texts packed into "
                "one row, padding on the right, or a cache that was not passed on); pass an attention_mask of shape "
                "[batch, tokens] beside them, or one text a row"
            )
        return starts.expand(self.batch, 1)

    def _prompts(self, prompt_length: int) -> Int[Tensor, "batch 1"]:
        """Tokens of each row's prompt, of which the model may have been told a part so far."""
        real = self.real
        known = real.shape[1]
        if known < prompt_length and bool((real[:, :-1] & ~real[:, 1:]).any()):
            raise ValueError(
                f"prompt_length={prompt_length} reaches beyond the {known} tokens seen so far, and a row has padding "
                "behind its first token, so that nothing says where its prompt ends; pad on the left, or run the "
                "whole prompt in one pass"
            )
        return real[:, :prompt_length].sum(1, keepdim=True) + max(prompt_length - known, 0)


class Listener:
    """A pair of module hooks that keep what a model is told while its pass runs."""

    def __init__(self, special_ids: Collection[int]) -> None:
        self.special_ids = tuple(sorted(special_ids))

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before a forward pass."""
        told = inspect.signature(module.forward).bind_partial(*args).arguments | kwargs if args else kwargs
        _stack().append(_read(told, self.special_ids))

    def end(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """After it, also where it raised."""
        told = _stack().pop() if _stack() else None
        if isinstance(told, Pass):
            parts = output if isinstance(output, tuple) else [getattr(output, name, None) for name in CACHES]
            told.caches.extend(_references(parts))


def listen(model: Any) -> None:
    """Have a model keep what it is told in a pass while that pass runs; it does nothing else, and once is enough.

    Args:
        model: a bridge, or the transformers model in it.
    """
    module, tokenizer = getattr(model, "original_model", model), getattr(model, "tokenizer", None)
    ids = _special_ids(module, tokenizer)
    known = [hook.__self__ for hook in module._forward_pre_hooks.values() if _ours(hook)]
    for listener in known:
        listener.special_ids = tuple(sorted({*listener.special_ids, *ids}))
    if not known:
        listener = Listener(ids)
        module.register_forward_pre_hook(listener.begin, with_kwargs=True)
        module.register_forward_hook(listener.end, always_call=True)


def running_pass() -> Pass:
    """What the model that runs in this thread was told.

    Raises:
        ValueError: no pass of a model that is listened to runs, or it is told of its cache in no way that is known.
    """
    if not _stack():
        raise ValueError(
            "hooks: this model was never shown to odesteer_tl, or a block of it runs outside of a forward pass, so "
            "that nothing says where the tokens stand; use `with steerer.on(model, …)`, or call "
            "`steerer.check(model)` once"
        )
    told = _stack()[-1]
    if isinstance(told, ValueError):
        raise told
    return told


def _stack() -> list[Pass | ValueError]:
    if not hasattr(_RUNNING, "stack"):
        _RUNNING.stack = []
    return _RUNNING.stack


def _read(told: dict[str, Any], special_ids: tuple[int, ...]) -> Pass | ValueError:
    """A pass from the arguments of a model; a refusal is kept until a hook needs what it is about."""
    ids, embeds = told.get("input_ids"), told.get("inputs_embeds")
    given = ids if ids is not None else embeds
    if given is None:
        return ValueError("the model was called with neither input_ids nor inputs_embeds; pass one of them")
    try:
        cached = _cached(told)
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        return ValueError(
            f"the model's cache does not say how many tokens it holds ({error}), so that nothing says where the tokens "
            "stand; generate without a cache (use_cache=False), or with one that knows its length"
        )
    return Pass(
        batch=given.shape[0],
        length=given.shape[1],
        cached=cached,
        mask=told.get("attention_mask"),
        position_ids=told.get("position_ids"),
        input_ids=ids,
        special_ids=special_ids,
        caches=_references(told.get(name) for name in CACHES),
    )


def _references(parts: Iterable[Any]) -> list[ref[Any]]:
    """Those of a pass's inputs or outputs that are caches."""
    return [ref(part) for part in parts if hasattr(part, "get_seq_length")]


def _cached(told: dict[str, Any]) -> int:
    """Tokens in the cache, read now: while the pass runs the cache grows."""
    if told.get("cache_position") is not None:
        return int(told["cache_position"][0])
    caches = [told[name] for name in CACHES if told.get(name) is not None]
    return int(caches[0].get_seq_length()) if caches else 0


def _special_ids(module: Any, tokenizer: Any) -> set[int]:
    """Ids of the special tokens, of the tokenizer where there is one, and of the model's configurations."""
    found: set[int] = set(getattr(tokenizer, "all_special_ids", ()))
    for config in (getattr(module, "config", None), getattr(module, "generation_config", None)):
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            value = getattr(config, name, None)
            found.update(value if isinstance(value, list | tuple) else [] if value is None else [value])
    return found


def _ours(hook: Any) -> bool:
    return isinstance(getattr(hook, "__self__", None), Listener)


def _described(mask: Any) -> str:
    return f"mask of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__


def _shortened(ids: Tensor) -> str:
    row = ids.reshape(-1, ids.shape[-1])[0].tolist()
    return str(row) if len(row) <= 8 else f"[{', '.join(map(str, row[:4]))}, …, {', '.join(map(str, row[-3:]))}]"
