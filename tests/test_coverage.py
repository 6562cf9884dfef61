"""What the project claims holds as often as it says: a short run of the simulation, and that nothing is left out."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from analyses.coverage import CoverageConfig, shown, simulate
from analyses.inference import claims
from odesteer_tl import stats
from odesteer_tl.densities.calibration import rank_pvalue

#: by how much what holds for many units alone may fall short at 20
SHORT = 0.03


@pytest.fixture(scope="module")
def table():
    return simulate(CoverageConfig(simulations=60, prompts=(20,), resamples=200))


def test_every_claim_holds_as_often_as_it_says(table):
    """Within what chance allows once in ten thousand claims; a percentile bootstrap of 0 and 1 holds .4 to .9."""
    nominal = table["nominal"] - np.where(table["exact"], 0.0, SHORT)
    least = binom.ppf(1e-4, 60, nominal) / 60
    assert (table["attained"] >= least).all(), table[table["attained"] < least].to_string()
    assert len(shown(table)) == len(table)


def test_every_public_statistic_is_simulated():
    source = Path(claims.__file__).read_text()
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
