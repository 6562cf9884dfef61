"""Curveball: along the class means' difference in a polynomial kernel PCA (arXiv 2603.09313)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from sklearn.decomposition import KernelPCA
from torch import Tensor

from odesteer_tl._check import require_at_least, require_positive
from odesteer_tl.fields import CurvedField, VectorField
from odesteer_tl.fields.curved import expanded
from odesteer_tl.methods.registry import median_norm, register


@register(
    "curveball",
    solver="euler",
    T=1.0,
    source="Curveball, arXiv 2603.09313; reconstructed from its abstract",
    idea="shift within a kernel PCA",
)
def curveball(
    positive: Float[Tensor, "n d"],
    negative: Float[Tensor, "m d"],
    seed: int = 0,
    *,
    alpha: float = 1.0,
    components: int = 8,
    degree: int = 2,
    ridge: float = 0.1,
) -> VectorField:
    """`a + x̂(z + α·δ) − x̂(z)`: z of a polynomial kernel PCA, δ the class means' difference there, x̂ its pre-image.

    By scikit-learn's `KernelPCA(fit_inverse_transform=True)`, whose pre-image is a kernel ridge of the activations on
    the coordinates; what x̂ misses of a is kept. A reconstruction: the kernel is `(x·y + 1)^degree` of activations in
    units of their median norm, and T goes a share of the way that α has bent. No randomness.

    Args:
        alpha: how many times the difference of the means the coordinates are moved.
        components: coordinates retained (fewer where the kernel has fewer).
        degree: of the kernel.
        ridge: of the pre-image, scikit-learn's `alpha`.

    Raises:
        ValueError: a setting out of range.
    """
    require_at_least("components", components, 1)
    require_at_least("degree", degree, 1)
    require_positive("ridge", ridge)
    n, norm = len(positive), median_norm(positive, negative)
    # of unit length, so that one γ fits both the kernel of the activations and that of their coordinates
    scale, kernel = 1 / norm, (degree, 1.0, 1.0)
    x = torch.cat([positive, negative]).double().cpu() * scale
    settings: dict[str, Any] = {"degree": degree, "gamma": kernel[1], "coef0": kernel[2], "alpha": ridge}
    model = KernelPCA(
        n_components=min(components, len(x) - 1), kernel="poly", fit_inverse_transform=True, eigen_solver="dense",
        remove_zero_eig=True, **settings,
    )  # fmt: skip
    z = torch.from_numpy(model.fit_transform(x.numpy()))
    gram = (kernel[1] * x @ x.mT + kernel[2]) ** degree
    values, vectors = (torch.from_numpy(y) for y in (model.eigenvalues_, model.eigenvectors_))
    shift = alpha * (z[:n].mean(0) - z[n:].mean(0))
    weights = expanded(torch.from_numpy(model.dual_coef_), z, degree)
    return CurvedField(x, gram.mean(0), gram.mean(), vectors / values.sqrt(), weights, shift, scale, kernel, norm)
