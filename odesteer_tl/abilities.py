"""Abilities: what a family of models cannot do here, refused with the reason before anything is run."""

from __future__ import annotations

from typing import Any

import torch

#: attention of TransformerLens that computes in float32 and hands the result to a projection in the model's precision
_FLOAT32_ATTENTION = "CodeGenAttentionBridge"


def require_decoder(module: Any, name: str) -> None:
    """Raise `ValueError` for a transformers model with an encoder and a decoder.

    Its blocks belong to two streams of tokens, and neither a layer's number nor a prompt says which is meant.
    """
    if getattr(module.config.get_text_config(), "is_encoder_decoder", False):
        raise ValueError(
            f"model={name!r} is a {type(module).__name__}, which has an encoder beside its decoder, so that a layer's "
            "number names two blocks; load a decoder-only language model"
        )


def require_precision(model: Any, name: str) -> None:
    """Raise `ValueError` for a bridge in half precision that TransformerLens runs in float32 only."""
    attention = getattr(next(iter(getattr(model, "blocks", ())), None), "attn", None)
    if type(attention).__name__ != _FLOAT32_ATTENTION:
        return
    dtype = next(model.original_model.parameters()).dtype
    if dtype in (torch.float16, torch.bfloat16):
        kind = str(dtype).removeprefix("torch.")
        raise ValueError(
            f"model={name!r} is in {kind}, and TransformerLens's {_FLOAT32_ATTENTION} computes in float32 and then "
            f"fails in its {kind} output projection; load it with dtype='float32', or set no "
            "hooks of your own: collecting and generating then run the transformers model itself"
        )


def require_generation(model: Any, name: str) -> None:
    """Raise `ValueError` for a model that does not write from left to right."""
    adapter = getattr(model, "adapter", None)
    if not (model.original_model.can_generate() if adapter is None else adapter.supports_generation):
        raise ValueError(
            f"model={name!r} is a {type(model.original_model).__name__}, which does not write from left to right; "
            "collect its activations or steer single passes with `steerer.on(model)`, or load a causal language model"
        )
