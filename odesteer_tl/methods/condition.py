"""Fitting a condition: its vector on some of the contrast's groups, its layer and threshold on the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, SupportsIndex

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from odesteer_tl._check import as_integer
from odesteer_tl.activations import Activations, LayerActivations, collect_activations
from odesteer_tl.conditions import BLOCK_INPUT, Condition
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.methods.registry import require_pairs
from odesteer_tl.plain import AnyModel
from odesteer_tl.sites import Layer

SOURCE = "CAST, ICLR 2025; its recipe read in its authors' code"
#: in the order in which the authors try them
ORDER = ("below", "above")
#: the authors' `np.arange(0, 1, 0.01)`
THRESHOLDS = tuple(np.arange(0.0, 1.0, 0.01).tolist())


def fit_condition(
    model: AnyModel,
    contrast: ContrastSet,
    layers: Layer | Sequence[Layer] | str = "all",
    *,
    pool: str = "mean",
    special_tokens: bool = True,
    thresholds: ArrayLike = THRESHOLDS,
    held_out: float = 0.5,
    seed: SupportsIndex = 0,
    prepend_bos: bool | None = None,
) -> Condition:
    """Find out which prompts to steer from pairs of prompts that are to be steered and prompts that are not.

    The authors' recipe (Lee et al., ICLR 2025; their `read_representations` and `find_best_condition_point`): at each
    layer, c is the first principal component of the pairs' states, each pair centred on its own mean; of every layer,
    threshold and comparator the one with the best F1 is taken, the first of equals, layers from below, thresholds from
    0. Theirs tries them on whatever texts it is given, and takes c from the block's output; here F1 is of groups that
    c has not seen, and c is of the block's input, where it is compared.

    Args:
        model: whose states are read.
        contrast: paired prompts; steered are those like its positive ones.
        layers: that may be chosen; for use with a steerer none above the steered one.
        pool, special_tokens: as in `Condition`.
        thresholds: that may be chosen.
        held_out: share of the contrast's groups on which layer, threshold and comparator are chosen.
        seed: of the split.
        prepend_bos: as in `collect_activations`.

    Returns:
        The condition; its `provenance` has the F1 on the held-out groups and the number of their texts.

    Raises:
        ValueError: the contrast has no pairs or too few groups, no setting has an F1 above 0, or as
            `collect_activations` does.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out={held_out} must lie between 0 and 1: some groups give the vector, others the rest")
    grid = np.asarray(thresholds, dtype=float)
    if grid.ndim != 1 or not len(grid) or not bool((np.abs(grid) <= 1).all()):
        raise ValueError(f"thresholds={thresholds!r} must be at least one number, each from −1 to 1")
    seed = as_integer("seed", seed)
    parts = contrast.split((1 - held_out, held_out), seed)
    position = "last" if pool == "last" else "mean"
    learned, judged = (
        collect_activations(model, part, layers, position, site=BLOCK_INPUT, prepend_bos=prepend_bos,
                            special_tokens=special_tokens and position == "mean")
        for part in parts
    )  # fmt: skip
    best, f1 = _best(learned, judged, grid, pool, special_tokens)
    if best is None:
        raise ValueError(
            f"no layer of {sorted(learned)} and threshold of {len(grid)} has an F1 above 0 on the held-out texts; "
            "give more pairs, or thresholds= that reach what these similarities are"
        )
    held = parts[1]
    facts = {"f1": f1, "texts": [len(held.positive), len(held.negative)], "layers": sorted(learned), "seed": seed}
    return replace(best, provenance={**facts, "contrast": contrast.provenance, "source": SOURCE})


def _best(
    learned: Activations, judged: Activations, grid: Float[NDArray[Any], " t"], pool: str, special_tokens: bool
) -> tuple[Condition | None, float]:
    """The condition of the highest F1, of equals the first, and its F1; none where every F1 is 0."""
    best, f1 = None, 0.0
    for layer in sorted(learned):
        found = Condition(layer, _direction(learned[layer]), 0.0, pool, special_tokens=special_tokens)
        similarity = [found.similarity(x.double()).numpy() for x in (judged[layer].positive, judged[layer].negative)]
        scores = _f1(similarity[0], similarity[1], grid)
        at, which = np.unravel_index(int(scores.argmax()), scores.shape)  # the first of equals
        if scores[at, which] > f1:
            f1 = float(scores[at, which])
            best = replace(found, threshold=float(grid[at]), comparator=ORDER[which])
    return best, f1


def _direction(acts: LayerActivations) -> Float[Tensor, " d_model"]:
    """The first principal component of both classes, each pair centred on its own mean."""
    require_pairs(acts.positive, acts.negative, "a condition is learned from pairs", acts.groups)
    # centred pairs are ± half their difference, whose mean is 0 and whose components are those of the halves
    half = (acts.positive.double() - acts.negative.double()) / 2
    return torch.linalg.svd(half, full_matrices=False).Vh[0]


def _f1(
    positive: Float[NDArray[Any], " n"], negative: Float[NDArray[Any], " m"], thresholds: Float[NDArray[Any], " t"]
) -> Float[NDArray[Any], "t 2"]:
    """F1 of every threshold, below and above it, on similarities of both classes."""
    columns: list[NDArray[Any]] = []
    for comparator in ORDER:
        compare = np.greater if comparator == "above" else np.less
        hits, misses = (compare(x[None], thresholds[:, None]).sum(1) for x in (positive, negative))
        columns.append(2 * hits / (hits + misses + len(positive)))
    return np.stack(columns, 1)
