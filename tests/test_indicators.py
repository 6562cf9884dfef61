"""Indicators: closed forms, invariances, bad input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr
from scipy.stats import entropy as scipy_entropy
from scipy.stats import linregress

from odesteer_tl.indicators import STATISTICS, branching_factor, divergence, entropy, restricted_divergence, summarise


def logits(seed, *shape):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_uniform_choice_of_k_tokens_has_branching_factor_k():
    x = torch.full((8, 50), -torch.inf)
    for i in range(8):
        x[i, : i + 1] = 1.7
    torch.testing.assert_close(branching_factor(x), torch.arange(1, 9, dtype=torch.float64))
    torch.testing.assert_close(entropy(x), torch.arange(1, 9, dtype=torch.float64).log())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_entropy_divergence_and_branching_factor_agree_with_scipy(seed, top):
    x, y = logits(seed, 3, 40), logits(seed + 1, 3, 40)
    p, q = (z.double().softmax(-1).numpy() for z in (x, y))
    np.testing.assert_allclose(entropy(x), scipy_entropy(p, axis=-1), rtol=1e-12)
    np.testing.assert_allclose(divergence(x, y), rel_entr(p, q).sum(-1), rtol=1e-9)
    kept = np.argsort(-p, axis=-1)[:, :top]
    inside_p, inside_q = (np.take_along_axis(z, kept, -1) for z in (p, q))  # scipy renormalises
    np.testing.assert_allclose(branching_factor(x, top), np.exp(scipy_entropy(inside_p, axis=-1)), rtol=1e-10)
    np.testing.assert_allclose(
        restricted_divergence(x, y, top), scipy_entropy(inside_p, inside_q, axis=-1), rtol=1e-8, atol=1e-12
    )


def test_a_small_divergence_is_not_lost_to_rounding():
    x = logits(0, 1, 1000)
    moved = x.double()
    moved[0, 3] += 1e-4
    p = float(x.double().softmax(-1)[0, 3])
    assert float(divergence(moved, x)) == pytest.approx(0.5 * p * (1 - p) * 1e-8, rel=1e-3)
    assert float(divergence(x, x)) == 0.0


def test_distributions_do_not_depend_on_a_constant_added_to_the_logits():
    x, y = logits(0, 4, 30).double(), logits(1, 4, 30).double()
    torch.testing.assert_close(divergence(x + 5, y - 3), divergence(x, y))
    torch.testing.assert_close(branching_factor(x + 5), branching_factor(x))


def test_the_ten_statistics_of_a_series():
    series = torch.tensor([[1.0, 3.0, 2.0, 6.0, 99.0], [5.0, 99.0, 99.0, 99.0, 99.0], [0.0] * 5])
    kept = torch.tensor([[True, True, True, True, False], [True] + [False] * 4, [False] * 5])
    found = summarise(series, kept)
    first = dict(zip(STATISTICS, found[0], strict=True))
    x = np.array([1.0, 3.0, 2.0, 6.0])
    assert first["mean"] == x.mean()
    assert first["std"] == x.std()
    assert (first["min"], first["median"], first["max"]) == (1, 2.5, 6)
    assert (first["lower_quartile"], first["upper_quartile"]) == tuple(np.quantile(x, [0.25, 0.75]))
    assert (first["first"], first["last"]) == (1, 6)
    assert first["slope"] == pytest.approx(linregress(range(4), x).slope)
    assert found[1].tolist() == [5, 0, 5, 5, 5, 5, 5, 5, 5, 0]
    assert all(math.isnan(v) for v in found[2])


def test_no_tokens_are_refused():
    with pytest.raises(ValueError, match="top=0 must be at least 1"):
        branching_factor(logits(0, 2, 5), top=0)
