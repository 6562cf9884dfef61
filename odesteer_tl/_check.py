"""Argument checks whose messages name the argument, the value and the remedy."""

from collections.abc import Iterable

import torch
from torch import Tensor


def require_finite(name: str, x: Tensor) -> None:
    """Raise `ValueError` if `x` holds a NaN or an infinity."""
    if not bool(torch.isfinite(x).all()):
        bad = int((~torch.isfinite(x)).sum())
        raise ValueError(
            f"{name} holds {bad} NaN or infinite value(s) of {x.numel()}; "
            "find the text or layer that produces them (half precision overflows first) and drop it"
        )


def require_nonzero_rows(name: str, norms: Tensor) -> None:
    """Raise `ValueError` unless every norm in `norms` is finite and positive."""
    if not bool(((norms > 0) & (norms < torch.inf)).all()):
        what = "is zero" if bool((norms == 0).any()) else "is NaN or infinite"
        raise ValueError(
            f"{name}: the norm of at least one activation {what}; a direction needs a finite, nonzero activation: "
            "leave that position or text out"
        )


def require_one_of(name: str, value: object, options: Iterable[str]) -> None:
    """Raise `ValueError` unless `value` is one of `options`."""
    known = sorted(options)
    if value not in known:
        raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(map(repr, known))}")


def require_width(name: str, x: Tensor, d_model: int) -> None:
    """Raise `ValueError` unless the last dimension of `x` is `d_model`."""
    if x.shape[-1] != d_model:
        raise ValueError(
            f"{name} has width {x.shape[-1]} but was expected to have d_model={d_model}; "
            "it comes from another model or another hook"
        )


def require_classes(positive: Tensor, negative: Tensor) -> None:
    """Raise `ValueError` unless both classes are non-empty, finite, nonzero matrices of one width."""
    for name, x in (("positive", positive), ("negative", negative)):
        if x.ndim != 2 or x.shape[0] == 0:
            raise ValueError(f"{name} has shape {tuple(x.shape)}; pass a non-empty [n, d_model] matrix of activations")
        require_finite(name, x)
        require_nonzero_rows(name, x.norm(dim=-1))
    require_width("negative", negative, positive.shape[-1])
