"""Blocks left out, replaced or recorded in a forward pass, and decoding token by token with them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

#: a block's forward, given the one it replaces
Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass
class Decoder:
    """One token a prompt at a time, from the prompts' keys and values; hooks on the model act as in any pass."""

    model: TransformerBridge
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
        self.attention_mask = torch.cat([self.attention_mask, torch.ones_like(tokens)], dim=1)
        if self.cache is None:
            self.cache = DynamicCache()
        known = None if self.cache.get_seq_length() == 0 else edited
        with replaced(self.model, {} if known is None else {layer: returning(known)}, 0 if known is None else layer):
            logits = self.model(tokens, attention_mask=self.attention_mask, past_key_values=self.cache)[:, -1]
        # a block that did not run has no keys for the token, which nobody will ask for; their number is asked for
        for kept in () if known is None else self.cache.layers[: layer + 1]:
            assert isinstance(kept, DynamicLayer)
            assert kept.keys is not None
            assert kept.values is not None
            kept.update(kept.keys[:, :, -1:], kept.values[:, :, -1:])
        return logits


@torch.no_grad()
def unembed(
    model: TransformerBridge, residuals: Float[Tensor, "batch pos d_model"]
) -> Float[Tensor, "batch pos vocab"]:
    """Logits of the stream after the last block: final norm, unembedding, and whatever the model does with them."""
    n_layers = int(model.cfg.n_layers)
    tokens = torch.zeros(residuals.shape[:2], dtype=torch.long, device=residuals.device)
    with replaced(model, {n_layers - 1: returning(residuals)}, skip=n_layers - 1):
        return model(tokens)


def extensible(cache: Cache | None) -> Cache | None:
    """A copy of the prompt's cache which a pass may extend without touching ours.

    Cache layers of the kinds let through extend themselves by concatenation, so a shallow copy does.
    """
    if cache is None:
        return None
    own = copy.copy(cache)
    own.layers = [copy.copy(layer) for layer in cache.layers]
    return own


def forward(
    model: TransformerBridge,
    tokens: Int[Tensor, "batch pos"],
    mask: Int[Tensor, "batch pos"],
    start: int,
    cache: Cache | None,
    last: int,
    until: int | None = None,
) -> Float[Tensor, "batch last vocab"]:
    """Logits at the last positions; the tokens before `start` are in the cache. `until` is the last block needed."""
    stops = until is not None and until + 1 < int(model.cfg.n_layers)
    end: dict[str, Any] = {"stop_at_layer": until + 1} if stops and until is not None else unembed_last(model, last)
    out = model(tokens[:, start:], attention_mask=mask, past_key_values=cache, **end)
    return out[:, -last:]


def unembed_last(model: TransformerBridge, last: int) -> dict[str, int]:
    """The argument that unembeds the last positions alone, where the model has it."""
    known = inspect.signature(type(model.original_model).forward).parameters
    return {"logits_to_keep": last} if "logits_to_keep" in known else {}


def returning(edited: Tensor) -> Wrap:
    return lambda forward: lambda hidden_states, *args, **kwargs: edited


def recording(found: dict[int, Tensor], layer: int) -> Wrap:
    def wrap(forward: Callable[..., Any]) -> Callable[..., Any]:
        def record(*args: Any, **kwargs: Any) -> Any:
            out = forward(*args, **kwargs)
            if not isinstance(out, Tensor):
                raise ValueError(
                    f"model: block {layer} returns a {type(out).__name__}, not the residual stream alone, and cannot "
                    "be replaced; run full passes with hooks instead"
                )
            found[layer] = out
            return out

        return record

    return wrap


@contextmanager
def replaced(model: TransformerBridge, wraps: Mapping[int, Wrap], skip: int) -> Generator[None]:
    """Blocks with wrapped forwards, those before `skip` as identities; leaving restores them, whatever happened."""
    blocks: Any = model.blocks
    identities: dict[int, Wrap] = {i: (lambda forward: lambda hidden_states, *args, **kwargs: hidden_states)
                                   for i in range(skip)}  # fmt: skip
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
