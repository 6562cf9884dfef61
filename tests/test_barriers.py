"""Barriers: gradients, exact collapse, agreement with scikit-learn, calibration."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.kernel_approximation import PolynomialCountSketch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import odesteer_tl as ode
from odesteer_tl.barriers.dual import fit_dual
from tests.problems import activations, gaussian_classes, random_quadratic

D = 24
BARRIERS = [
    ode.LinearBarrier(),
    ode.SketchBarrier(degree=1, n_components=300),
    ode.SketchBarrier(degree=2, n_components=300),
    ode.SketchBarrier(degree=3, n_components=300),
    ode.SketchBarrier(degree=4, n_components=300, coef0=0.0),
    ode.KernelBarrier(degree=1, C=1.0),
    ode.KernelBarrier(degree=2, C=10.0),
    ode.KernelBarrier(degree=3, C=1.0),
    ode.FourierBarrier(n_components=300),
]


@pytest.fixture(scope="module", params=BARRIERS, ids=repr)
def barrier(request):
    return request.param.fit(*gaussian_classes(60, D))


def test_gradient_is_autograds(barrier):
    a = activations(7, D).requires_grad_(True)
    if isinstance(barrier, ode.SketchBarrier):
        value = barrier._score(a / a.norm(dim=-1, keepdim=True))  # the hashes themselves, whatever the degree
    else:
        value = barrier.value(a)
    (expected,) = torch.autograd.grad(value.sum(), a)
    torch.testing.assert_close(barrier.gradient(a.detach()), expected, rtol=1e-11, atol=2e-14)


def test_value_follows_the_gradient(barrier):
    a, step = activations(5, D), 1e-6 * activations(5, D, seed=2, norm=1.0)
    predicted = (barrier.gradient(a) * step).sum(-1)
    actual = (barrier.value(a + step) - barrier.value(a - step)) / 2
    torch.testing.assert_close(actual, predicted, rtol=1e-4, atol=1e-12)


def test_only_spherical_barriers_ignore_the_norm(barrier):
    a = activations(5, D)
    same = torch.allclose(barrier.value(a), barrier.value(3 * a), rtol=1e-12)
    assert same == barrier.spherical


def test_float32_agrees_with_float64(barrier):
    a = activations(5, D)
    assert barrier.value(a.float()).dtype == torch.float32
    assert barrier.value(a.bfloat16()).dtype == torch.float32
    torch.testing.assert_close(barrier.value(a.float()).double(), barrier.value(a), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("coef0", [0.0, 1.0, 0.2])
@pytest.mark.parametrize("gamma", [0.1, 4.0])
def test_sketch_collapses_to_its_quadratic(degree, coef0, gamma):
    barrier = ode.SketchBarrier(degree, gamma, coef0, n_components=257, seed=3).fit(*gaussian_classes(60, D))
    a = activations(50, D)
    expected = barrier._score(a / a.norm(dim=-1, keepdim=True))
    q = barrier.quadratic
    u = a / a.norm(dim=-1, keepdim=True)
    by_hand = torch.einsum("ni,ij,nj->n", u, q.A, u) + u @ q.b + q.c
    torch.testing.assert_close(by_hand, expected, rtol=0, atol=3e-14 * max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_sketch_is_scikit_learns(degree):
    positive, negative = gaussian_classes(80, D)
    barrier = ode.SketchBarrier(degree, 0.7, 1.0, n_components=200, C=2.0, seed=5).fit(positive, negative)
    rows = torch.cat([positive, negative]).double()
    rows = (rows / rows.norm(dim=-1, keepdim=True)).numpy()
    sketch = PolynomialCountSketch(gamma=0.7, degree=degree, coef0=1.0, n_components=200, random_state=5).fit(rows)
    model = LogisticRegression(C=2.0, max_iter=10_000).fit(sketch.transform(rows), [1] * 80 + [0] * 80)
    theirs = torch.from_numpy(model.decision_function(sketch.transform(rows)))
    torch.testing.assert_close(barrier.value(torch.cat([positive, negative]).double()), theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("C", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("counts", [(70, 70), (90, 40)])
def test_dual_is_scikit_learns_logistic_regression(C, counts):
    positive, negative = gaussian_classes(90, D, shift=0.05)
    rows = torch.cat([positive[: counts[0]], negative[: counts[1]]]).double()
    rows = rows / rows.norm(dim=-1, keepdim=True)
    labels = torch.tensor([1.0] * counts[0] + [0.0] * counts[1], dtype=torch.float64)
    K = (rows @ rows.mT + 1) ** 2
    alpha, w0 = fit_dual(K, labels, C)
    factor = torch.linalg.cholesky(K + 1e-12 * torch.eye(len(K))).numpy()
    theirs = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(factor, labels.numpy())
    ours = (K @ alpha + w0).numpy()
    np.testing.assert_allclose(ours, theirs.decision_function(factor), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(alpha, C * (labels - torch.sigmoid(K @ alpha + w0)), rtol=1e-6, atol=1e-6 * C)


def test_dual_survives_repeated_rows_and_separable_data():
    positive, negative = gaussian_classes(30, D, shift=3.0)
    barrier = ode.KernelBarrier(C=1e4).fit(positive.repeat(2, 1), negative.repeat(2, 1))
    assert torch.isfinite(barrier.value(positive)).all()
    assert (barrier.value(positive) > 0).all()
    assert (barrier.value(negative) < 0).all()


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("d", [12, 200])
def test_kernel_collapses_to_its_quadratic_in_or_out_of_its_span(degree, d):
    barrier = ode.KernelBarrier(degree, 0.5, 0.7, C=10.0).fit(*gaussian_classes(40, d))
    q, a = barrier.quadratic, activations(20, d)
    assert q.spectrum.reduced == (d > 80)
    u = a / a.norm(dim=-1, keepdim=True)
    by_hand = torch.einsum("ni,ij,nj->n", u, q.A, u) + u @ q.b + q.c
    scale = float(barrier.fitted("alpha").abs().sum())
    torch.testing.assert_close(by_hand, barrier.value(a), rtol=0, atol=3e-15 * scale)
    torch.testing.assert_close(q.value(a), barrier.value(a), rtol=0, atol=3e-15 * scale)
    torch.testing.assert_close(q.gradient(a), barrier.gradient(a), rtol=0, atol=3e-15 * scale)


def test_intercept_does_not_depend_on_class_sizes():
    positive, negative = gaussian_classes(4000, 4, shift=0.3)
    balanced = ode.LinearBarrier(C=1e3).fit(positive, negative)
    skewed = ode.LinearBarrier(C=1e3).fit(positive, negative[:1000])
    a = activations(100, 4)
    assert (balanced.value(a) - skewed.value(a)).abs().mean() < 0.25 < np.log(4)


def test_cross_validation_chooses_on_held_out_loss():
    # two classes of one distribution: nothing to learn, so the strongest regularisation predicts best
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(120, D, generator=g)
    assert ode.KernelBarrier(gamma="cv", C="cv").fit(noise[:60], noise[60:]).chosen["C"] == 1.0
    first, again = (ode.KernelBarrier(gamma="cv", C="cv").fit(*gaussian_classes(60, D)) for _ in range(2))
    assert again.chosen == first.chosen
    assert first.chosen["C"] > 1.0  # where there is signal, less regularisation wins
    torch.testing.assert_close(again.state["alpha"], first.state["alpha"], rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e4])
def test_the_calibrated_log_ratio_does_not_hang_on_the_scores_unit(scale):
    """Scores of 1e-6 were left uncalibrated: the loss is flat there, and the solver stopped where it started."""
    fit, held_out = gaussian_classes(200, 6), gaussian_classes(200, 6, seed=1)
    barrier = ode.LinearBarrier().fit(*fit).calibrate(*held_out)
    weights = {name: scale * x for name, x in barrier.state.items()}
    small = ode.LinearBarrier().restore(weights, None)
    small.calibrate(*held_out)
    assert small.calibration.slope * scale == pytest.approx(barrier.calibration.slope, rel=1e-3)
    assert small.calibration.intercept == pytest.approx(barrier.calibration.intercept, abs=1e-3)


def test_calibration_recovers_a_planted_slope():
    pair = ode.organism.SyntheticPair.linear(d=8, seed=0)
    fit, held_out = pair.sample(3000, seed=1), pair.sample(20000, seed=2)
    barrier = ode.LinearBarrier(C=1e4).fit(*fit).calibrate(*held_out)
    slope = barrier.calibration.slope
    half = ode.LinearBarrier(C=1e4).fit(*fit)
    half.state = {**half.state, "b": half.state["b"] / 2, "c": half.state["c"] / 2}
    half.calibrate(*held_out)
    assert 0.8 < slope < 1.25
    assert half.calibration.slope == pytest.approx(2 * slope, rel=1e-3)
    a = held_out[0][:50]
    torch.testing.assert_close(half.log_ratio(a), barrier.log_ratio(a), rtol=1e-3, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10_000), st.floats(-6, 6))
def test_scaling_a_quadratic_scales_value_and_gradient(d, seed, exponent):
    q, s = random_quadratic(d, seed), 10.0**exponent
    scaled = ode.QuadraticBarrier(A=s * q.A, b=s * q.b, c=s * q.c)
    a = activations(3, d, seed=seed + 1)
    torch.testing.assert_close(scaled.value(a), s * q.value(a), rtol=1e-12, atol=1e-12 * s)
    torch.testing.assert_close(scaled.gradient(a), s * q.gradient(a), rtol=1e-12, atol=1e-12 * s)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: ode.KernelBarrier(C=-1.0), "C=-1.0"),
        (lambda: ode.KernelBarrier(gamma="auto"), "gamma='auto'"),
        (lambda: ode.SketchBarrier(degree=0), "degree=0"),
        (lambda: ode.SketchBarrier(gamma=0.0), "gamma=0.0"),
        (lambda: ode.FourierBarrier(gamma="mean"), "gamma='mean'"),
        (lambda: ode.LinearBarrier(C=0), "C=0"),
        (lambda: ode.QuadraticBarrier(A=torch.zeros(3, 3), b=torch.zeros(2)), "A has shape"),
        (lambda: ode.QuadraticBarrier(A=torch.full((2, 2), torch.nan), b=torch.zeros(2)), "A holds 4 NaN"),
        (lambda: ode.LinearBarrier().fit(torch.ones(3, 4), torch.ones(2, 5)), "width 5"),
        (lambda: ode.LinearBarrier().fit(torch.ones(0, 4), torch.ones(2, 4)), "positive has shape"),
        (lambda: ode.LinearBarrier().fit(torch.ones(2, 4), torch.zeros(2, 4)), "negative: the norm"),
        (lambda: ode.LinearBarrier().fit(torch.ones(2, 4), torch.full((2, 4), torch.inf)), "negative holds 8"),
        (lambda: ode.LinearBarrier().value(torch.ones(4)), "not fitted"),
        (lambda: ode.LinearBarrier().fit(*gaussian_classes(9, 4)).log_ratio(torch.ones(4)), "not calibrated"),
        (lambda: ode.LinearBarrier().fit(*gaussian_classes(9, 4)).value(torch.ones(5)), "d_model=4"),
        (lambda: ode.KernelBarrier(degree=3, C=1.0).fit(*gaussian_classes(9, 4)).quadratic, "degree ≤ 2"),
        (lambda: ode.KernelBarrier(C="cv").fit(*gaussian_classes(3, 4)), "folds=5"),
        (lambda: ode.LinearBarrier(C="cv"), "C='cv' must be a positive number; KernelBarrier(degree=1, C='cv'"),
        (lambda: ode.SketchBarrier(C="cv"), "C='cv' must be a positive number; KernelBarrier(C='cv'"),
        (lambda: ode.SketchBarrier(gamma="cv"), "gamma='cv' must be a positive number; KernelBarrier(gamma='cv'"),
        (lambda: ode.SketchBarrier(n_components="all"), "n_components='all' must be a number of at least 1"),
        (lambda: ode.FourierBarrier(C="cv"), "C='cv' must be a positive number; this barrier"),
        (lambda: ode.FourierBarrier(gamma="cv"), "gamma='cv' must be a positive number, or 'median'; this barrier"),
        (lambda: ode.KernelBarrier(gamma="median"), "gamma='median' must be a positive number, or 'cv'"),
        (lambda: ode.KernelBarrier(coef0="cv"), "coef0='cv' must be a number of at least 0"),
        (lambda: ode.LinearBarrier(C=0), "C=0 must be a positive number"),
        (lambda: ode.LinearBarrier(C=float("nan")), "C=nan must be a positive number"),
        (lambda: ode.KernelBarrier(C=None), "C=None must be a positive number, or 'cv'"),
    ],
)
def test_bad_input_names_the_argument_and_the_value(make, word, unchecked):
    with pytest.raises(ValueError, match=word.replace("(", r"\(")):
        make()


def test_on_a_log_ratio_without_linear_part_only_the_quadratic_barrier_sees():
    """The synthetic pair's oracle: linear AUC ≤ 0.55, quadratic ≥ 0.95 of the true ratio's."""
    pair = ode.organism.SyntheticPair.quadratic(seed=0)
    train, test = pair.sample(500, seed=1), torch.cat(pair.sample(2000, seed=2))
    labels = np.repeat([1, 0], [2000, 2000])
    truth = roc_auc_score(labels, pair.log_ratio(test))
    linear = roc_auc_score(labels, ode.LinearBarrier().fit(*train).value(test))
    quadratic = roc_auc_score(labels, ode.KernelBarrier(gamma=1.0, C=10.0).fit(*train).value(test))
    assert linear <= 0.55
    assert quadratic >= 0.95 * truth


def test_mixed_precision_ends_at_the_same_optimum(monkeypatch):
    positive, negative = gaussian_classes(300, D)
    rough = ode.KernelBarrier(C=100.0).fit(positive, negative)
    monkeypatch.setattr("odesteer_tl.barriers.dual.MIXED_PRECISION_FROM", 10**9)
    exact = ode.KernelBarrier(C=100.0).fit(positive, negative)
    a = activations(50, D)
    torch.testing.assert_close(rough.value(a), exact.value(a), rtol=1e-5, atol=1e-5)


def test_the_median_bandwidth_is_the_authors():
    """σ = m/√2, so frequencies are normal with standard deviation √2/m; m over all pairs, written out."""
    classes = gaussian_classes(20, 6)
    rows = torch.cat(classes).double()
    distances = sorted(float((x - y).norm()) for i, x in enumerate(rows) for y in rows[:i])
    middle = len(distances) // 2
    m = (distances[middle - 1] + distances[middle]) / 2
    sigma = m / 2**0.5
    expected = np.random.RandomState(3).normal(size=(6, 50)) / sigma
    found = ode.FourierBarrier(n_components=50, seed=3).fit(*classes).state["frequencies"]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
