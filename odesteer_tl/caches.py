"""Caches: activations that were had another way, as those that `collect_activations` returns.

A TransformerLens cache, or a dict of its tensors, holds every token of a batch and does not say which are padding. So
a position is either told in columns, or which tokens are real is told beside it; it is never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens import ActivationCache

from odesteer_tl._check import require_finite, require_one_of
from odesteer_tl.activations import Activations, LayerActivations
from odesteer_tl.models import ModelIdentity
from odesteer_tl.plain import Model
from odesteer_tl.reading import COLUMN_A_TEXT, POOLS
from odesteer_tl.sites import ALIASES, BLOCK_OUTPUT, SITES, Layer, Place, place, site_of

#: a cache, or its tensors by layer or by the name of a hook point
Cached = ActivationCache | Mapping[Any, Tensor]
#: which tokens of a batch are real
Masks = tuple[Bool[Tensor, "n pos"], Bool[Tensor, "m pos"]]
#: what is taken of each text: a rule, a column (from the end if negative), or each text's own column
Position = str | int | tuple[Int[Tensor, " n"], Int[Tensor, " m"]]


def activations_from_caches(
    positive: Cached,
    negative: Cached,
    layers: Layer | list[Layer] | tuple[Layer, ...] | range = "all",
    position: Position = "last",
    *,
    mask: Masks | None = None,
    site: str | None = None,
    model: Model | ModelIdentity | None = None,
) -> Activations:
    """Activations of two classes from what `run_with_cache` returned, or from the tensors of it.

    Args:
        positive, negative: an `ActivationCache`, or a dict from a layer's number or a hook point's name to a tensor
            [batch, pos, *width].
        layers: "all" that both hold, or as in `collect_activations`.
        position: "last", "mean" or "all" of the real tokens, one column for all texts (−1 is the last one, whatever
            stands there), or a column a text for either class.
        mask: the tokens that are real, for both classes; which "last", "mean" and "all" need where there are several
            texts: a cache does not know its padding.
        site: where in the block, by default its output.
        model: what they came from; a cache knows it.

    Returns:
        Float32 CPU tensors by layer.

    Raises:
        ValueError: a layer is not in both, the model or the padding is not known, shapes do not fit, or an activation
            is NaN or infinite.
    """
    identity = _identity(positive, negative, model)
    caches = {"positive": _tensors(positive), "negative": _tensors(negative)}
    if isinstance(layers, str) and layers == "all":
        at_all = [Place(n, BLOCK_OUTPUT if site is None else site_of(site)) for n in range(identity.n_layers)]
        places = [at for at in at_all if all(_find(cache, at) is not None for cache in caches.values())]
    else:
        asked = layers if isinstance(layers, list | tuple | range) else [layers]
        places = [place(layer, site, identity.n_layers) for layer in asked]
    if len({at.site for at in places}) != 1:
        raise ValueError(
            f"layers={layers!r} with site={site!r} must name layers of one site that both caches hold; they have "
            f"{sorted(str(key) for key in caches['positive'])[:6]} …"
        )
    found: dict[int, LayerActivations] = {}
    for at in places:
        sides: list[Tensor] = []
        for k, (name, cache) in enumerate(caches.items()):
            x = _find(cache, at)
            if x is None:
                raise ValueError(f"{name} holds no {at.hook_name!r}; it has {sorted(str(key) for key in cache)[:6]} …")
            own = position[k] if isinstance(position, tuple) else position
            sides.append(_taken(name, _batched(name, x, at), own, None if mask is None else mask[k]))
            require_finite(f"activations at layer {at.layer} ({name})", sides[-1])
        found[at.layer] = LayerActivations(sides[0], sides[1])
    rule = COLUMN_A_TEXT if isinstance(position, tuple) else position
    taken = {"source": "caches", "position": rule, "layers": list(found), "site": places[0].site}
    return Activations(found, identity, taken)


def _identity(positive: Cached, negative: Cached, model: Model | ModelIdentity | None) -> ModelIdentity:
    """What the caches came from: said, or known to them."""
    known = [model] if model is not None else [x.model for x in (positive, negative) if isinstance(x, ActivationCache)]
    found = [x if isinstance(x, ModelIdentity) else ModelIdentity.of(x) for x in known if x is not None]  # pyright: ignore
    if not found:
        raise ValueError("model is missing: tensors do not say what they came from; pass model=, the bridge")
    if any(x != found[0] for x in found):
        raise ValueError("positive and negative come from two models; use one")
    return found[0]


def _tensors(cache: Cached) -> Mapping[Any, Tensor]:
    return cache.cache_dict if isinstance(cache, ActivationCache) else cache


def _find(cache: Mapping[Any, Tensor], at: Place) -> Tensor | None:
    """A cache's tensor of a place, under any name of it, or of a stream of width d_model under its layer's number."""
    names: list[int | str] = [f"blocks.{at.layer}.{name}" for name, site in ALIASES.items() if site == at.site]
    numbers = [at.layer] if SITES[at.site] == ("d_model",) else []
    return next((cache[key] for key in [*names, *numbers] if key in cache), None)


def _batched(name: str, x: Tensor, at: Place) -> Float[Tensor, "batch pos *width"]:
    """A cache's tensor, its batch axis there, float32 on the CPU."""
    axes = len(SITES[at.site])
    if x.ndim == axes + 1:  # a cache without its batch axis
        x = x[None]
    if x.ndim != axes + 2:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)} at {at.hook_name!r}; pass [batch, pos, …] with {axes} axes of width"
        )
    return x.detach().float().cpu()


def _taken(
    name: str, x: Float[Tensor, "batch pos *width"], position: str | int | Tensor, mask: Tensor | None
) -> Float[Tensor, "rows *width"]:
    """The rows of one class."""
    size = x.shape[:2]
    if not isinstance(position, str):
        columns = torch.as_tensor(position).cpu()
        if columns.ndim > 1 or columns.numel() not in (1, len(x)) or columns.is_floating_point():
            raise ValueError(f"position={position} is not one column, or one for each of the {len(x)} texts of {name}")
        if bool(((columns < -size[1]) | (columns >= size[1])).any()):
            raise ValueError(f"position={position} is not a column of {name}, which has {size[1]}")
        return x[torch.arange(len(x)), columns]
    require_one_of("position", position, POOLS)
    if mask is None and len(x) > 1:
        raise ValueError(
            f"mask is missing: position={position!r} is of the real tokens, and a cache does not say which of its "
            f"{size[1]} columns are padding in each of {len(x)} texts; pass mask=(positive, negative), or position=-1 "
            "for the last column"
        )
    real = torch.ones(size, dtype=torch.bool) if mask is None else mask.cpu().bool()
    if real.shape != size or not bool(real.any(1).all()):
        raise ValueError(f"mask of {name} is {tuple(real.shape)} with {int(real.any(-1).sum())} rows that are not "
                         f"empty; it must have a real token in each of {tuple(size)}")  # fmt: skip
    if position == "last":  # whichever side the padding is on
        return x[torch.arange(len(x)), size[1] - 1 - real.int().flip(1).argmax(1)]
    return POOLS[position](x, real)
