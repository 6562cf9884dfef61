"""Sites: the hook points of a block that can be steered, and the shape of what they carry."""

from __future__ import annotations

from math import prod

from transformer_lens.model_bridge import TransformerBridge

from odesteer_tl._check import require_one_of
from odesteer_tl.models import resid_hook

#: the residual stream after the block
BLOCK_OUTPUT = "hook_out"
#: what each attention head writes, before the output projection mixes the heads
HEADS = "attn.hook_z"

#: a site's name within its block → the configuration's names for its axes behind [batch, pos]
SITES = {BLOCK_OUTPUT: ("d_model",), HEADS: ("n_heads", "d_head")}


def site_hook(model: TransformerBridge, layer: int, site: str) -> str:
    """The name of a block's hook point on this model.

    Raises:
        ValueError: `layer` is not in 0 … n_layers − 1, or the site is unknown or not on this model.
    """
    require_one_of("site", site, SITES)
    resid_hook(model, layer)
    name = f"blocks.{layer}.{site}"
    if name not in model.hook_dict:
        raise ValueError(f"site={site!r}: this model has no {name!r}; use a method of the residual stream")
    return name


def site_width(model: TransformerBridge, site: str) -> int:
    """Width of a site's activations, all axes behind [batch, pos] flattened into one."""
    return prod(int(getattr(model.cfg, axis)) for axis in SITES[site])
