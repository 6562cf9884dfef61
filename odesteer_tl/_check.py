"""Argument checks whose messages name the argument, the value and the remedy."""

import operator
from collections.abc import Iterable
from typing import SupportsFloat, SupportsIndex

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from odesteer_tl._words import require_one_of as require_one_of
from odesteer_tl._words import require_texts as require_texts
from odesteer_tl._words import warn as warn


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


def require_positive(name: str, value: object, words: Iterable[str] = (), remedy: str = "") -> None:
    """Raise `ValueError` unless `value` is a positive number, or one of `words`."""
    if isinstance(value, str) and value in words:
        return
    if not _is_at_least(value, 0) or value == 0:
        allowed = "".join(f", or {word!r}" for word in words)
        raise ValueError(f"{name}={value!r} must be a positive number{allowed}{remedy and '; '}{remedy}")


def require_at_least(name: str, value: object, least: int) -> None:
    """Raise `ValueError` unless `value` is a number of at least `least`."""
    if not _is_at_least(value, least):
        raise ValueError(f"{name}={value!r} must be a number of at least {least}")


def _is_at_least(value: object, least: int) -> bool:
    """Whether it is a number, of any library, and not below `least`; NaN is not."""
    if isinstance(value, str | bool):
        return False
    try:
        return bool(value >= least)  # pyright: ignore[reportOperatorIssue]
    except TypeError:
        return False


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


def as_integer(name: str, value: SupportsIndex) -> int:
    """A Python integer from anything that is one: NumPy's and torch's integers too, no float and no boolean.

    Raises:
        ValueError: it is none.
    """
    kind = str(getattr(value, "dtype", type(value).__name__))
    try:
        if "bool" in kind:
            raise TypeError
        return operator.index(value)
    except TypeError as error:
        raise ValueError(f"{name}={value!r} is not an integer; pass an int, such as int({name})") from error


def as_strength(name: str, value: SupportsFloat | ArrayLike) -> float | Tensor:
    """A Python number, or a tensor of several, from a number of any library, an array or a list.

    A tensor that a gradient flows through stays what it is.

    Raises:
        ValueError: it is no real number, or one of them is none.
    """
    if isinstance(value, float) and type(value) is float:
        return value
    try:
        found = value if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
    except TypeError as error:
        raise ValueError(f"{name}={value!r} is not a number; pass a float, or a tensor with one a row") from error
    if found.dtype == torch.bool or found.is_complex():
        raise ValueError(f"{name}={value!r} is of type {found.dtype}; pass a float, or a tensor with one a row")
    return found if found.ndim or found.requires_grad else float(found)
