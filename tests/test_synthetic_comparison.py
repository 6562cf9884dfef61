"""On pairs with known ratios: a nonlinear barrier wins exactly where there is no linear part."""

import pandas as pd
import pytest

from analyses.effects import Arm
from analyses.effects.steer import angle_between
from analyses.geometry.gaussians import barrier_rows, outcome, run, turned
from analyses.synthetic_comparison import SyntheticConfig
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


def test_barriers_are_read_and_followed_on_other_activations():
    rows = pd.DataFrame(barrier_rows(SMALL))
    assert len(rows) == 18
    assert rows["auc"].between(0, 1).all()


def test_what_is_printed_is_the_range_over_seeds_that_is_saved(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("odesteer_tl.METHODS", {name: METHODS[name] for name in ("caa", "odesteer_kernel")})
    config = SyntheticConfig(d=8, fit=60, test=20, seeds=2, out=tmp_path / "out")
    run(config)
    printed = capsys.readouterr().out
    rows, means = (pd.read_parquet(config.out / f"{name}.parquet") for name in ("methods", "methods_over_seeds"))
    gains = rows.query("pair == 'no linear part' and method == 'caa'")["gain"]
    mean = means.query("pair == 'no linear part' and method == 'caa'").iloc[0]
    wanted = [gains.mean(), gains.min(), gains.max()]
    assert mean[["gain", "gain_low", "gain_high"]].tolist() == pytest.approx(wanted)
    assert "{:.2f} [{:.2f}, {:.2f}]".format(*wanted) in printed
    assert len(means) == 4
    assert len(pd.read_parquet(config.out / "barriers_over_seeds.parquet")) == 18
    with pytest.raises(ValueError, match="is not overwritten"):
        run(config)
