"""A model's fingerprint: a hash of some elements of every parameter, cheap at any size and read anew at every call."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import torch
from accelerate.utils import align_module_device, has_offloaded_params
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from odesteer_tl._turn import turn
from odesteer_tl.identity import PREFIX
from odesteer_tl.plain import Model, unbridged

#: elements read of each parameter; what is smaller is read whole
SAMPLE = 1024
GOLDEN = (5**0.5 - 1) / 2


def fingerprint(model: Model) -> str:
    """Hash of every parameter's name, shape, dtype and up to 1,024 of its elements, those of offloaded ones too.

    Training, another adapter or a changed block changes it. A change to few elements of a large matrix may go unseen:
    this tells models apart and is no checksum. Nothing is remembered, since weights change in place.

    Raises:
        ValueError: a parameter is a meta tensor with nothing behind it.
    """
    found = hashlib.sha256()
    for name, weight in sorted(_weights(model), key=lambda pair: pair[0]):
        found.update(f"{name} {tuple(weight.shape)} {weight.dtype}\n".encode())
        found.update(_sample(weight).cpu().double().numpy().tobytes())
    return PREFIX + found.hexdigest()[:16]


def embedding_fingerprint(model: Model) -> str:
    """The earlier kind: a hash of every so many rows of the input embedding."""
    return hashlib.sha256(embedding_rows(model).float().numpy().tobytes()).hexdigest()[:16]


def embedding_rows(model: Model) -> Float[Tensor, "rows d_model"]:
    """Every so many rows of the input embedding, the one weight every language model has, in its own dtype."""
    module: Any = model.original_model.get_input_embeddings()  # pyright: ignore[reportCallIssue]
    with ExitStack() as stack:
        # an offloaded weight is a meta tensor until it is used; the bridge wraps the module that owns it
        for part in module.modules():
            stack.enter_context(align_module_device(part))
        weight: Tensor = module.weight
        if weight.is_meta:
            raise _without_weights(model, "its embedding")
        # 64 rows tell two trainings apart, and stay cheap on a vocabulary of 256,000
        return weight[:: max(1, weight.shape[0] // 64)].detach().cpu().contiguous()


def _weights(model: Model) -> Iterator[tuple[str, Tensor]]:
    """Every parameter by the name that the wrapped model gives it."""
    # as the transformers model has them: a bridge may hold parts of one apart
    with ExitStack() as stack:
        if isinstance(model, TransformerBridge) and not model.compatibility_mode:
            stack.enter_context(turn(model))
            stack.enter_context(unbridged(model))
        yield from _parameters(model)


def _parameters(model: Model) -> Iterator[tuple[str, Tensor]]:
    for path, module in model.original_model.named_modules():
        for name, weight in module.named_parameters(recurse=False):
            whole = f"{path}.{name}".replace("._original_component", "")
            if weight.is_meta:
                if not has_offloaded_params(module):
                    raise _without_weights(model, whole)
                hook: Any = module._hf_hook  # on the CPU or on disk, and read from there without a stop at a GPU
                yield whole, hook.weights_map[name]
            else:
                yield whole, weight.detach()


def _sample(weight: Tensor) -> Tensor:
    """Up to `SAMPLE` elements, spread evenly over rows and columns whatever the shape."""
    if weight.numel() <= SAMPLE:
        return weight.flatten()
    at = (_spread() * weight.numel()).long().to(weight.device)
    if weight.is_contiguous():
        return weight.view(-1)[at]
    return weight[torch.unravel_index(at, weight.shape)]  # the transpose of another weight, say: not to be copied


@cache
def _spread() -> Float[Tensor, " sample"]:
    """Points of [0, 1): multiples of the golden ratio, since no row length is in step with them, as with a stride."""
    return (torch.arange(SAMPLE, dtype=torch.float64) * GOLDEN).frac()


def _without_weights(model: Model, what: str) -> ValueError:
    return ValueError(
        f"model={model.cfg.model_name!r} has no weights to tell it by, {what} is a meta tensor; "
        "load it with its weights"
    )
