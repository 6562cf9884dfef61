"""Blocks left out, replaced or recorded in a forward pass, and decoding token by token with them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from odesteer_tl._turn import turn
from odesteer_tl.models import model_name
from odesteer_tl.plain import Model, hooked

#: a block's forward, given the one it replaces
Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]
#: by model: what its blocks return beside the stream, such as attention weights, which no model's later blocks read;
#: None where they return the stream alone
_BESIDE: WeakKeyDictionary[nn.Module, int | None] = WeakKeyDictionary()


@dataclass
class Decoder:
    """More tokens a prompt at a time, from the prompts' keys and values; hooks on the model act as in any pass."""

    model: Model
    attention_mask: Int[Tensor, "batch pos"]
    cache: Cache | None

    @torch.no_grad()
    def step(
        self, tokens: Int[Tensor, "batch 1"], layer: int = -1, edited: Float[Tensor, "batch 1 d_model"] | None = None
    ) -> Float[Tensor, "batch vocab"]:
        """Logits behind one more token a prompt.

        Args:
            layer, edited: the stream after that block where it is known, so that the blocks up to it are left out.
        """
        return self._passed(tokens, torch.ones_like(tokens), layer, edited, {}, None).logits[:, -1]

    @torch.no_grad()
    def stream(
        self,
        tokens: Int[Tensor, "batch new"],
        mask: Int[Tensor, "batch new"],
        layer: int = -1,
        edited: Float[Tensor, "batch new d_model"] | None = None,
    ) -> Float[Tensor, "batch new d_model"]:
        """The stream after the last block behind more tokens: what `unembed` makes logits of.

        Args:
            mask: 1 where a token is real; padding is on the right, and nothing follows it.
            layer, edited: the stream after that block where it is known, so that the blocks up to it are left out.
        """
        top, found = int(self.model.cfg.n_layers) - 1, dict[int, Tensor]()
        if layer == top and edited is not None:
            return edited
        self._passed(tokens, mask, layer, edited, {top: recording(self.model, found, top)}, top)
        return found[top]

    def rows(self, rows: Sequence[int]) -> Decoder:
        """The same for some of the prompts, in their order; a prompt may be taken more than once."""
        index = torch.tensor(rows, device=self.attention_mask.device)
        return Decoder(self.model, self.attention_mask[index], extensible(self.cache, index))

    def _passed(
        self, tokens: Tensor, mask: Tensor, layer: int, edited: Tensor | None, wraps: Mapping[int, Wrap],
        until: int | None,
    ) -> Any:  # fmt: skip
        """A pass over more tokens, which are then in the cache."""
        tokens = tokens.to(self.attention_mask.device)
        self.attention_mask = torch.cat([self.attention_mask, mask.to(self.attention_mask)], dim=1)
        if self.cache is None:
            self.cache = DynamicCache()
        skip, known = (0, {}) if edited is None else (layer, {layer: returning(self.model, edited)})
        out = passed(self.model, {**known, **wraps}, skip, tokens, self.attention_mask, self.cache, until=until)
        # a block that did not run has no keys for the tokens, which nobody will ask for; their number is asked for
        for kept in () if edited is None else self.cache.layers[: layer + 1]:
            assert isinstance(kept, DynamicLayer)
            like = kept if kept.get_seq_length() else self.cache.layers[-1]
            assert isinstance(like, DynamicLayer)
            assert like.keys is not None
            assert like.values is not None
            new = (-1, -1, tokens.shape[1], -1)
            kept.update(like.keys[:, :, -1:].expand(new), like.values[:, :, -1:].expand(new))
        return out


@torch.no_grad()
def unembed(model: Model, residuals: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos vocab"]:
    """Logits of the stream after the last block: final norm, unembedding, and whatever the model does with them."""
    n_layers = int(model.cfg.n_layers)
    tokens = torch.zeros(residuals.shape[:2], dtype=torch.long, device=residuals.device)
    if model.original_model not in _BESIDE:
        passed(model, {0: recording(model, {}, 0)}, 0, tokens[:1, :1], torch.ones_like(tokens[:1, :1]), None, until=0)
    wraps = {n_layers - 1: returning(model, residuals)}
    return passed(model, wraps, n_layers - 1, tokens, torch.ones_like(tokens), None, residuals.shape[1]).logits


def extensible(cache: Cache | None, rows: Int[Tensor, " rows"] | None = None) -> Cache | None:
    """A copy of the prompt's cache which a pass may extend without touching ours.

    Cache layers of the kinds let through extend themselves by concatenation, so a shallow copy does.

    Args:
        rows: of these prompts alone.
    """
    if cache is None:
        return None
    own = copy.copy(cache)
    own.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in () if rows is None else own.layers:
        assert isinstance(layer, DynamicLayer)
        if layer.keys is not None and layer.values is not None:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]
    return own


class Enough(Exception):
    """Raised in a forward pass behind the last block that is needed."""


def passed(
    model: Model,
    wraps: Mapping[int, Wrap],
    skip: int,
    tokens: Int[Tensor, "batch new"],
    mask: Int[Tensor, "batch pos"],
    cache: Cache | None,
    last: int = 1,
    until: int | None = None,
) -> Any:
    """What the transformers model returns of a pass in which blocks are wrapped and those before `skip` left out.

    Args:
        tokens, mask: those behind the cached ones, and a mask of both.
        last: how many positions are unembedded, at least.
        until: the last block needed; behind it the pass ends, and None is returned.
    """
    if until is not None:
        wraps = {**wraps, until: _ending(wraps.get(until))}
    with hooked(model, []) as run, replaced(model, wraps, skip), suppress(Enough):
        known = inspect.signature(run.forward).parameters
        told: dict[str, Any] = {"logits_to_keep": last} if "logits_to_keep" in known else {}
        if "position_ids" in known:
            told["position_ids"] = (mask.cumsum(1) - 1).clamp_min(0)[:, mask.shape[1] - tokens.shape[1] :]
        return run(input_ids=tokens, attention_mask=mask, past_key_values=cache, use_cache=True, **told)
    return None


def _ending(wrap: Wrap | None) -> Wrap:
    def ending(forward: Callable[..., Any]) -> Callable[..., Any]:
        inner = forward if wrap is None else wrap(forward)

        def run(*args: Any, **kwargs: Any) -> Any:
            inner(*args, **kwargs)
            raise Enough

        return run

    return ending


def returning(model: Model, edited: Tensor) -> Wrap:
    """A block of a model of which one has run, that returns what it is told to."""
    return lambda forward: lambda hidden_states, *args, **kwargs: _returned(model, edited)


def _returned(model: Model, stream: Tensor) -> Any:
    beside = _BESIDE.get(model.original_model)
    return stream if beside is None else (stream, *[None] * beside)


def recording(model: Model, found: dict[int, Tensor], layer: int) -> Wrap:
    """A block that runs and leaves the stream behind it in `found`."""

    def wrap(forward: Callable[..., Any]) -> Callable[..., Any]:
        def record(*args: Any, **kwargs: Any) -> Any:
            out = forward(*args, **kwargs)
            stream = out[0] if isinstance(out, tuple) and out else out
            if not isinstance(stream, Tensor):
                raise ValueError(
                    f"model={model_name(model)!r}: block {layer} returns a {type(stream).__name__} where the residual "
                    "stream is expected, and cannot be replaced; run full passes with hooks instead"
                )
            _BESIDE[model.original_model] = len(out) - 1 if isinstance(out, tuple) else None
            found[layer] = stream
            return out

        return record

    return wrap


@contextmanager
def replaced(model: Model, wraps: Mapping[int, Wrap], skip: int) -> Generator[None]:
    """Blocks with wrapped forwards, those before `skip` as identities; leaving restores them, whatever happened.

    Other threads wait for the model.
    """
    blocks: Any = model.blocks
    identities: dict[int, Wrap] = {
        i: (lambda forward: lambda hidden_states, *args, **kwargs: _returned(model, hidden_states)) for i in range(skip)
    }
    with turn(model):
        before = {i: blocks[i].__dict__.get("forward") for i in {**identities, **wraps}}
        try:
            for i, wrap in {**identities, **wraps}.items():
                blocks[i].__dict__["forward"] = wrap(blocks[i].forward)
            yield
        finally:
            for i, forward in before.items():
                if forward is None:
                    blocks[i].__dict__.pop("forward", None)
                else:
                    blocks[i].__dict__["forward"] = forward
