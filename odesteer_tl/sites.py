"""Sites: the hook points of a block that can be read and steered, by every name TransformerLens users type for them.

A place is a layer and a site. Either may be given by itself (`layer=12, site="resid_mid"`), or both in the name of a
hook point (`layer="blocks.12.hook_resid_mid"`, which is what `get_act_name("resid_mid", 12)` returns). Sites are kept
by the names that mean the same on every architecture; what a name stands for on one model, the bridge says: with norms
behind attention and MLP (Gemma 2, OLMo 2), `hook_attn_out` and `hook_mlp_out` are what is added to the stream.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

from odesteer_tl._check import as_integer

#: the residual stream after the block
BLOCK_OUTPUT = "hook_out"
#: what each attention head writes, before the output projection mixes the heads
HEADS = "attn.hook_z"

#: a site's name within its block → the configuration's names for its axes behind [batch, pos]
SITES = {
    BLOCK_OUTPUT: ("d_model",),
    "hook_resid_pre": ("d_model",),
    "hook_resid_mid": ("d_model",),
    "hook_attn_out": ("d_model",),
    "hook_mlp_out": ("d_model",),
    HEADS: ("n_heads", "d_head"),
}
#: what people type → a key of `SITES`
ALIASES = {
    **{name: name for name in SITES},
    **{name.removeprefix("hook_"): name for name in SITES if name.startswith("hook_") and name != BLOCK_OUTPUT},
    "resid_post": BLOCK_OUTPUT,
    "hook_resid_post": BLOCK_OUTPUT,
    "hook_in": "hook_resid_pre",
    "z": HEADS,
    "hook_z": HEADS,
}
#: what a layer is given by: its number, from the front or from the end, or the name of a hook point in it
Layer = SupportsIndex | str
if TYPE_CHECKING:
    from odesteer_tl.plain import Model

    GivenLayer = int  # what a steerer has, whichever way it was given
else:
    GivenLayer = Layer
_FULL_NAME = re.compile(r"blocks\.(\d+)\.(.+)")


class Place(NamedTuple):
    """A hook point of a block.

    Attributes:
        layer: 0-based.
        site: a key of `SITES`.
    """

    layer: int
    site: str

    @property
    def hook_name(self) -> str:
        """The name by which every bridge that has it finds it."""
        return f"blocks.{self.layer}.{self.site}"


def place(layer: Layer, site: str | None = None, n_layers: int | None = None, model: Model | None = None) -> Place:
    """What `layer=` and `site=` mean, whichever of their names was typed.

    Args:
        layer: a number, negative ones counted from the end, or the full name of a hook point.
        site: a site's name, also a full one; left out, the layer's name says it, and otherwise it is the block's
            output.
        n_layers: how many blocks there are, which a negative layer needs; the model's own where there is a model.
        model: whose own hook names (`ln2.hook_in`) are understood too, and on which the place must exist.

    Raises:
        ValueError: an unknown site, a layer that does not exist or is no whole number, two names that contradict
            each other, or a site that this model does not have.
    """
    if model is not None:
        n_layers = int(model.cfg.n_layers)
    named = [parts for x in (layer, site) if isinstance(x, str) and (parts := _FULL_NAME.fullmatch(x))]
    if isinstance(layer, str):
        if not (named and named[0].string == layer):
            raise ValueError(
                f"layer={layer!r} is neither a number nor the full name of a hook point in a block; use 12, -1 or "
                "'blocks.12.hook_resid_post'"
            )
        number = int(named[0][1])
    else:
        number = _index(layer, n_layers)
    if n_layers is not None and not 0 <= number < n_layers:
        raise ValueError(f"layer={layer!r} is out of range; this model has layers 0 to {n_layers - 1}")
    said = {_site(parts[2], number, model) for parts in named}
    if site is not None and not _FULL_NAME.fullmatch(site):
        said.add(_site(site, number, model))
    if len(said) > 1 or any(int(parts[1]) != number for parts in named):
        raise ValueError(f"layer={layer!r} and site={site!r} name two places; give one of them")
    found = Place(number, said.pop() if said else BLOCK_OUTPUT)
    if model is not None:
        _require_hook(model, found)
    return found


def site_of(site: str) -> str:
    """A site's own name, a key of `SITES`, from any name of it within a block.

    Raises:
        ValueError: an unknown site.
    """
    if site not in ALIASES:
        short = ", ".join(repr(name) for name in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z"))
        raise ValueError(f"site={site!r} is unknown; choose one of {short}, or a full name of one")
    return ALIASES[site]


def places(model: Model, layers: Layer | Sequence[Layer], site: str | None = None) -> tuple[list[int], str]:
    """The layers and the one site that `layers=` and `site=` mean on a model; `"all"` is every layer.

    Raises:
        ValueError: see `place`; or there is no layer, or the layers name several sites.
    """
    every = isinstance(layers, str) and layers == "all"
    wanted = range(int(model.cfg.n_layers)) if every else given_layers("layers", layers)
    found = list(dict.fromkeys(place(layer, site, model=model) for layer in wanted))
    sites = {each.site for each in found}
    if len(sites) != 1:
        raise ValueError(f"layers={layers!r} name {len(sites)} sites; ask for one site a call")
    return [each.layer for each in found], sites.pop()


def given_layers(name: str, layers: Layer | Iterable[Layer]) -> list[int | str]:
    """Layers as numbers and full names of hook points, from one of them or several, whatever the model.

    Args:
        name: of the argument, for messages.

    Raises:
        ValueError: there is none, or one is neither an integer nor the full name of a hook point.
    """
    one = isinstance(layers, str) or not isinstance(layers, Iterable) or getattr(layers, "ndim", 1) == 0
    each: list[Any] = [layers] if one else list(layers)  # pyright: ignore[reportArgumentType]
    if not each:
        raise ValueError(f"{name}={layers!r} is empty; name at least one")
    found: list[int | str] = []
    for i, layer in enumerate(each):
        label = name if one else f"{name}[{i}]"
        if isinstance(layer, str) and not _FULL_NAME.fullmatch(layer):
            raise ValueError(
                f"{label}={layer!r} is neither a number nor the full name of a hook point in a block; use 12, -1 or "
                "'blocks.12.hook_resid_post'"
            )
        found.append(layer if isinstance(layer, str) else as_integer(label, layer))
    return found


def site_hook(model: Model, layer: Layer, site: str) -> str:
    """The name of a block's hook point on this model.

    Raises:
        ValueError: `layer` or `site` is unknown or not on this model.
    """
    return place(layer, site, model=model).hook_name


def site_shape(model: Model, site: str) -> tuple[int, ...]:
    """Axes of a site's activations behind [batch, pos]: (d_model,), or (n_heads, d_head) at the heads."""
    from odesteer_tl.plain import head_shape

    return head_shape(model) if site_of(site) == HEADS else (int(model.cfg.d_model),)


def site_width(model: Model, site: str) -> int:
    """Width of a site's activations, all axes behind [batch, pos] flattened into one."""
    return prod(site_shape(model, site))


def _index(layer: SupportsIndex, n_layers: int | None) -> int:
    """A layer's number from the front; out-of-range numbers are returned as they are."""
    try:
        number = operator.index(layer)
    except TypeError:
        number = None
    if number is None or isinstance(layer, bool):
        raise ValueError(f"layer={layer!r} is not a whole number; use 12, -1 or 'blocks.12.hook_resid_post'")
    if number >= 0:
        return number
    if n_layers is None:
        raise ValueError(f"layer={layer} counts from the end of a model that is not known here; use 0 or more")
    return number + n_layers if number >= -n_layers else number


def _site(name: str, layer: int, model: Model | None) -> str:
    """A site from a name within its block, which may be a model's own name for it."""
    if name not in ALIASES and model is not None:
        hooks = model.hook_dict
        point = hooks.get(f"blocks.{layer}.{name}")
        same = [x for x in SITES if point is not None and hooks.get(Place(layer, x).hook_name) is point]
        if same:
            return same[0]
    return site_of(name)


def _require_hook(model: Model, found: Place) -> None:
    from odesteer_tl.models import model_name, resid_hook  # which need TransformerLens, as a place does not

    resid_hook(model, found.layer)
    if found.hook_name in model.hook_dict:
        return
    if found.site == "hook_resid_mid":
        why = "its attention and its MLP read the same residual stream, so there is none between them"
    elif found.site == HEADS:
        having = [i for i in range(int(model.cfg.n_layers)) if Place(i, HEADS).hook_name in model.hook_dict]
        why = f"block {found.layer} has no attention heads, " + (
            f"only layers {having} have; name one of those" if having else "nor has any other"
        )
    else:
        why = f"it has no {found.hook_name!r}"
    raise ValueError(f"site={found.site!r} is not on {model_name(model)!r}: {why}; use 'resid_pre' or 'resid_post'")
