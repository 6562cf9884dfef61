"""Conditional activation steering: a condition that gates any field (Lee et al., ICLR 2025)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from sklearn.metrics import precision_recall_curve
from torch import Tensor

from odesteer_tl.fields import GatedField, VectorField
from odesteer_tl.methods.caa import caa
from odesteer_tl.methods.registry import register


@register(
    "cast",
    solver="euler",
    source="CAST, ICLR 2025, around CAA; its recipe read in its authors' code",
    idea="add CAA's vector where a condition holds",
)
def cast(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0) -> VectorField:
    """CAA's direction, where an activation looks negative. No randomness.

    Reconstructed: with one contrast set the condition is the negative class itself, and it is asked at every token, at
    the steered layer. For a condition of its own, or around another field, use `gate`. What the authors do, one
    decision a prompt at a layer of its own, is `ode.fit("caa", …, condition=ode.fit_condition(…))`.
    """
    return gate(caa(positive, negative, seed), negative, positive)


def gate(field: VectorField, opens: Float[Tensor, "n d"], closes: Float[Tensor, "m d"]) -> GatedField:
    """`field`, acting only where an activation's cosine with a condition vector passes a threshold.

    The threshold is the cosine with the best F1 on these data. Reconstructed: the condition vector is the difference
    of the two means, where the original takes a principal direction of pairs; and the cosine is the plain signed one,
    where the original's, with tanh of the projection, loses the projection's sign.

    Args:
        field: any field.
        opens, closes: activations on which the gate should be open and closed.

    Returns:
        The gated field.
    """
    condition = opens.double().mean(0) - closes.double().mean(0)
    both = torch.cat([opens, closes]).double()
    cosines = (both @ condition / (both.norm(dim=-1) * condition.norm())).numpy()
    labels = np.repeat([1, 0], [len(opens), len(closes)])
    precision, recall, thresholds = precision_recall_curve(labels, cosines)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1[:-1].argmax())
    # halfway to the next lower cosine, so that rounding does not decide about the sample that gave the threshold
    below = thresholds[best - 1] if best > 0 else -1.0
    return GatedField(field, condition, float(thresholds[best] + below) / 2)
