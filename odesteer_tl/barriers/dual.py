"""Kernel logistic regression in the dual, by Newton's method: n unknowns whatever the feature space.

scikit-learn has no kernel logistic regression. Its primal solver on the rows of a Cholesky factor gives the same
answer (a test compares them), but wants K regular, which repeated texts make singular.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from odesteer_tl._difference import NoDifference
from odesteer_tl._groups import JOINED

MAX_NEWTON_STEPS = 200
#: mean error of the fitted probabilities at which Newton's method stops
TOLERANCE = 1e-7
#: from this many samples on, the Newton systems are factored in float32
MIXED_PRECISION_FROM = 500


def fit_dual(
    K: Float[Tensor, "n n"],
    labels: Float[Tensor, " n"],
    C: float,
    start: tuple[Tensor, Tensor] | None = None,
) -> tuple[Float[Tensor, " n"], Float[Tensor, ""]]:
    """Minimise `C Σ log(1 + exp(−yᵢfᵢ)) + ½ αᵀKα`, f = Kα + w₀, with a free intercept w₀.

    The objective of scikit-learn's `LogisticRegression(C=C)` on any feature map with kernel K. K may be singular.

    Args:
        labels: 1 for positive, 0 for negative.
        start: α and w₀ to begin from (a solution at another C).

    Returns:
        α and w₀; at the optimum α = C(labels − p), p the fitted probabilities.
    """
    alpha, w0 = start if start is not None else (torch.zeros_like(labels), labels.new_zeros(()))
    # residuals are exact, so a rough factor costs a step or two and halves the time of each
    factored = K.float() if len(labels) >= MIXED_PRECISION_FROM else K
    Ka = K @ alpha
    objective = _objective(Ka, alpha, w0, labels, C)
    for _ in range(MAX_NEWTON_STEPS):
        residual = C * (labels - torch.sigmoid(Ka + w0)) - alpha
        if residual.abs().sum() <= TOLERANCE * C * len(labels):
            break
        step = _newton_step(factored, Ka + w0, alpha, residual, C)
        t = 0.0
        if step is not None:
            step_Ka, t = K @ step[0], 1.0
            trial = _objective(Ka + step_Ka, alpha + step[0], w0 + step[1], labels, C)
            while not trial <= objective + 1e-12 * objective.abs() and t > 1e-8:
                t /= 2
                trial = _objective(Ka + t * step_Ka, alpha + t * step[0], w0 + t * step[1], labels, C)
            if t > 1e-8:
                alpha, w0, Ka, objective = alpha + t * step[0], w0 + t * step[1], Ka + t * step_Ka, trial
        if t < 1e-3:
            if factored is K:
                break  # the objective has stopped falling within rounding
            factored = K
    return alpha, w0


def _newton_step(
    K: Float[Tensor, "n n"], f: Float[Tensor, " n"], alpha: Float[Tensor, " n"], residual: Float[Tensor, " n"], C: float
) -> tuple[Float[Tensor, " n"], Float[Tensor, ""]] | None:
    """Newton's step in α and w₀: `(K + W⁻¹)δ + δ₀1 = W⁻¹(residual)`, `1ᵀ(α + δ) = 0`, factored in the dtype of K.

    None where the system is not positive definite in that precision.
    """
    p = torch.sigmoid(f)
    # a sample the model is certain of has no curvature; the floor keeps W⁻¹ finite and moves the optimum nowhere
    root = (C * p * (1 - p)).clamp_min(1e-10 * C).sqrt()
    M = (K * root[:, None].to(K)).mul_(root.to(K))
    M.diagonal().add_(1.0)
    factor, failed = torch.linalg.cholesky_ex(M)
    if bool(failed):
        return None
    right = torch.stack([residual / root, root], dim=1)
    solved = torch.cholesky_solve(right.to(K), factor).to(root) * root[:, None]
    step_w = (alpha.sum() + solved[:, 0].sum()) / solved[:, 1].sum()
    return solved[:, 0] - step_w * solved[:, 1], step_w


def _objective(Ka: Tensor, alpha: Tensor, w0: Tensor, labels: Tensor, C: float) -> Tensor:
    """The primal objective at `f = Ka + w0`."""
    f = Ka + w0
    return C * (torch.nn.functional.softplus(f) - labels * f).sum() + 0.5 * (alpha @ Ka)


def require_mean_difference(K: Float[Tensor, "n n"], labels: Float[Tensor, " n"]) -> None:
    """Raise `NoDifference` if both classes have one mean in the kernel's feature space within rounding.

    The optimum is then α with Kα = 0 (the loss's gradient there is the difference of the means), and what Newton's
    method returns is rounding noise. The square of the difference is `vᵀKv`, v = 1/n₊ and −1/n₋.
    """
    v = labels / labels.sum() - (1 - labels) / (1 - labels).sum()
    if float(v @ K @ v) <= 64 * torch.finfo(K.dtype).eps * float(K.diagonal().mean()):
        raise NoDifference(
            f"positive ({int(labels.sum())} rows) and negative ({int((1 - labels).sum())} rows) have the same mean "
            "features within rounding: this kernel has nothing to learn from them; use another degree, layer or texts"
        )


def cross_validate(
    kernel: Callable[[float], Float[Tensor, "n n"]],
    labels: Float[Tensor, " n"],
    gammas: Sequence[float],
    Cs: Sequence[float],
    folds: int,
    seed: int,
    groups: Int[np.ndarray, " n"],
) -> tuple[float, float]:
    """The (γ, C) with the least held-out logistic loss, averaged over all samples; ties go to the smaller C.

    Args:
        groups: of each sample; a group is held out as a whole, for a near copy of a sample would tell its label.

    Raises:
        ValueError: a class has fewer groups than there are folds, or the groups leave a class out of a training part.
    """
    classes = labels.numpy()
    least, rows = min((len(np.unique(groups[classes == k])), int((classes == k).sum())) for k in (0, 1))
    if least < folds:
        joined = f" in {rows} rows ({JOINED}: drop repetitions, or give groups)" if least < rows else ""
        raise ValueError(
            f"folds={folds} but the smaller class has {least} texts (groups){joined}; give C and gamma numbers or use "
            "fewer folds"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    cuts = list(splitter.split(classes, classes, groups))
    if any(len(np.unique(classes[train])) < 2 for train, _ in cuts):
        raise ValueError(
            f"folds={folds}: without one of its groups a class is empty ({JOINED}); give C and gamma numbers, or more "
            "groups"
        )
    loss: dict[tuple[float, float], float] = {}
    for gamma in gammas:
        K = kernel(gamma)
        for train, test in ((torch.from_numpy(a), torch.from_numpy(b)) for a, b in cuts):
            inner, across = K[train][:, train], K[test][:, train]
            start = None
            for C in sorted(Cs):
                alpha, w0 = start = fit_dual(inner, labels[train], C, start)  # each C starts from the last
                f = across @ alpha + w0
                held_out = (torch.nn.functional.softplus(f) - labels[test] * f).sum() / len(labels)
                loss[gamma, C] = loss.get((gamma, C), 0.0) + float(held_out)
    return min(loss, key=lambda pair: (loss[pair], pair[1]))
