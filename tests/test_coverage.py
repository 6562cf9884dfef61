"""What the project claims holds as often as it says: a short run of the simulation, and that nothing is left out."""

import inspect
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from analyses.coverage import CoverageConfig
from analyses.inference import claim, claims, coverage, exact
from analyses.inference.coverage import enumerate_equivalence, shown, simulate
from analyses.inference.units import unequal_prompts
from odesteer_tl import stats
from odesteer_tl.densities.calibration import rank_pvalue

SIMULATIONS = 40


@pytest.fixture(scope="module")
def table():
    return simulate(CoverageConfig(simulations=SIMULATIONS, prompts=(20,), resamples=200))


def test_every_claim_holds_as_often_as_it_says(table):
    """Within what chance allows once in ten thousand claims; a percentile bootstrap of 0 and 1 holds .4 to .9."""
    least = binom.ppf(1e-4, SIMULATIONS, table["stated"]) / SIMULATIONS
    short = table[table["attained"] < least]
    assert short.empty, short.to_string()
    assert (table["refused"] == 0).sum() >= len(table) - 1
    assert len(shown(table)) == len(table)


def test_like_stands_beside_like_with_what_it_says_and_attains(table):
    names = table["claim"].tolist()
    assert [a for a, b in pairwise(names) if a != b] == list(dict.fromkeys(names))[:-1]
    assert {"nominal", "attained", "error", "stated"} <= set(table)
    assert "± " in shown(table)["n = 20"].iloc[0]


def test_a_row_that_falls_short_fails_the_run(monkeypatch, capsys):
    """A tenth short of nominal at 200 simulations is six standard errors; what the documents state is none."""

    def some(stated):
        return lambda k: iter([claim.Claim("a", "b", False, lambda r, n, s: bool(r.random() < 0.8), stated)])

    monkeypatch.setattr(exact, "SIZES", (5,))
    monkeypatch.setattr(coverage, "enumerate_equivalence", lambda: enumerate_equivalence((5,)))
    monkeypatch.setattr(coverage, "claims", some(claim.LEVEL))
    assert coverage.run(CoverageConfig(simulations=200, prompts=(10,))) == 1
    assert "1 rows fall short" in capsys.readouterr().out
    monkeypatch.setattr(coverage, "claims", some(0.75))
    assert coverage.run(CoverageConfig(simulations=200, prompts=(10,))) == 0


def test_0_1_outcomes_at_the_margin_are_declared_equivalent_in_no_more_than_alpha_by_enumeration():
    found = enumerate_equivalence((5, 10, 20, 33, 59, 60, 100))
    assert (found["declared"] <= 0.05 + 1e-6).all()
    assert (found.query("n >= 60")["declared"] > 0.02).all()  # not by never declaring
    every = exact.tables(60)
    region = exact.declared(every, 60, 0.1)
    edge = [every[region][every[region].sum(1).argmax()], every[~region][every[~region].sum(1).argmin()]]
    for (b, c), verdict in zip(edge, (True, False), strict=True):
        first = np.r_[np.ones(b), np.zeros(60 - b)]
        second = np.r_[np.zeros(b), np.ones(c), np.zeros(60 - b - c)]
        assert stats.equivalence(first, second, 0.1).equivalent == verdict


def test_few_prompts_with_many_rows_do_not_make_an_area_certain():
    """Of 20 prompts two have fifty rows each: as twenty prompts of equal weight the interval held in .40."""
    prompts, rng = unequal_prompts(20), np.random.default_rng(0)
    y = (np.arange(20) % 2 == 0)[prompts]
    with pytest.raises(ValueError, match="worth less than as many prompts"):
        stats.auc(rng.normal(size=len(prompts)), y, groups=prompts)
    prompts = unequal_prompts(200)
    y = (np.arange(200) % 2 == 0)[prompts]
    x = rng.normal(size=200)[prompts] + y
    found, once = stats.auc(x, y, groups=prompts), stats.auc(x, y, groups=np.arange(len(x)))
    assert found.high - found.low > 2 * (once.high - once.low)


def test_a_share_of_prompts_of_unequal_size_counts_no_more_units_than_there_are():
    """Eighteen prompts of one row and two of fifty: at most 22 units, and not 118."""
    prompts = unequal_prompts(20)
    successes = np.ones(len(prompts), dtype=bool)
    successes[prompts == 0] = np.arange(50) > 0
    found = stats.share(successes, groups=prompts)
    assert found.low < 0.9  # of 118 independent rows .96


def test_a_correlation_whose_spread_depends_on_x_is_less_certain():
    """By the variance of normal numbers .88 of intervals held at 50."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    found = stats.rank_correlation(x, x * rng.normal(size=200))
    assert np.arctanh(found.high) - np.arctanh(found.low) > 1.15 * 2 * 1.96 * np.sqrt(1 / 197)


def test_every_public_statistic_is_simulated():
    source = "".join(file.read_text() for file in Path(claims.__file__).parent.glob("*.py"))
    functions = {name for name, f in inspect.getmembers(stats, inspect.isfunction)} - {"areas"}
    assert functions >= {"share", "mean", "paired_difference", "equivalence", "auc", "peak"}
    assert not {name for name in functions if not re.search(rf"stats\.{name}\b", source)}


def test_the_p_value_of_ranks_takes_prompts_and_not_rows_for_units():
    """Twenty near-copies of each of 20 prompts: as rows they would refute a density that is right."""
    rng = np.random.default_rng(0)
    wrong = {"rows": 0, "prompts": 0}
    for _ in range(60):
        found, drawn = np.repeat(rng.normal(size=20), 20) + 0.05 * rng.normal(size=400), rng.normal(size=1000)
        wrong["rows"] += rank_pvalue(found, drawn) < 0.05
        wrong["prompts"] += rank_pvalue(found, drawn, np.repeat(np.arange(20), 20).tolist()) < 0.05
    assert wrong["rows"] > 30
    assert wrong["prompts"] <= binom.ppf(0.999, 60, 0.05)
    far = np.repeat(rng.normal(3, 1, size=20), 20)
    assert rank_pvalue(far, rng.normal(size=1000), np.repeat(np.arange(20), 20).tolist()) < 1e-3
    with pytest.raises(ValueError, match="one label a row"):
        rank_pvalue(far, far, [1, 2])
