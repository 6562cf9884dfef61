"""Splits: what is fitted on, what is chosen on, what is reported on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, train_test_split


@dataclass(frozen=True)
class Fold:
    """Indices of units: fields are fitted on `fit`, layer and strength chosen on `validation`, `test` is reported."""

    fit: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def cross_folds(groups: Sequence[Hashable], folds: int, validation: float, seed: int) -> list[Fold]:
    """Every unit tested once; the validation split lies inside the training fold. Groups are never torn apart.

    Args:
        groups: a label a unit.
        validation: share of the training fold's groups.

    Raises:
        ValueError: fewer groups than the folds need, or a share outside (0, 1).
    """
    codes, labels = pd.factorize(pd.Series(list(groups)))
    if not 0 < validation < 1 or folds < 2:
        raise ValueError(f"validation={validation} must lie in (0, 1) and folds={folds} be at least 2")
    if len(labels) < 2 * folds:
        raise ValueError(f"groups has {len(labels)} distinct labels, too few for folds={folds}; use more data")
    found: list[Fold] = []
    for training, test in KFold(folds, shuffle=True, random_state=seed).split(np.arange(len(labels))):
        parts = [*train_test_split(training, test_size=validation, random_state=seed), test]
        found.append(Fold(*(_members(codes, np.asarray(part)) for part in parts)))
    return found


def _members(codes: np.ndarray, groups: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.flatnonzero(np.isin(codes, groups)))
