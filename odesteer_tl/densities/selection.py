"""Choosing a density: family and rank by held-out log-likelihood, folds grouped by prompt, one-standard-error rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from sklearn.model_selection import GroupKFold
from torch import Tensor

from odesteer_tl._display import Result
from odesteer_tl._groups import JOINED
from odesteer_tl.densities.base import Density
from odesteer_tl.densities.directional import AngularCentralGaussian, TangentGaussian
from odesteer_tl.densities.gaussian import PPCA, FactorAnalysis, ShrunkGaussian
from odesteer_tl.densities.mixture import MixturePPCA
from odesteer_tl.densities.sample import Sample

if TYPE_CHECKING:  # a saved field may hold a density where there is no pandas
    import pandas as pd

RANKS = (1, 2, 4, 8, 16, 32, 64, 128)
#: each takes several decompositions a fold
CENTRAL_RANKS = (4, 16, 64)
MIXTURES = ((2, 4), (2, 16), (4, 4), (4, 16))


@dataclass(frozen=True, eq=False, repr=False)
class Selection(Result):
    """A density chosen among candidates.

    Attributes:
        densities: the chosen density fitted to all activations, one for each class (several only where tied).
        table: one row a candidate, best first: `density`, `parameters`, held-out `nats_per_dimension` and its
            `standard_error` over groups, its `deficit` to the best candidate and that paired difference's
            `deficit_error`, and whether it was `chosen`.
    """

    densities: tuple[Density, ...]
    table: pd.DataFrame

    @property
    def density(self) -> Density:
        """The chosen density of the (first) class."""
        return self.densities[0]

    def _facts(self) -> dict[str, object]:
        row = self.table.loc[self.table["chosen"]].iloc[0]
        return {
            "chosen": row["density"],
            "classes": len(self.densities),
            "candidates": len(self.table),
            "held-out nats per dimension": f"{row['nats_per_dimension']:.4g} ± {row['standard_error']:.2g}",
        }

    def frame(self) -> pd.DataFrame:
        """`table`, one row a candidate, the best first."""
        return self.table.copy()


def ambient_candidates(n: int, d: int) -> list[Density]:
    """Families and ranks that n training samples of width d can carry, on the activations themselves.

    Args:
        n: training samples.
        d: their width.

    Returns:
        Unfitted densities.
    """
    ranks = [r for r in RANKS if r <= min(n, d) // 2]
    shrunk: list[Density] = [ShrunkGaussian("ledoit_wolf"), ShrunkGaussian("oas")]
    low: list[Density] = [family(r) for family in (PPCA, FactorAnalysis) for r in (0, *ranks)]
    mixed: list[Density] = [MixturePPCA(k, r) for k, r in MIXTURES if r < d // 2 and 4 * k * (r + 1) <= n]
    return [*shrunk, *low, *mixed]


def tied_candidates(n: int, d: int) -> list[Density]:
    """The ambient families that have a location, for densities that share all else.

    Args:
        n: training samples.
        d: their width.

    Returns:
        Unfitted densities.
    """
    return [c for c in ambient_candidates(n, d) if not isinstance(c, MixturePPCA)]


def directional_candidates(n: int, d: int) -> list[Density]:
    """Families and ranks for the direction a/‖a‖.

    Args:
        n: training samples.
        d: their width.

    Returns:
        Unfitted densities.
    """
    central = [AngularCentralGaussian(r) for r in CENTRAL_RANKS if r <= min(n, d - 1) // 2]
    return [*tied_directional_candidates(n, d), *central]


def tied_directional_candidates(n: int, d: int) -> list[Density]:
    """The directional families that have a location.

    Args:
        n: training samples.
        d: their width.

    Returns:
        Unfitted densities.
    """
    ranks = [r for r in RANKS if r <= min(n, d - 1) // 2]
    low: list[Density] = [TangentGaussian(family(r)) for family in (PPCA, FactorAnalysis) for r in (0, *ranks)]
    return [TangentGaussian(ShrunkGaussian()), *low]


def select_density(
    activations: Float[Tensor, "n d"],
    groups: Iterable[int],
    candidates: Sequence[Density] | None = None,
    folds: int = 5,
    classes: Shaped[Tensor, " n"] | None = None,
    seed: int = 0,
) -> Selection:
    """Fit the simplest density whose held-out log-likelihood is within one standard error of the best.

    The standard error is that of the paired difference to the best candidate, with prompts as the units: candidates see
    the same held-out rows, and what these have in common decides nothing.

    Args:
        activations: rows of one class, or of several when `classes` is given.
        groups: the prompt of each row; no prompt is ever in training and held-out rows of one fold.
        candidates: unfitted densities, all ambient or all directional; `ambient_candidates` by default.
        classes: labels of the rows; densities of the classes then share all but their location (tied).

    Returns:
        The density chosen, fitted on all rows, and every candidate's held-out score.

    Raises:
        ValueError: groups do not match the rows or are fewer than 2, candidates mix ambient and directional densities,
            or one of them needs more samples; also all that `Density.fit` refuses.
    """
    labels = np.asarray(list(groups), dtype=np.int64)
    x = activations.detach().cpu().double()
    if len(labels) != len(x):
        raise ValueError(f"groups has {len(labels)} labels for {len(x)} activations; give one prompt label a row")
    n_groups = len(np.unique(labels))
    if n_groups < 2 or folds < 2:
        raise ValueError(
            f"groups hold {n_groups} prompt(s) in {len(x)} rows, folds={folds}; held-out choice needs at least 2 of "
            f"each ({JOINED})"
        )
    which = torch.zeros(len(x), dtype=torch.long) if classes is None else classes.cpu().unique(return_inverse=True)[1]
    Sample.checked(_by_class(x, which, int(which.max()) + 1))
    splitter = GroupKFold(min(folds, n_groups), shuffle=True, random_state=seed)
    splits = list(splitter.split(x.numpy(), groups=labels))
    tried = list(candidates) if candidates is not None else _default(which, min(len(t) for t, _ in splits), x.shape[1])
    if not tried or len({c.spherical for c in tried}) != 1:
        raise ValueError(f"candidates={tried}: give at least one, all ambient or all directional (spherical)")
    held_out = _held_out(x, which, splits, tried)
    per_dimension = held_out / (x.shape[1] - int(tried[0].spherical))
    table, chosen = _compare(tried, per_dimension, labels, x.shape[1])
    final = tried[chosen].fit_sample(Sample(_by_class(x, which, int(which.max()) + 1)))
    return Selection(final, table)


def _default(which: Tensor, n: int, d: int) -> list[Density]:
    return tied_candidates(n, d) if int(which.max()) > 0 else ambient_candidates(n, d)


def _by_class(x: Tensor, which: Tensor, n_classes: int) -> list[Tensor]:
    parts = [x[which == k] for k in range(n_classes)]
    if min(len(part) for part in parts) < 2:
        raise ValueError(
            f"a class is left with {min(len(p) for p in parts)} rows in a fold; use fewer folds or more rows"
        )
    return parts


def _held_out(x: Tensor, which: Tensor, splits: list[Any], tried: list[Density]) -> np.ndarray:
    """Held-out log p of every row [candidate, row]; a fold's spectrum is shared by all candidates."""
    scores = np.full((len(tried), len(x)), np.nan)
    n_classes = int(which.max()) + 1
    for train, test in splits:
        sample = Sample(_by_class(x[train], which[train], n_classes))
        for i, candidate in enumerate(tried):
            for k, density in enumerate(candidate.fit_sample(sample)):
                rows = test[(which[test] == k).numpy()]
                scores[i, rows] = density.log_prob(x[rows]).numpy()
    return scores


def _compare(tried: list[Density], scores: np.ndarray, groups: np.ndarray, d: int) -> tuple[pd.DataFrame, int]:
    """The table of all candidates and the index of the chosen one."""
    import pandas as pd

    best = int(scores.mean(1).argmax())
    deficits = scores[best] - scores
    table = pd.DataFrame(
        {
            "density": [c.name for c in tried],
            "parameters": [c.n_parameters(d) for c in tried],
            "nats_per_dimension": scores.mean(1),
            "standard_error": [clustered_error(row, groups) for row in scores],
            "deficit": deficits.mean(1),
            "deficit_error": [clustered_error(row, groups) for row in deficits],
        }
    )
    within: pd.DataFrame = table.loc[table["deficit"] <= table["deficit_error"]]
    chosen = int(within.nsmallest(1, ["parameters", "deficit"]).index[0])
    table["chosen"] = table.index == chosen
    return table.sort_values("deficit", ignore_index=True), chosen


def clustered_error(values: np.ndarray, groups: np.ndarray) -> float:
    """Standard error of the mean of `values` whose independent units are the groups (sandwich, G/(G − 1))."""
    _, which = np.unique(groups, return_inverse=True)
    sums = np.bincount(which, weights=values - values.mean())
    return float(np.sqrt(np.square(sums).sum() * len(sums) / (len(sums) - 1)) / len(values))
