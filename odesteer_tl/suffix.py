"""Suffix evaluation: what a model says when one layer's residual stream is replaced, running the later blocks only.

An edit of `resid_post[L]` at positions ≥ `start` changes neither what blocks 0 … L do nor, the model being causal, the
keys and values of the positions before `start`. Both are computed once; a cell of a layer sweep (layer × strength ×
method) then costs the blocks after L on the tokens from `start` on: one token for an edit of the last position.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import Cache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from odesteer_tl._turn import turn
from odesteer_tl.models import require_local, resid_hook

#: a block's forward, given the one it replaces
Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class Prefix:
    """A batch of prompts up to every layer, from which edits are evaluated; made by `collect_prefix`.

    While an evaluation runs, blocks of the model are replaced, and other threads wait for it. Hooks on later blocks
    act as they would in a full pass; hooks on skipped ones do not run.

    Attributes:
        start: the first position that may be edited, in columns of the padded batch.
        residuals: resid_post of every layer at the positions from `start` on, in the model's dtype.
        baseline: the unedited logits at the last position.
    """

    model: TransformerBridge
    tokens: Int[Tensor, "batch pos"]
    attention_mask: Int[Tensor, "batch pos"]
    start: int
    residuals: tuple[Float[Tensor, "batch edited d_model"], ...]
    baseline: Float[Tensor, "batch vocab"]
    cache: Cache | None

    @torch.no_grad()
    def logits(
        self, layer: int, edited: Float[Tensor, "batch edited d_model"], last: int = 1
    ) -> Float[Tensor, "batch last vocab"]:
        """Logits at the `last` last positions when `edited` stands in the place of `residuals[layer]`.

        Nothing is kept between calls, so a loop over strengths takes the memory of one.

        Raises:
            ValueError: no such layer, another shape than `residuals[layer]`, or more positions than were edited.
        """
        self._require(layer, edited)
        if not 1 <= last <= edited.shape[1]:
            raise ValueError(
                f"last={last} must be 1 to {edited.shape[1]}, the positions from start={self.start} on; "
                "earlier positions do not change under the edit"
            )
        with _replaced(self.model, {layer: _returning(edited)}, skip=layer):
            return _forward(self.model, self.tokens, self.attention_mask, self.start, _extensible(self.cache), last)

    @torch.no_grad()
    def later_residuals(
        self, layer: int, edited: Float[Tensor, "batch edited d_model"], layers: Sequence[int]
    ) -> dict[int, Float[Tensor, "batch edited d_model"]]:
        """resid_post of later `layers` when `edited` stands in the place of `residuals[layer]`.

        Raises:
            ValueError: no such layer, one of `layers` is not after `layer`, or another shape than `residuals[layer]`.
        """
        self._require(layer, edited)
        for other in layers:
            resid_hook(self.model, other)
        if not layers or min(layers) <= layer:
            raise ValueError(f"layers={list(layers)} must name at least one layer, each after layer={layer}")
        found: dict[int, Tensor] = {}
        wraps = {layer: _returning(edited)} | {other: _recording(found, other) for other in layers}
        with _replaced(self.model, wraps, skip=layer):
            _forward(self.model, self.tokens, self.attention_mask, self.start, _extensible(self.cache), 1, max(layers))
        return found

    def _require(self, layer: int, edited: Tensor) -> None:
        resid_hook(self.model, layer)
        stored = self.residuals[layer]
        if edited.shape != stored.shape or edited.dtype != stored.dtype:
            raise ValueError(
                f"edited is {tuple(edited.shape)} {edited.dtype} but residuals[{layer}] is {tuple(stored.shape)} "
                f"{stored.dtype}; pass one row a prompt and one column a position from start={self.start} on"
            )


@torch.no_grad()
def collect_prefix(
    model: TransformerBridge,
    tokens: Int[Tensor, "batch pos"],
    attention_mask: Int[Tensor, "batch pos"] | None = None,
    start: int = 0,
) -> Prefix:
    """Run every block once on a batch of prompts and keep what edits at positions ≥ `start` need.

    Args:
        tokens: left-padded prompts.
        attention_mask: 1 where a token is real; left out, all are.
        start: the first column that will be edited; 0 for all positions, −1 for the last alone. Positions that are
            not to be edited may lie after it: put back their `residuals`.

    Returns:
        What `Prefix.logits` and `Prefix.later_residuals` start from.

    Raises:
        ValueError: `start` is out of range, the model is remote or in training mode, its cache is not a plain key-value
            cache, or its blocks exchange more than the residual stream (shared keys and values), so that none can be
            skipped.
    """
    require_local(model)
    n_positions = tokens.shape[1]
    if not -n_positions <= start < n_positions:
        raise ValueError(f"start={start} is out of range; the prompts have columns 0 to {n_positions - 1}")
    mask = torch.ones_like(tokens) if attention_mask is None else attention_mask
    tokens, mask, start = tokens.to(model.cfg.device), mask.to(model.cfg.device), start % n_positions
    found: dict[int, Tensor] = {}
    n_layers = int(model.cfg.n_layers)
    with turn(model):
        cache = _cache_before(model, tokens[:, :start], mask[:, :start]) if start else None
        with _replaced(model, {layer: _recording(found, layer) for layer in range(n_layers)}, skip=0):
            baseline = _forward(model, tokens, mask, start, _extensible(cache), 1)[:, 0]
        prefix = Prefix(model, tokens, mask, start, tuple(found[i] for i in range(n_layers)), baseline, cache)
        _require_skippable(prefix)
    return prefix


def _cache_before(
    model: TransformerBridge, tokens: Int[Tensor, "batch before"], mask: Int[Tensor, "batch before"]
) -> Cache:
    """Keys and values of the positions before the edited ones."""
    _, cache = model(tokens, attention_mask=mask, return_type="logits_and_cache", use_cache=True, **_keep(model, 1))
    kinds = {type(layer) for layer in cache.layers} if isinstance(cache, Cache) else {type(cache)}
    if not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}:
        raise ValueError(
            f"model={model.cfg.model_name!r} keeps its cache as {sorted(kind.__name__ for kind in kinds)}, which "
            "cannot be shared between evaluations; use start=0, which needs no cache"
        )
    return cache


def _extensible(cache: Cache | None) -> Cache | None:
    """A copy of the prompt's cache which a pass may extend without touching ours.

    Cache layers of the kinds let through extend themselves by concatenation, so a shallow copy does.
    """
    if cache is None:
        return None
    own = copy.copy(cache)
    own.layers = [copy.copy(layer) for layer in cache.layers]
    return own


def _forward(
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
    end: dict[str, Any] = {"stop_at_layer": until + 1} if stops and until is not None else _keep(model, last)
    out = model(tokens[:, start:], attention_mask=mask, past_key_values=cache, **end)
    return out[:, -last:]


def _keep(model: TransformerBridge, last: int) -> dict[str, int]:
    """The argument that unembeds the last positions alone, where the model has it."""
    known = inspect.signature(type(model.original_model).forward).parameters
    return {"logits_to_keep": last} if "logits_to_keep" in known else {}


def _require_skippable(prefix: Prefix) -> None:
    """Raise unless the last block gives the same without the earlier ones having run."""
    layer = max(len(prefix.residuals) - 2, 0)
    again = prefix.logits(layer, prefix.residuals[layer])[:, 0]
    scale = float(prefix.baseline.abs().max())
    error = float((again - prefix.baseline).abs().max())
    if not error <= torch.finfo(prefix.residuals[layer].dtype).eps ** 0.5 * scale:
        raise ValueError(
            f"model={prefix.model.cfg.model_name!r}: leaving the blocks before the last out changes its logits by "
            f"{error:.1e}; its blocks exchange more than the residual stream, so run full passes with hooks instead"
        )


def _returning(edited: Tensor) -> Wrap:
    return lambda forward: lambda hidden_states, *args, **kwargs: edited


def _recording(found: dict[int, Tensor], layer: int) -> Wrap:
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
def _replaced(model: TransformerBridge, wraps: Mapping[int, Wrap], skip: int) -> Generator[None]:
    """Blocks with wrapped forwards, those before `skip` as identities; leaving restores them, whatever happened."""
    blocks: Any = model.blocks
    identities: dict[int, Wrap] = {i: (lambda forward: lambda hidden_states, *args, **kwargs: hidden_states)
                                   for i in range(skip)}  # fmt: skip
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
