"""BarrierSteer: a control barrier filter on the move from one token's state to the next (arXiv 2602.20102)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from sklearn.cluster import KMeans
from torch import Tensor

from odesteer_tl.barriers.linear import fit_logistic
from odesteer_tl.fields import FilterField, VectorField
from odesteer_tl.fields.filter import Constraints
from odesteer_tl.methods.registry import median_norm, register


@register(
    "barrier_steer",
    solver="euler",
    T=1.0,
    source="BarrierSteer, arXiv 2602.20102; its recipe read",
    idea="filter the move between tokens",
)
def barrier_steer(
    positive: Float[Tensor, "n d"],
    negative: Float[Tensor, "m d"],
    seed: int = 0,
    *,
    barriers: int = 2,
    gain: float = 0.5,
    constraints: Constraints = "all",
    top: int = 1,
    kappa: float = 10.0,
    C: float = 1.0,
) -> VectorField:
    """The least change of a token's state that keeps every barrier from falling by more than its share.

    With p the state written for the token before, u₀ = a − p the nominal move and K linear barriers b (logistic
    regressions): `u* = argmin ‖u − u₀‖²` with `∇bᵢ·u + gain·bᵢ(p) ≥ 0`. In closed form for one and two constraints and
    with scipy's non-negative least squares for more; or the most violated alone, or one merged barrier. It acts only
    where a constraint is violated.

    Reconstructed: a text's first token, which has none before it, is taken as at rest (p = a). With one contrast the K
    kinds of unsafe states are K-means clusters of the negative activations, and the barriers are linear, on activations
    in units of their median norm; the original also has small networks, trained on labelled kinds.

    Args:
        seed: of the clusters.
        barriers: K.
        gain, constraints, top, kappa: see `FilterField`.
        C: the regressions' inverse regularisation strength, scikit-learn's.

    Raises:
        ValueError: a setting out of range, or fewer negative rows than barriers.
    """
    if not 1 <= barriers <= len(negative):
        raise ValueError(f"barriers={barriers} must lie between 1 and the {len(negative)} negative rows")
    norm = median_norm(positive, negative)
    scale = positive.shape[1] ** 0.5 / norm
    safe, unsafe = positive.double().cpu() * scale, negative.double().cpu() * scale
    kinds = torch.zeros(len(unsafe), dtype=torch.long)
    if barriers > 1:
        model = KMeans(barriers, n_init=10, random_state=seed)  # pyright: ignore[reportArgumentType]
        kinds = torch.from_numpy(model.fit_predict(unsafe.numpy())).long()
    found = [fit_logistic(safe, unsafe[kinds == kind], C=C) for kind in range(barriers)]
    weights, offsets = (torch.stack(x) for x in zip(*found, strict=True))
    return FilterField(weights * scale, offsets, norm, gain=gain, constraints=constraints, top=top, kappa=kappa)
