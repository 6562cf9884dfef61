"""Comparisons at equal budget, end to end: every arm spends the same, declared tests, tables for a paper, resumed."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import odesteer_tl as ode
from analyses.effects import EffectSettings
from analyses.effects.comparison import MARGIN, PRIMARY, ComparisonReport
from analyses.layer_effectiveness import LayersConfig, layer_effectiveness
from analyses.layer_effectiveness import main as layers_main
from analyses.method_comparison import ComparisonConfig, main, method_comparison
from analyses.sweep import IncompleteStudy

#: no densities here: the layer study below has them, and every other measure
SMALL = EffectSettings(pairs=60, select=0, test=12, max_new_tokens=5, passage="text", cross_fit=True,
                       measures=("geometry", "cost", "text"))  # fmt: skip


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("comparison")
    methods = ("caa", "optimal_cap", "pid", "cast")
    config = ComparisonConfig(effect=SMALL, methods=methods, angle=(0.3,), displacement=(), kl=(0.03,), out=out)
    return config, *method_comparison(config)


def test_every_method_spends_the_same(compared):
    _, report, directory = compared
    table = pd.read_parquet(directory / "table.parquet")
    assert set(table["label"]) == {"unsteered", "caa", "optimal_cap", "pid", "pid, layers in turn", "cast", "random",
                                   "odesteer_kernel, ten Euler steps", "odesteer_kernel, one step"}  # fmt: skip
    spent = table.query("budget == 'kl'")
    assert spent.query("label != 'cast'")["reached"].all()
    np.testing.assert_allclose(spent.query("reached")["kl"], 0.03, rtol=0.02)
    assert 0 < spent.query("label == 'cast'")["acts"].mean() < 1
    methods = report.methods.query("budget == 'kl'").set_index("method")
    assert methods.loc["cast", "angle"] > methods.loc["caa", "angle"]  # of the tokens it acts on
    assert (methods["paid"] > 0).all()
    assert (report.frontier["n"] == 12).all()


def test_the_declared_contrasts_are_corrected_together(compared):
    _, report, _ = compared
    assert len(report.primary) == 2 * len(PRIMARY)
    assert (report.primary["p_holm"] >= report.primary["p"]).all()
    # that twelve prompts fare alike is no evidence that 1 in 20 would not
    assert not report.primary["equivalent"].any()
    caa = report.methods.query("method == 'caa'")
    assert (caa["p"] == 1).all()
    assert (caa["difference"] == 0).all()


def test_tables_for_a_paper_hold_every_method(compared):
    _, report, directory = compared
    latex, markdown = ((directory / "report" / f"methods.{kind}").read_text() for kind in ("tex", "md"))
    for name in ("odesteer_kernel, ten Euler steps", "odesteer_kernel, one step", "optimal_cap", "caa"):
        assert name.replace("_", r"\_") in latex
        assert name in markdown
    assert f"equivalent within {MARGIN}" in str(report)
    run = json.loads((directory / "report" / "run.json").read_text())
    assert (run["layer"], run["contrast"], run["test"]) == (2, "valence", 12)


def test_a_finished_comparison_is_not_run_again(compared):
    config, report, directory = compared
    cells = {path: path.stat().st_mtime_ns for path in (directory / "cells").iterdir()}
    again, same = method_comparison(config)
    assert same == directory
    assert {path: path.stat().st_mtime_ns for path in (directory / "cells").iterdir()} == cells
    pd.testing.assert_frame_equal(again.methods, report.methods)


def test_a_method_that_always_succeeds_where_the_baseline_never_does_is_starred():
    rows = []
    for label in (
        "caa",
        "gated",
        "good",
        "odesteer_kernel, ten Euler steps",
        "odesteer_kernel, one step",
        "optimal_cap",
    ):
        for budget in ("angle", "kl"):
            rows.append(pd.DataFrame({
                "prompt": range(60), "split": "test", "layer": 2, "label": label, "budget": budget, "level": 0.1,
                "success": label != "caa", "reached": True, "certified": 1.0, "angle": 0.1, "kl": 0.1,
                "acts": 1.0, "displacement": 0.1, "text_kl_mean": 0.1,
                "efficiency": 0.9, "typicality": 0.5, "probe_auc": 0.9, "probe_log_loss": 0.1, "probe_slope": 1.0,
            }))  # fmt: skip
    table = pd.concat(rows, ignore_index=True)
    table.loc[(table["label"] == "gated") & (table["prompt"] < 30), "reached"] = False
    report = ComparisonReport.of(table, "made up")
    paper = report.for_paper()
    # half of its prompts could not spend the budget: shown last, marked, not tested
    assert paper.index[-1] == "gated"
    assert paper.loc["gated", "kl 0.1"].endswith("†")
    assert report.methods.query("method == 'gated'")["p_holm"].isna().all()
    assert paper.loc["good", "kl 0.1"].endswith("*")
    assert not paper.loc["caa", "kl 0.1"].endswith("*")
    assert report.primary["equivalent"].all()


def test_a_study_with_failed_cells_says_so_and_leaves_with_1(tmp_path, capsys, monkeypatch):
    def broken(positive, negative, seed=0):
        raise ArithmeticError("no direction in these data")

    monkeypatch.setitem(ode.METHODS, "broken", ode.methods.Method(broken, "euler", 1, "this test"))
    config = ComparisonConfig(effect=replace(SMALL, test=4, max_new_tokens=2), methods=("caa", "broken"), angle=(0.3,),
                              displacement=(), kl=(), out=tmp_path)  # fmt: skip
    with pytest.raises(
        IncompleteStudy,
        match=r"5 of 6 cells done, 1 failed, the first with ArithmeticError: no direction in these data; see",
    ):
        method_comparison(config)
    assert main(config) == 1
    assert "1 failed" in capsys.readouterr().err


def test_a_layer_study_reports_what_it_chose(tmp_path, capsys):
    effect = EffectSettings(pairs=280, select=4, test=6, max_new_tokens=3)
    config = LayersConfig(effect=effect, layers=(2, 3), angle=(), kl=(0.03,), out=tmp_path,
                          arms=("caa", "odesteer_kernel, one step", "odesteer_kernel"))  # fmt: skip
    report, directory = layer_effectiveness(config)
    assert set(report.layers["layer"]) == {-1, 2, 3}
    assert set(report.chosen["layer"]) <= {2, 3}
    assert (report.contrasts["n"] == 6).all()
    assert (directory / "report" / "layers.parquet").exists()
    summed = pd.read_parquet(directory / "report" / "differences.parquet").set_index(["first", "second"])
    flow = report.contrasts.query("first == 'odesteer_kernel' and second == 'caa'")["difference"]
    assert summed.loc[("odesteer_kernel", "caa"), ["least", "most"]].tolist() == [flow.min(), flow.max()]
    assert (summed["cells"] == 2).all()
    assert layers_main(config) == 0
    printed = capsys.readouterr().out
    written = (directory / "report" / "report.md").read_text(encoding="utf-8")
    assert "Success by layer" in printed
    for title in ("Success by layer", "chosen on other prompts", "Declared differences", "Picking the layer"):
        assert title in written
