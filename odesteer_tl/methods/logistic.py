"""Logistic regression's direction, as users of steering-vectors know it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from odesteer_tl.fields import ConstantField, VectorField
from odesteer_tl.methods.registry import median_norm, register


@register(
    "logistic",
    solver="euler",
    source="steering-vectors' logistic_aggregator",
    idea="add a logistic regression's weight",
)
def logistic(
    positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], seed: int = 0, **sklearn_kwargs: Any
) -> VectorField:
    """The weight of scikit-learn's logistic regression on the activations as they are, of length 1.

    With scikit-learn's own defaults; "iti" is the same with another unit of length. Reconstructed from the library's
    aggregator, which was read.

    Args:
        seed: `random_state`, for the solvers that draw.
        sklearn_kwargs: of `sklearn.linear_model.LogisticRegression`, through
            `ode.fit("logistic", …, settings={"C": 0.1, "fit_intercept": False})`.

    Raises:
        ValueError: scikit-learn does not know an argument, or the weight is 0.
    """
    both = torch.cat([positive, negative]).double().cpu().numpy()
    labels = np.repeat([1, 0], [len(positive), len(negative)])
    arguments: dict[str, Any] = {"random_state": seed, **sklearn_kwargs}
    try:
        model = LogisticRegression(**arguments)
    except TypeError as error:
        raise ValueError(f"settings={sklearn_kwargs} are not all scikit-learn's: {error}") from error
    weight = torch.from_numpy(np.asarray(model.fit(both, labels).coef_[0], dtype=np.float64))
    return ConstantField(weight / weight.norm().clamp_min(1e-300), median_norm(positive, negative))
