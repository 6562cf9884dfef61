"""Which rows come from one text: labels that travel with activations into every fold, split and count.

Rows of one text are near copies of each other. A fold that tears them apart measures memory, and an interval that
counts each of them is too short. A bare tensor says nothing of texts, so labels are given beside it; the tensors that
`collect_activations` returns with several rows a text are remembered here, and refused where labels would be needed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

#: labels of the positive and of the negative rows, one a row; equal labels are never torn apart
Groups = tuple[Iterable[Hashable], Iterable[Hashable]]

#: for messages about too few groups
JOINED = "rows of one text, of a pair, and of equal texts with whatever they are paired with, are one group"

_SEVERAL_ROWS_A_TEXT = WeakTensorKeyDictionary()


@runtime_checkable
class GroupedRows(Protocol):
    """Two classes of activations with the groups of their rows, as `LayerActivations` are."""

    @property
    def positive(self) -> Tensor: ...
    @property
    def negative(self) -> Tensor: ...
    @property
    def groups(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None: ...


def remember_several_rows_a_text(*tensors: Tensor) -> None:
    """Have `row_labels` refuse these tensors, and views of them, where no groups are given."""
    for x in tensors:
        _SEVERAL_ROWS_A_TEXT[x] = True


def row_labels(positive: Tensor, negative: Tensor, groups: Groups | None) -> Int[np.ndarray, " rows"]:
    """The group of every row, positive rows first, numbered in order of appearance.

    Without `groups` every row is taken as a text of its own, and rows of equal index in equally long classes as pairs,
    which are one group. (Of a copy nobody knows that it had several rows a text: give its groups.)

    Raises:
        ValueError: `groups` is not one label a row of each class, or it is missing and a class was collected with
            several rows a text.
    """
    n, m = len(positive), len(negative)
    if groups is None:
        for name, x in (("positive", positive), ("negative", negative)):
            base: Any = x._base  # the tensor that a slice is a view of
            if x in _SEVERAL_ROWS_A_TEXT or (base is not None and base in _SEVERAL_ROWS_A_TEXT):
                raise ValueError(
                    f"groups=None, but {name} was collected with several rows a text ({len(x)} rows), and rows of one "
                    "text must not stand on both sides of a split: pass groups=acts.groups (the activations' own "
                    "labels), or collect with read_position='last'"
                )
        return np.concatenate([np.arange(n), np.arange(m) if n == m else n + np.arange(m)])
    sides = [_listed(side) for side in _pair(groups)]
    if (len(sides[0]), len(sides[1])) != (n, m):
        raise ValueError(
            f"groups has {len(sides[0])} and {len(sides[1])} labels for {n} positive and {m} negative rows; give one "
            "label a row"
        )
    return numbered([*sides[0], *sides[1]])


def numbered(labels: Iterable[Hashable]) -> Int[np.ndarray, " rows"]:
    """Labels as numbers, in order of appearance."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)


def joined(labels: Sequence[object], texts: Sequence[str]) -> tuple[int, ...]:
    """Group numbers in which equal labels and equal texts are one group, whatever chain links them."""
    group = numbered(str(x) for x in labels)
    text = numbered(texts) + group.max(initial=-1) + 1
    size = int(text.max(initial=-1)) + 1
    graph = coo_array((np.ones(len(group)), (group, text)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    return tuple(int(c) for c in component[group])


def count_groups(labels: Int[np.ndarray, " rows"], n: int) -> tuple[int, int]:
    """How many groups the first n rows and the rest have."""
    return len(np.unique(labels[:n])), len(np.unique(labels[n:]))


def _pair(groups: Groups) -> tuple[Iterable[Hashable], Iterable[Hashable]]:
    # what a user hands in may be anything
    if not isinstance(groups, Sequence) or isinstance(groups, str) or len(groups) != 2:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"groups={groups!r} is not a pair; give (labels of positive rows, labels of negative rows)")
    return groups


def _listed(labels: Iterable[Hashable]) -> list[Hashable]:
    if isinstance(labels, (Tensor, np.ndarray)):
        return labels.tolist()
    return [x.item() if isinstance(x, (torch.Tensor, np.generic)) else x for x in labels]
