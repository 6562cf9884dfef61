"""Principal directions of paired differences, as users of steering-vectors and repeng know them."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from sklearn.decomposition import PCA
from torch import Tensor

from odesteer_tl._groups import Groups
from odesteer_tl.fields import ConstantField, VectorField
from odesteer_tl.methods.registry import median_norm, register, require_pairs
from odesteer_tl.methods.repe import repe


@register(
    "pca",
    solver="euler",
    source="steering-vectors' pca_aggregator; repeng's pca_center",
    idea="add the differences' main direction",
)
def pca(
    positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0, *, groups: Groups | None = None
) -> VectorField:
    """First principal direction of the differences and their negatives together, which is "repe"'s; of length 1.

    Of differences beside their negatives the mean is 0, so that centring takes nothing away: the uncentred direction.
    Reconstructed from both libraries' aggregators, which were read; the sign is that of the mean difference. No
    randomness.

    Args:
        groups: which rows come from one text; those of a pair share a group.

    Raises:
        ValueError: the classes are not paired (unequal lengths, or groups that differ).
    """
    require_pairs(positive, negative, "PCA takes the differences of pairs", groups)
    found = repe(positive, negative, seed, groups=groups)
    assert isinstance(found, ConstantField)
    return ConstantField(found.direction, found.median_norm)


@register(
    "pca_centered",
    solver="euler",
    source="repeng's default, pca_diff: PCA of the centred paired differences",
    idea="add the centred differences' main direction",
)
def pca_centered(
    positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0, *, groups: Groups | None = None
) -> VectorField:
    """First principal direction of the paired differences less their mean; of length 1. No randomness.

    What the differences have in common is taken away: here for comparison, not for use. Reconstructed from repeng's
    code, which was read and whose sign is the majority's of the pairs that project higher where positive; with equally
    many, ours is the mean difference's.

    Args:
        groups: which rows come from one text; those of a pair share a group.

    Raises:
        ValueError: the classes are not paired, or fewer than two pairs.
    """
    require_pairs(positive, negative, "PCA takes the differences of pairs", groups)
    if len(positive) < 2:
        raise ValueError(
            f"positive has {len(positive)} row; centred differences of one pair are 0: give more, or 'caa'"
        )
    difference = (positive.double() - negative.double()).cpu()
    components: Any = PCA(n_components=1, svd_solver="full").fit(difference.numpy()).components_
    direction = torch.from_numpy(components[0])
    along = difference @ direction
    votes = float(along.sign().sum())
    return ConstantField(
        direction * (1.0 if (votes or float(along.sum())) >= 0 else -1.0), median_norm(positive, negative)
    )
