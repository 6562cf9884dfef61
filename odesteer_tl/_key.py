"""The key of a cached result: a hash of whatever determines it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from odesteer_tl._tokens import special_ids
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.models import ModelIdentity
from odesteer_tl.plain import Model, attention_of

#: what is written into a configuration and changes no number
NAMES = ("_name_or_path", "name_or_path", "transformers_version")


def key_of(
    format: int,
    model: Model,
    identity: ModelIdentity,
    contrast: ContrastSet,
    rows: Sequence[Int[Tensor, " _"]],
    arguments: Mapping[str, Any],
) -> str:
    """Hash of the weights, the tokens that are run (and so of the tokenizer), the arguments and how it is computed.

    Args:
        format: of the result, raised when the same arguments give another one.
        rows: the tokens of every text.
        arguments: JSON-able.
    """
    config: Any = model.original_model.config
    device = torch.device(model.cfg.device or "cpu").type
    content = {
        "format": format,
        "model": asdict(identity),
        "config": {name: x for name, x in config.to_dict().items() if name not in NAMES},
        "attention": attention_of(model),
        "arguments": dict(arguments),
        "tokens": [row.tolist() for row in rows],
        "special": special_ids(model),
        "groups": [contrast.positive_groups, contrast.negative_groups],
        "device": device,
        "precision": [torch.get_float32_matmul_precision(), torch.is_autocast_enabled(device)],
        "versions": {name: version(name) for name in ("torch", "transformers", "transformer-lens")},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:24]


def is_hooked(model: Model) -> bool:
    """Whether hooks other than the libraries' own stand on the model, and may change what it computes."""
    if any(getattr(point, "fwd_hooks", None) for point in model.hook_dict.values()):
        return True
    modules = model.original_model.modules()
    kinds = ("_forward_hooks", "_forward_pre_hooks")  # torch has no public list of them
    hooks = (hook for x in modules for kind in kinds for hook in getattr(x, kind).values())
    return any(
        not _origin(hook).startswith(("transformer_lens", "transformers", "accelerate", "odesteer_tl.passes"))
        for hook in hooks
    )


def _origin(hook: Any) -> str:
    """The module a hook comes from."""
    return str(getattr(getattr(hook, "func", hook), "__module__", ""))
