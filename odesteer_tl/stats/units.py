"""Units: what the statistics are given, checked, and repeated units joined before anything is inferred from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def numbers(name: str, values: ArrayLike, least: int = 1) -> NDArray[np.float64]:
    """One finite number a unit.

    Raises:
        ValueError: not one finite number a unit, or fewer than `least`.
    """
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or len(x) < least or not np.isfinite(x).all():
        raise ValueError(
            f"{name} has shape {x.shape} and {int((~np.isfinite(x)).sum())} NaN or infinite numbers; pass one finite "
            f"number a unit, at least {least} of them (drop units without a number and say how many)"
        )
    return x


def flags(name: str, values: ArrayLike) -> NDArray[np.bool_]:
    """Booleans (or 0 and 1) of any shape.

    Raises:
        ValueError: empty, or a value that is neither: a NaN, a score, a text.
    """
    x = np.asarray(values)
    if x.size == 0:
        raise ValueError(f"{name} is empty; it needs at least one unit")
    strange = [] if x.dtype == bool else [v for v in x.flat if not _is_flag(v)]
    if strange:
        raise ValueError(
            f"{name} holds {strange[0]!r}, which is neither true nor false; compare scores with a threshold, and drop "
            "units without a value (NaN counts as true in Python)"
        )
    return x.astype(bool)


def _is_flag(value: object) -> bool:
    """Whether it is true, false, 0 or 1."""
    return isinstance(value, bool | np.bool_) or (isinstance(value, int | float | np.number) and value in (0, 1))


def is_binary(x: NDArray[np.generic]) -> bool:
    """Whether every value is 0 or 1."""
    return bool(np.isin(x, (0, 1)).all())


def level_of(level: float) -> float:
    """A level of confidence.

    Raises:
        ValueError: outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie between 0 and 1, as .95 does")
    return level


def codes_of(groups: ArrayLike | None, n: int) -> NDArray[np.intp]:
    """The number of each row's group; without groups every row is its own.

    Raises:
        ValueError: not one label a row, or a label that is NaN.
    """
    if groups is None:
        return np.arange(n)
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise ValueError(f"groups has shape {labels.shape}; pass one label a row, {n}")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError(f"groups holds {int(np.isnan(labels).sum())} NaN; every row belongs to a prompt")
    return np.unique(labels, return_inverse=True)[1].reshape(-1)


def joined(x: NDArray[np.float64], groups: ArrayLike | None) -> NDArray[np.float64]:
    """The mean over each group's rows: groups are the independent units, however many rows one has.

    Args:
        x: [rows, ...].
        groups: the label of each row; None where each row is a unit of its own.

    Returns:
        [groups, ...]
    """
    codes = codes_of(groups, len(x))
    if groups is None:
        return x
    sizes = np.bincount(codes)
    total = np.zeros((len(sizes), *x.shape[1:]))
    np.add.at(total, codes, x)
    return total / sizes.reshape(-1, *[1] * (x.ndim - 1))
