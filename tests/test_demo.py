"""The demo, small: its tables, texts and figures, and that it overwrites nothing."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from analyses import demo, demonstration
from figures.outcomes import draw_outcomes
from figures.paths import draw_paths


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    small = demo.DemoConfig(out=out, pairs=60, select=20, test=40, layers=(3,), angles=(0.3,))
    demonstration.demonstrate(small)
    return small


def test_the_table_and_the_texts(config):
    table = pd.read_csv(config.out / "table.csv").set_index(["method", "temperature"])
    assert set(table.index.get_level_values(0)) == {"unsteered", *demonstration.METHODS}
    cool = table.xs(0.7, level="temperature")
    assert cool.loc["unsteered", "success"] < 0.8
    for label in demonstration.METHODS:
        assert cool.loc[label, "success_low"] > cool.loc["unsteered", "success_low"]
    assert abs(cool.loc["odesteer_kernel", "norm_drift"]) < 1e-6
    # the published solver leaves the sphere by its law: √(1 + θ²/N)
    assert cool.loc["odesteer", "norm_drift"] == pytest.approx((1 + 0.09 / 10) ** 0.5 - 1, rel=1e-4)
    assert cool.loc["odesteer_kernel", "certified"] == 1.0
    assert len((config.out / "table.md").read_text().splitlines()) == 2 + 8
    assert (config.out / "texts.md").read_text().count("\n## ") == 10


def test_the_run_is_recorded(config):
    run = json.loads((config.out / "run.json").read_text())
    assert {"versions", "commit", "contrast"} <= set(run)


def test_no_method_passes_the_bound(config):
    paths = pd.read_csv(config.out / "paths.csv")
    bound = paths[paths["method"] == "bound on any steering"].set_index("angle")
    for label in demonstration.METHODS:
        rows = paths[paths["method"] == label].set_index("angle")
        assert (rows["high"] <= bound.loc[rows.index, "high"] + 1e-9).all()


def test_figures_are_the_same_bytes_again_with_truetype_fonts(config, tmp_path):
    table, paths = pd.read_csv(config.out / "table.csv"), pd.read_csv(config.out / "paths.csv")
    for file in [*draw_outcomes(table).save(tmp_path), *draw_paths(paths).save(tmp_path)]:
        assert file.read_bytes() == (config.out / file.name).read_bytes()
        if file.suffix == ".pdf":
            assert b"/Type3" not in file.read_bytes()


def test_an_earlier_run_is_not_overwritten(config):
    with pytest.raises(ValueError, match="not overwritten"):
        demonstration.run(replace(config, seed=1))
