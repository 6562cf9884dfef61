"""Methods beside each other, prompt by prompt: planted scores, whose differences and corrections are known."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

import odesteer_tl as ode
from analyses.effects import paired
from analyses.effects.audit import CHANGE, audit
from analyses.effects.comparison import ComparisonReport
from analyses.effects.plan import Plan
from analyses.effects.settings import EffectSettings
from analyses.method_audit import AuditConfig, main
from analyses.outcomes import Completions
from tests.studies import write_concept

N = 40
#: label: method, and mean score
PLANTED = {"caa": ("caa", 1.0), "pca": ("pca", 0.8), "half": ("mimic", 3.0), "random": ("random", 0.05),
           "bipo": ("bipo", 1.6), "flas": ("flas", 0.9),
           "odesteer_kernel, ten Euler steps": ("odesteer_kernel", 5.0)}  # fmt: skip
BUDGETS = (("angle", 0.3), ("kl", 0.1))


@pytest.fixture(scope="module")
def table():
    """Scores of which most is the prompt's own; with "half" half of the prompts cannot spend the budget."""
    rng = np.random.default_rng(0)
    base = 3 * rng.normal(size=N)
    common = {"prompt": range(N), "split": "test", "success": True}
    parts = [pd.DataFrame({**common, "layer": -1, "label": "unsteered", "method": "none", "budget": "none",
                           "level": 0.0, "score": base})]  # fmt: skip
    for budget, level in BUDGETS:
        for label, (method, score) in PLANTED.items():
            own = {"layer": 2, "label": label, "method": method, "budget": budget, "level": level}
            parts.append(pd.DataFrame({**common, **own, "score": base + score + 0.3 * rng.normal(size=N),
                                       "reached": np.arange(N) % 2 == 0 if label == "half" else True,
                                       "token_cost": 1.0, "kl": 0.1, "displacement": 0.1}))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def found(table):
    return paired.tests(table)


def scores(table, label, budget):
    return table.query("label == @label and budget == @budget")["score"].to_numpy()


def test_every_method_is_tested_against_nothing_the_placebo_and_caa(table, found):
    plain = scores(table, "unsteered", "none")
    assert len(found) == 2 * (7 + 6 + 6)
    assert (found["n"] == N).all()
    for row in found.itertuples():
        first = scores(table, row.method, row.budget)
        second = plain if row.against == "unsteered" else scores(table, row.against, row.budget)
        wanted = ttest_rel(first, second)
        assert row.difference == pytest.approx(np.mean(first - second))
        low, high = wanted.confidence_interval()
        assert (row.low, row.high) == pytest.approx((low, high), abs=0.03)
        assert row.p == pytest.approx(wanted.pvalue, rel=0.3, abs=2e-3)
        assert (row.p < 0.05) == (not row.low <= 0 <= row.high)


def test_correction_is_over_the_methods_and_levels_of_a_reference_that_are_at_equal_budget(found):
    assert found.query("method == 'half'")["p_holm"].isna().all()
    for _, own in found.query("method != 'half'").groupby("against"):
        p = np.sort(own["p"])
        stepped = np.maximum.accumulate(p * np.arange(len(p), 0, -1)).clip(max=1)
        np.testing.assert_allclose(np.sort(own["p_holm"]), stepped)
        assert (own["p_holm"] >= own["p"]).all()
    read = paired.shown(found, "kl", 0.1)
    assert read.loc["half", "p, caa"] == "†"
    assert read.loc["caa", "p, caa"] == read.loc["caa", "− caa"] == "–"
    assert read.loc["bipo", "− caa"] == paired.with_interval(
        *found.query("method == 'bipo' and against == 'caa' and budget == 'kl'")[["difference", "low", "high"]].iloc[0]
    )


def test_families_are_the_mean_of_methods_at_equal_budget_in_their_own_form(table):
    found = paired.declared(table, [paired.FAMILIES, ("bipo", "caa"), ("bipo", "refused")])
    assert found[["method", "against"]].to_numpy().tolist() == [["trained", "fitted"], ["bipo", "caa"]] * 2
    for row in found.itertuples():
        first, second = (("bipo", "flas"), ("caa", "pca")) if row.method == "trained" else (("bipo",), ("caa",))
        a, b = (np.mean([scores(table, name, row.budget) for name in names], 0) for names in (first, second))
        assert row.difference == pytest.approx(np.mean(a - b))
        assert (row.low, row.high) == pytest.approx(tuple(ttest_rel(a, b).confidence_interval()), abs=0.03)
    assert found["members"].tolist() == ["bipo, flas; caa, pca", ""] * 2
    np.testing.assert_allclose(found["p_holm"], 4 * found["p"])


def test_prompts_judged_by_the_same_texts_are_one_unit(table, found):
    """Every prompt twice: as units the intervals would be 1/√2 of what they are."""
    doubled = pd.concat([table, table.assign(prompt=table["prompt"] + N)], ignore_index=True)
    as_units = ComparisonReport.of(doubled.assign(unit=doubled["prompt"] % N), "made up")
    alone = ComparisonReport.of(table.drop(columns="token_cost"), "made up")
    for name in ("methods", "primary", "unsteered"):
        pd.testing.assert_frame_equal(getattr(as_units, name).drop(columns="p", errors="ignore"),
                                      getattr(alone, name).drop(columns="p", errors="ignore"))  # fmt: skip
    assert (as_units.methods["n"] == N).all()
    pd.testing.assert_frame_equal(as_units.tests, found)
    once, again = (x[x["measure"].isin(("success", "score", CHANGE))] for x in (audit(table), as_units.audit))
    pd.testing.assert_frame_equal(again.reset_index(drop=True), once.reset_index(drop=True))
    rows = paired.declared(doubled, [("bipo", "caa")])
    own = paired.declared(table, [("bipo", "caa")])
    assert (rows["n"] == 2 * N).all()
    assert ((rows["high"] - rows["low"]) < 0.8 * (own["high"] - own["low"])).all()


def test_what_too_few_prompts_or_no_reference_leave_is_empty(table):
    assert paired.tests(table.query("prompt < 4")).empty
    assert paired.declared(table.query("prompt < 4"), [paired.FAMILIES]).empty
    assert paired.declared(table, []).empty
    alone = paired.tests(table.query("label in ('bipo', 'random')"))
    assert set(zip(alone["method"], alone["against"], strict=True)) == {("bipo", "random")}


# --- what a study says of its prompts, and its command


@pytest.fixture
def folder(tmp_path):
    """A concept whose prompts are judged by held-out texts, each pair of which stands behind two prompts."""
    prompts = ode.organism.prompts(12, 0)
    prompts[11] = prompts[3]  # whose texts are those of the last row, as 5's
    sides = {"positive": " the happy dog", "negative": " the sad dog"}
    rows = [{"prompt": text, "group": f"texts {i % 6}", **{side: f"{word} ." for side, word in sides.items()}}
            for i, text in enumerate(prompts)]  # fmt: skip
    return write_concept(tmp_path / "axbench", 24, prompts, rows)


def test_units_are_read_from_the_outcomes_file(folder):
    settings = EffectSettings(contrast=str(folder / "pairs.jsonl"), prompts=str(folder / "prompts.json"),
                              outcome=str(folder / "words.json"), select=0, test=12, cross_fit=True,
                              measures=("cost",))  # fmt: skip
    units = Plan.of(settings).units
    assert [units[i] == units[i + 6] for i in range(6)] == [True, True, True, False, True, True]
    assert units[3] == units[5]
    assert len(set(units)) == 6
    rows = json.loads((folder / "words.json").read_text())
    ungrouped = [{key: value for key, value in row.items() if key != "group"} for row in rows]
    (folder / "words.json").write_text(json.dumps(ungrouped))
    assert len(set(Plan.of(settings).units)) == 11  # one prompt is there twice
    (folder / "words.json").write_text(json.dumps([rows[0], *ungrouped[1:]]))
    with pytest.raises(ValueError, match="row 2 has none of group"):
        Completions.read(folder / "words.json")


def test_an_audit_of_a_concept_with_held_out_texts(folder, tmp_path, capsys):
    """As AxBench's: few pairs, cross-fitted, judged by texts; and the report is made again without the model."""
    between = (("pca", "caa"), ("trained", "fitted"))
    config = AuditConfig(folder, "organism", 2, ("caa", "pca"), (0.1,), (), 12, 2, cross_fit=True, out=tmp_path,
                         between=between)  # fmt: skip
    assert main(config) == 0
    printed = capsys.readouterr().out
    (report,) = (tmp_path / "axbench").glob("*/report")
    tests, declared = (pd.read_parquet(report / f"{name}.parquet") for name in ("tests", "declared"))
    assert (tests["n"] == 6).all()
    assert set(tests["against"]) == {*paired.REFERENCES}
    assert declared[["method", "against"]].to_numpy().tolist() == [["pca", "caa"]]
    found = pd.read_parquet(report / "audit.parquet")
    change = found.query("measure == @CHANGE").set_index("method")["value"]
    own = tests.query("against == 'unsteered'").set_index("method")["difference"]
    np.testing.assert_allclose(own, change[own.index])
    assert "− caa" in printed
    assert "Declared pairs" in printed
    assert "− caa" in (report / "audit.md").read_text()
    assert main(AuditConfig(**{**vars(config), "between": ()})) == 0
    assert not list(report.glob("declared.parquet"))
    assert main(AuditConfig(**{**vars(config), "between": (("caa", "flas"),)})) == 2
    assert "between=['flas'] are not compared here" in capsys.readouterr().err
