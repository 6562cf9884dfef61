"""The synthetic pair is the oracle it says it is, and its quadratic form is hidden from every linear reader."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score

from odesteer_tl.organism import SyntheticPair

N = 1000
LABELS = np.repeat([1, 0], N)


def stacked(pair: SyntheticPair, seed: int) -> torch.Tensor:
    return torch.cat(pair.sample(N, seed))


def directions(a: torch.Tensor) -> np.ndarray:
    return (a / a.norm(dim=-1, keepdim=True)).double().numpy()


def kernel_rows(train: np.ndarray, other: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose inner products are (γ x·y + 1)²: on them, linear logistic regression is the kernel's."""
    values, vectors = np.linalg.eigh((gamma * train @ train.T + 1) ** 2)
    keep = values > 1e-9 * values[-1]
    whiten = vectors[:, keep] / np.sqrt(values[keep])
    return (gamma * train @ train.T + 1) ** 2 @ whiten, (gamma * other @ train.T + 1) ** 2 @ whiten


def logistic(C: float) -> LogisticRegression:
    return LogisticRegression(C=C, tol=1e-2, max_iter=300)


@pytest.mark.parametrize("pair", [SyntheticPair.linear(seed=1), SyntheticPair.quadratic(seed=1)])
def test_log_densities_agree_with_scipy(pair: SyntheticPair) -> None:
    a = stacked(pair, 0)[::50]
    for mean, covariance, ours in (
        (pair.mean_positive, pair.covariance_positive, pair.log_prob_positive(a)),
        (pair.mean_negative, pair.covariance_negative, pair.log_prob_negative(a)),
    ):
        theirs = multivariate_normal(mean.numpy(), covariance.numpy()).logpdf(a.double().numpy())
        assert ours.dtype == torch.float64
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-10)
    torch.testing.assert_close(pair.log_ratio(a), pair.log_prob_positive(a) - pair.log_prob_negative(a))


def test_the_linear_pair_has_a_linear_ratio_and_its_stated_auc() -> None:
    pair = SyntheticPair.linear(separation=2.0)
    a = stacked(pair, 0)
    a, b = a[:N], a[N:]
    torch.testing.assert_close(pair.log_ratio(a) + pair.log_ratio(b), 2 * pair.log_ratio((a.double() + b.double()) / 2))
    scores = torch.cat([pair.log_ratio(a), pair.log_ratio(b)]).numpy()
    expected = 0.5 * (1 + math.erf(2.0 / 2))  # Φ(separation / √2)
    assert roc_auc_score(LABELS, scores) == pytest.approx(expected, abs=0.02)


def test_the_quadratic_pair_has_an_even_ratio_and_norms_that_say_nothing() -> None:
    pair = SyntheticPair.quadratic()
    a = stacked(pair, 0)
    torch.testing.assert_close(pair.log_ratio(a), pair.log_ratio(-a), rtol=0, atol=0)
    torch.testing.assert_close(4 * pair.log_ratio(a), pair.log_ratio(2 * a))
    assert roc_auc_score(LABELS, a.norm(dim=-1).numpy()) == pytest.approx(0.5, abs=0.05)


def test_a_degree_two_kernel_reads_the_quadratic_pair_and_a_linear_one_does_not() -> None:
    """On directions, 1000 a class: linear AUC ≤ 0.55; cross-validated kernel ≥ 0.95 of the true ratio's AUC."""
    pair = SyntheticPair.quadratic()
    held_out = stacked(pair, 2)
    train, test = directions(stacked(pair, 1)), directions(held_out)
    linear = LogisticRegression(max_iter=1000).fit(train, LABELS)
    linear_auc = roc_auc_score(LABELS, linear.decision_function(test))
    assert max(linear_auc, 1 - linear_auc) <= 0.55
    split = StratifiedShuffleSplit(1, test_size=0.5, random_state=0)
    kernels = {gamma: kernel_rows(train, test, gamma) for gamma in (0.1, 4.0)}
    candidates = list(product(kernels, (0.1, 1.0)))

    def validation_auc(candidate: tuple[float, float]) -> float:
        gamma, C = candidate
        return cross_val_score(logistic(C), kernels[gamma][0], LABELS, cv=split, scoring="roc_auc").item()

    gamma, C = max(candidates, key=validation_auc)
    rows, others = kernels[gamma]
    quadratic = logistic(C).fit(rows, LABELS)
    true_auc = roc_auc_score(LABELS, pair.log_ratio(held_out).numpy())
    assert true_auc > 0.95
    assert roc_auc_score(LABELS, quadratic.decision_function(others)) >= 0.95 * true_auc


def test_samples_repeat_follow_their_seed_and_have_the_stated_moments() -> None:
    pair = SyntheticPair.linear(d=8, separation=3.0, seed=4)
    positive, negative = pair.sample(20_000, seed=0)
    assert positive.dtype == torch.float32
    assert positive.shape == (20_000, 8)
    assert torch.equal(positive[:5], pair.sample(20_000, seed=0)[0][:5])
    assert not torch.equal(positive[:5], pair.sample(20_000, seed=1)[0][:5])
    torch.testing.assert_close(positive.double().mean(0), pair.mean_positive, atol=0.05, rtol=0)
    torch.testing.assert_close(negative.double().T.cov(), pair.covariance_negative, atol=0.1, rtol=0)


def test_impossible_pairs_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="separation=0"):
        SyntheticPair.linear(separation=0.0)
    with pytest.raises(ValueError, match="rank=5"):
        SyntheticPair.quadratic(d=8, rank=5)
    with pytest.raises(ValueError, match="variance=1"):
        SyntheticPair.quadratic(variance=1.0)
    with pytest.raises(ValueError, match="n=0"):
        SyntheticPair.linear(d=2).sample(0, seed=0)
