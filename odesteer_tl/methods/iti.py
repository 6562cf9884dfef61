"""Inference-time intervention (Li et al., NeurIPS 2023): on attention heads, and on the residual stream."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupShuffleSplit
from torch import Tensor

from odesteer_tl._check import require_one_of
from odesteer_tl._groups import Groups, count_groups, row_labels
from odesteer_tl.barriers.linear import fit_logistic
from odesteer_tl.fields import AffineField, ConstantField, VectorField
from odesteer_tl.fields.base import unit
from odesteer_tl.methods.layers import side_by_side
from odesteer_tl.methods.registry import median_norm, register
from odesteer_tl.sites import HEADS

#: the share of all heads that is steered unless told otherwise: the paper's 48 of 1024
SHARE = 48 / 1024


@register(
    "iti",
    solver="euler",
    source="ITI, NeurIPS 2023, its residual-stream form; the probe of its authors' code",
    idea="add a linear probe's direction",
)
def iti(
    positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0, *, C: float = 1.0
) -> VectorField:
    """The weight of a logistic probe on the activations as they are, added. No randomness.

    The residual-stream form that ODESteer compares with; the head-wise original is "iti_heads". How much C = 1
    regularises depends on the activations' scale; "iti_rescaled" takes that out.

    Args:
        C: inverse regularisation strength, scikit-learn's.
    """
    direction, _ = fit_logistic(positive.double(), negative.double(), C=C)
    return ConstantField(direction, median_norm(positive, negative))


@register(
    "iti_rescaled",
    solver="euler",
    source="this project: ITI's residual-stream form on a model-free scale",
    idea="add a linear probe's direction, rescaled",
)
def iti_rescaled(
    positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0, *, C: float = 1.0
) -> VectorField:
    """The weight of a logistic probe on the activations over their median norm, added. No randomness.

    Args:
        C: inverse regularisation strength; it means the same on every model and layer.
    """
    norm = median_norm(positive, negative)
    direction, _ = fit_logistic(positive.double() / norm, negative.double() / norm, C=C)
    return ConstantField(direction, norm)


@register(
    "iti_heads",
    solver="euler",
    T=15.0,
    site=HEADS,
    layers=side_by_side,
    source="ITI, NeurIPS 2023 (arXiv 2306.03341, eq. 2); its recipe read in its authors' code",
    idea="add probes' directions to chosen heads",
)
def iti_heads(
    positive: Float[Tensor, "n heads d_head"],
    negative: Float[Tensor, "m heads d_head"],
    seed: int = 0,
    *,
    heads: int | None = None,
    direction: Literal["mass_mean", "probe"] = "mass_mean",
    validation: float = 0.2,
    groups: Groups | None = None,
    C: float = 1.0,
) -> VectorField:
    """`z + T·σθ̂` on the K heads that tell the classes apart best, nothing on the others; T is the paper's α (15).

    A logistic probe a head, on its activations as they are, is fitted on a random part of the rows, and its accuracy
    on the rest ranks the head; of equal ones the earlier head is taken. θ̂ is a unit vector and σ the
    standard deviation of all rows' projections on it. Over several layers the heads of all of them are ranked
    together. `Flow(angle=…)` and `Flow(relative=…)` are lengths on a layer's flattened heads, as for every method.

    Reconstructed: K, where it is not given, is the paper's share of the model's heads.

    Args:
        heads: K.
        direction: θ: "mass_mean", the difference of the class means of all rows, or "probe", the probe's weight.
        validation: share of the texts held out from the probes.
        groups: which rows come from one text, as in `KernelBarrier.fit`; a group is held out as a whole.
        C: the probes' inverse regularisation strength, scikit-learn's.
        seed: of the split, the only thing random.

    Raises:
        ValueError: heads, direction or validation is out of range, there are too few rows to hold any out, or the
            activations are not those of heads.
    """
    require_one_of("direction", direction, ("mass_mean", "probe"))
    if positive.ndim != 3:
        raise ValueError(
            f"positive has shape {tuple(positive.shape)}; heads are fitted on [n, heads, d_head]: collect the "
            f"activations with site={HEADS!r}"
        )
    n_heads = positive.shape[1]
    chosen = max(1, round(SHARE * n_heads)) if heads is None else heads
    if not 1 <= chosen <= n_heads:
        raise ValueError(f"heads={heads} must lie between 1 and the {n_heads} heads that were given")
    both = torch.cat([positive, negative]).double()
    labels = np.repeat([1, 0], [len(positive), len(negative)])
    train, held = _split(row_labels(positive, negative, groups), len(positive), validation, seed)
    accuracies, weights = np.zeros(n_heads), torch.zeros(n_heads, both.shape[2], dtype=torch.float64)
    for head, X in enumerate(both.unbind(1)):
        probe = LogisticRegression(C=C, max_iter=10_000).fit(X[train].numpy(), labels[train])
        accuracies[head] = probe.score(X[held].numpy(), labels[held])
        weights[head] = torch.from_numpy(probe.coef_[0])
    best = np.argsort(-accuracies, kind="stable")[:chosen]
    theta = unit(weights if direction == "probe" else positive.double().mean(0) - negative.double().mean(0), 0.0)
    sigma = torch.einsum("nhd,hd->nh", both, theta).std(0, correction=0)
    merged = [rearrange(x, "n head d -> n (head d)") for x in (positive, negative)]
    shift, norm = torch.zeros_like(theta), median_norm(*merged)
    shift[best] = sigma[best, None] * theta[best]
    flat = rearrange(shift, "head d -> (head d)")
    return AffineField(torch.ones_like(flat), flat, norm)


def _split(
    groups: Int[np.ndarray, " rows"], n: int, validation: float, seed: int
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " held"]]:
    """Rows of both classes (the first n positive) to fit probes on and to rank them by; no group is in both."""
    if not 0 < validation < 1:
        raise ValueError(f"validation={validation} must lie between 0 and 1")
    texts, m = count_groups(groups, n), len(groups) - n
    if min(texts) < 2:
        raise ValueError(
            f"positive has {n} rows of {texts[0]} texts and negative {m} of {texts[1]}; probes need two of each, to "
            "hold some out"
        )
    train, held = next(GroupShuffleSplit(1, test_size=validation, random_state=seed).split(groups, groups=groups))
    if not (train < n).any() or not (train >= n).any():
        raise ValueError(f"validation={validation} with {n} positive and {m} negative rows leaves a class without any")
    return train, held
