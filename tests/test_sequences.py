"""Sequences of limits: what they attain at all times together, against exact answers, with and without replacement."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odesteer_tl import stats
from odesteer_tl.stats import bounded
from odesteer_tl.stats.sequences import log_wealth, refuted, upper_limit

ALPHA = 0.1


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_true_mean_is_refuted_at_no_time_in_all_but_alpha_of_sequences(share):
    x = (np.random.default_rng(0).random((3000, 200)) < share).astype(float)
    # exact limits of 3,000 tries at ALPHA, four standard errors above
    assert refuted(x, share, ALPHA).mean() < ALPHA + 4 * np.sqrt(ALPHA * (1 - ALPHA) / 3000)


def test_without_replacement_every_order_of_a_small_population_is_counted():
    """All orders, so the share is exact and no simulation: at most alpha, and more than half of it."""
    for population in ([1, 1, 0, 0, 0, 0, 0], [0.2, 0.9, 0.9, 0.9, 0.4, 1.0, 1.0]):
        orders = np.array(list(itertools.permutations(population)), dtype=float)
        mean = float(np.mean(population))
        for alpha in (0.05, 0.2, 0.5):
            assert refuted(orders, mean, alpha, population=7).mean() <= alpha
    # of two ones in seven that come last, five zeros in a row: one order in 21, which a level of 1/21 may refute
    assert not refuted(np.array([[1.0, 0, 0, 0, 0, 0, 1]]), 2 / 7, 0.05, population=7).any()


def test_what_is_independent_has_the_wealth_of_a_binomial_bet():
    """Against the closed form of one stake a factor, and no looser than the order-free test of `bounded` by far."""
    x = np.array([1.0, 0.0, 0.0, 1.0, 0.0])
    stakes = np.sin((np.arange(10) + 0.5) * np.pi / 20) ** 2
    by_hand = [
        np.mean(np.prod([1 - stakes + stakes * (1 - v) / (1 - 0.8) for v in x[: n + 1]], axis=0)) for n in range(5)
    ]
    np.testing.assert_allclose(np.exp(log_wealth(x, 0.8)), by_hand, rtol=1e-12)
    # the order-free test mixes other stakes: the same evidence to a factor
    many = (np.random.default_rng(1).random(200) < 0.3).astype(float)
    for mean in (0.35, 0.4, 0.45):
        at_once = -np.log(bounded.pvalue(1 - many, 1 - mean))
        assert abs(log_wealth(many, mean)[-1] - max(at_once, 0)) < 1.5


def test_all_of_a_population_leave_nothing_open():
    x = np.random.default_rng(2).random((5, 40))
    np.testing.assert_allclose(upper_limit(x, 0.05, population=40), x.mean(1), atol=2**-15)


@settings(max_examples=25)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=12), st.integers(0, 11), st.booleans())
def test_a_larger_number_in_the_place_of_one_never_refutes_more(values, at, finite):
    """Why an unseen reward may stand as the best it could be."""
    x = np.array(values)
    more = x.copy()
    more[at % len(x)] = 1.0
    population = 15 if finite else None
    for least in (-0.5, 0.0, 0.4):
        one, other = (log_wealth(y, least, population=population) for y in (x, more))
        assert (other <= one + 1e-9).all()


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_two_limits_enclose_and_only_close_in(values):
    low, high = stats.confidence_sequence(values, population=40)
    free = stats.confidence_sequence(values)
    seen = np.cumsum(values)
    left = 40 - np.arange(1, len(values) + 1)
    for a, b in ((low, high), free):
        assert (np.diff(a) >= 0).all()
        assert (np.diff(b) <= 0).all()
        assert (a >= 0).all()
        assert (b <= 1).all()
    # never wider than what is possible at all
    assert (low >= seen / 40 - 1e-3).all()
    assert (high <= (seen + left) / 40 + 1e-3).all()


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_constant_numbers_close_in_on_themselves(value):
    low, high = stats.confidence_sequence(np.full(300, value), 0.95)
    assert low[-1] <= value <= high[-1]
    assert high[-1] - low[-1] < 0.1


def test_what_cannot_be_is_refused(unchecked):
    with pytest.raises(ValueError, match="no NaN"):
        log_wealth(np.array([0.1, np.nan]), 0.5)
    with pytest.raises(ValueError, match="population=3"):
        log_wealth(np.full(4, 0.5), 0.5, population=3)
    with pytest.raises(ValueError, match="within bounds"):
        stats.confidence_sequence([0.5, 1.5])
