"""On pairs with known ratios: a nonlinear barrier wins exactly where there is no linear part."""

import pandas as pd
import pytest

from analyses.effects import Arm
from analyses.effects.steer import angle_between
from analyses.synthetic_comparison import SyntheticConfig, barrier_rows, main, outcome, over_seeds, turned
from odesteer_tl import METHODS
from odesteer_tl.organism import SyntheticPair

SMALL = SyntheticConfig(d=16, fit=300, test=100, seeds=1)


@pytest.mark.parametrize(("make", "nonlinear_wins"), [(SyntheticPair.linear, False), (SyntheticPair.quadratic, True)])
def test_the_kernel_gains_where_constant_directions_cannot(make, nonlinear_wins):
    pair = make(16, seed=1)
    fit, (_, start) = pair.sample(300, 0), pair.sample(100, 1)
    gains = {}
    for name in ("caa", "odesteer_kernel"):
        end, reached = turned(METHODS[name].fit(*fit, 0), Arm.of(name), start, SMALL)
        assert reached == 1
        assert float(angle_between(start, end).sub(SMALL.angle).abs().max()) < 1e-3
        gains[name] = outcome(pair, start, end)["gain"]
    assert gains["odesteer_kernel"] > 0
    if nonlinear_wins:
        assert gains["odesteer_kernel"] > 5 * max(gains["caa"], 0.1)
    else:
        assert gains["caa"] > 0.8 * gains["odesteer_kernel"]


def test_barriers_are_read_and_followed_on_other_activations(tmp_path, capsys):
    rows = pd.DataFrame(barrier_rows(SMALL))
    assert len(rows) == 18
    assert rows["auc"].between(0, 1).all()
    shown = over_seeds(rows, ["pair"], ["auc"])
    assert shown.shape == (2, 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(ValueError, match="is not overwritten"):
        main(SyntheticConfig(out=tmp_path / "out"))
