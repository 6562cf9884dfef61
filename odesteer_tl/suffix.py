"""Suffix evaluation: what a model says when one layer's residual stream is replaced, running the later blocks only.

An edit of `resid_post[L]` at positions ≥ `start` changes neither what blocks 0 … L do nor, the model being causal, the
keys and values of the positions before `start`. Both are computed once; a cell of a layer sweep (layer × strength ×
method) then costs the blocks after L on the tokens from `start` on: one token for an edit of the last position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from odesteer_tl._turn import turn
from odesteer_tl.blocks import Decoder, Enough, Wrap, extensible, passed, recording, returning, unembed
from odesteer_tl.hooks import HookFn
from odesteer_tl.models import hosted, model_name
from odesteer_tl.plain import AnyModel, Model, hooked
from odesteer_tl.sites import BLOCK_OUTPUT, Layer, place

#: prompts by which it is seen whether blocks can be left out
CHECKED = 4


@dataclass(frozen=True)
class Prefix:
    """A batch of prompts up to every layer, from which edits are evaluated; made by `collect_prefix`.

    While an evaluation runs, blocks of the model are replaced, and other threads wait for it. Hooks on later blocks
    act as they would in a full pass; hooks on skipped ones do not run.

    Attributes:
        start: the first position that may be edited, in columns of the padded batch.
        residuals: resid_post of every layer at the positions from `start` on, in the model's dtype.
    """

    model: Model
    tokens: Int[Tensor, "batch pos"]
    attention_mask: Int[Tensor, "batch pos"]
    start: int
    residuals: tuple[Float[Tensor, "batch edited d_model"], ...]
    cache: Cache | None

    @property
    def baseline(self) -> Float[Tensor, "batch vocab"]:
        """The unedited logits at the last position; not kept, and read anew each time."""
        return unembed(self.model, self.residuals[-1][:, -1:])[:, 0]

    @torch.no_grad()
    def logits(
        self, layer: Layer, edited: Float[Tensor, "batch edited d_model"], last: int = 1
    ) -> Float[Tensor, "batch last vocab"]:
        """Logits at the `last` last positions when `edited` stands in the place of `residuals[layer]`.

        Nothing is kept between calls, so a loop over strengths takes the memory of one.

        Args:
            layer: a number, a negative one from the end, or a name of the block's output
                ("blocks.12.hook_resid_post").

        Raises:
            ValueError: no such layer or another place in it than its output, another shape than `residuals[layer]`, or
                more positions than were edited.
        """
        layer = self._require(layer, edited)
        if not 1 <= last <= edited.shape[1]:
            raise ValueError(
                f"last={last} must be 1 to {edited.shape[1]}, the positions from start={self.start} on; "
                "earlier positions do not change under the edit"
            )
        return self._passed({layer: returning(self.model, edited)}, layer, last).logits[:, -last:]

    @torch.no_grad()
    def later_residuals(
        self, layer: Layer, edited: Float[Tensor, "batch edited d_model"], layers: Sequence[Layer]
    ) -> dict[int, Float[Tensor, "batch edited d_model"]]:
        """resid_post of later `layers`, by number, when `edited` stands in the place of `residuals[layer]`.

        Args:
            layer, layers: as in `logits`.

        Raises:
            ValueError: no such layer, one of `layers` is not after `layer`, or another shape than `residuals[layer]`.
        """
        layer = self._require(layer, edited)
        if not layers or min(self._layer(other) for other in layers) <= layer:
            raise ValueError(f"layers={list(layers)} must name at least one layer, each after layer={layer}")
        layers = [self._layer(other) for other in layers]
        found: dict[int, Tensor] = {}
        wraps = {layer: returning(self.model, edited)} | {
            other: recording(self.model, found, other) for other in layers
        }
        self._passed(wraps, layer, 1, max(layers))
        return found

    def final(
        self, layer: Layer, edited: Float[Tensor, "batch edited d_model"]
    ) -> Float[Tensor, "batch edited d_model"]:
        """resid_post of the last block when `edited` stands in the place of `residuals[layer]`.

        What `unembed` makes logits of, a few rows at a time where all of them would not fit.

        Raises:
            ValueError: as `logits` does.
        """
        top = len(self.residuals) - 1
        if self._require(layer, edited) == top:
            return edited
        return self.later_residuals(layer, edited, [top])[top]

    @torch.no_grad()
    def hooked(
        self, layer: Layer, hooks: Sequence[tuple[str, HookFn]], look_back: bool = False
    ) -> Float[Tensor, "batch edited d_model"]:
        """resid_post of a layer while hooks act on blocks up to it, its own output included; later blocks do not run.

        For edits that are not of one block's output. What comes of it can stand in the place of `residuals[layer]`
        wherever the hooks leave the positions before `start` as they are.

        Args:
            hooks: `(name, fn)` pairs, as `Steerer.hooks(prefix.start + 1)` gives them.
            look_back: whether they look at the tokens before the one they steer (`VectorField.context`): those before
                `start` are then run under them as well, which costs their pass.

        Raises:
            ValueError: as `logits` does.
        """
        number, found = self._layer(layer), list[Tensor]()

        def look(x: Tensor, hook: Any = None) -> None:
            found.append(x)
            raise Enough

        with hooked(self.model, [*hooks, (f"blocks.{number}.{BLOCK_OUTPUT}", look)]):
            if look_back and self.start:
                before = slice(self.start)
                passed(self.model, {}, 0, self.tokens[:, before], self.attention_mask[:, before], None)
            self._passed({}, 0, 1)
        return found[-1]

    def rows(self, rows: slice | Sequence[int]) -> Prefix:
        """The same for some of the prompts, in their order; padding stays as it is."""
        index = torch.arange(len(self.tokens))[rows] if isinstance(rows, slice) else torch.tensor(rows)
        return replace(
            self, tokens=self.tokens[index], attention_mask=self.attention_mask[index],
            cache=extensible(self.cache, index), residuals=tuple(x[index] for x in self.residuals),
        )  # fmt: skip

    @torch.no_grad()
    def followed_by(
        self, tokens: Int[Tensor, "batch more"], attention_mask: Int[Tensor, "batch more"], layer: Layer | None = None
    ) -> Prefix:
        """The prompts with more tokens behind them, from the keys and values that are here.

        Args:
            tokens, attention_mask: of what follows, padded on the right; `baseline` is then of the last column.
            layer: the only one of whose residuals use will be made: later blocks are not run, and all other residuals
                are NaN and take no memory.
        """
        device = self.tokens.device
        both = torch.cat([self.tokens, tokens.to(device)], dim=1)
        mask = torch.cat([self.attention_mask, attention_mask.to(device)], dim=1)
        wanted = None if layer is None else self._layer(layer)
        return replace(
            self, tokens=both, attention_mask=mask,
            residuals=_residuals(self.model, both, mask, self.start, self.cache, wanted),
        )  # fmt: skip

    def decoder(self) -> Decoder:
        """Decoding behind the prompts from their last token on, which is the first to be passed to `step`."""
        if self.start != self.tokens.shape[1] - 1:
            raise ValueError(f"start={self.start} is not the prompts' last column; collect the prefix with start=-1")
        return Decoder(self.model, self.attention_mask[:, :-1], extensible(self.cache))

    def _passed(self, wraps: Mapping[int, Wrap], skip: int, last: int, until: int | None = None) -> Any:
        new, cache = self.tokens[:, self.start :], extensible(self.cache)
        return passed(self.model, wraps, skip, new, self.attention_mask, cache, last, until)

    def _layer(self, layer: Layer) -> int:
        """A layer's number; only what a block writes stands between what has run and what is to run."""
        found = place(layer, model=self.model)
        if found.site != BLOCK_OUTPUT:
            raise ValueError(
                f"layer={layer!r} is not a block's output, and only that is replaced; use {found.layer} or "
                f"'blocks.{found.layer}.hook_resid_post'"
            )
        return found.layer

    def _require(self, layer: Layer, edited: Tensor) -> int:
        """The layer's number, if `edited` can stand in the place of its output."""
        number = self._layer(layer)
        stored = self.residuals[number]
        if edited.shape != stored.shape or edited.dtype != stored.dtype:
            raise ValueError(
                f"edited is {tuple(edited.shape)} {edited.dtype} but residuals[{number}] is {tuple(stored.shape)} "
                f"{stored.dtype}; pass one row a prompt and one column a position from start={self.start} on"
            )
        return number


@torch.no_grad()
def collect_prefix(
    model: AnyModel,
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
    model = hosted(model)
    n_positions = tokens.shape[1]
    if not -n_positions <= start < n_positions:
        raise ValueError(f"start={start} is out of range; the prompts have columns 0 to {n_positions - 1}")
    mask = torch.ones_like(tokens) if attention_mask is None else attention_mask
    tokens, mask, start = tokens.to(model.cfg.device), mask.to(model.cfg.device), start % n_positions
    with turn(model):
        cache = _cache_before(model, tokens[:, :start], mask[:, :start]) if start else None
        prefix = Prefix(model, tokens, mask, start, _residuals(model, tokens, mask, start, cache), cache)
        _require_skippable(prefix)
    return prefix


def _residuals(
    model: Model, tokens: Tensor, mask: Tensor, start: int, cache: Cache | None, wanted: int | None = None
) -> tuple[Tensor, ...]:
    """resid_post of every layer, or of the wanted one alone, from `start` on."""
    found: dict[int, Tensor] = {}
    layers = range(int(model.cfg.n_layers))
    wraps = {layer: recording(model, found, layer) for layer in (layers if wanted is None else [wanted])}
    passed(model, wraps, 0, tokens[:, start:], mask, extensible(cache), until=max(wraps))
    if wanted is None:
        return tuple(found[i] for i in layers)
    nothing = found[wanted].new_full((), torch.nan).expand(found[wanted].shape)
    return tuple(found[i] if i == wanted else nothing for i in layers)


def _cache_before(model: Model, tokens: Int[Tensor, "batch before"], mask: Int[Tensor, "batch before"]) -> Cache:
    """Keys and values of the positions before the edited ones."""
    cache: Any = getattr(passed(model, {}, 0, tokens, mask, None), "past_key_values", None)
    kinds = {type(layer) for layer in cache.layers} if isinstance(cache, Cache) else {type(cache)}
    if not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}:
        how = (
            "has no cache of keys and values"
            if cache is None
            else f"keeps its cache as {sorted(kind.__name__ for kind in kinds)}, which cannot be shared by evaluations"
        )
        raise ValueError(f"model={model_name(model)!r} {how}; use start=0, which needs no cache")
    return cache


def _require_skippable(prefix: Prefix) -> None:
    """Raise unless, for a few prompts, the last block gives the same without the earlier ones having run."""
    some = prefix.rows(slice(0, CHECKED))
    layer = max(len(some.residuals) - 2, 0)
    again = some.logits(layer, some.residuals[layer])[:, 0]
    expected = some._passed({}, 0, 1).logits[:, -1]  # pyright: ignore[reportPrivateUsage]
    scale = float(expected.abs().max())
    error = float((again - expected).abs().max())
    if not error <= torch.finfo(some.residuals[layer].dtype).eps ** 0.5 * scale:
        raise ValueError(
            f"model={model_name(prefix.model)!r}: leaving the blocks before the last out changes its logits by "
            f"{error:.1e}; its blocks exchange more than the residual stream, so run full passes with hooks instead"
        )
