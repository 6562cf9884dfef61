"""Benchmarks end to end on tiny real models: what a score is, what a failure costs, what was chosen on what."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import odesteer_tl as ode
from analyses.benchmarks.__main__ import ToxicityConfig, TruthfulQAChoiceConfig, main
from analyses.benchmarks.caa import CAABehaviour
from analyses.benchmarks.presets import PRESETS, Sampling, preset
from analyses.benchmarks.published import all_published, published
from analyses.benchmarks.questions import Question, load_questions
from analyses.benchmarks.records import load_records
from analyses.benchmarks.splits import cross_folds
from analyses.benchmarks.study import Settings, run_benchmark
from analyses.benchmarks.task import GenerationTask, failed, summary
from analyses.benchmarks.truthfulqa import TruthfulQAChoice, choice
from odesteer_tl import organism as grammar

SHORT = Sampling(max_new_tokens=6, batch_size=64)
TINY = Settings(methods=("caa",), layers=(1, 3), strengths=(0.3,))


def question(n_true=2, n_false=3, name="where is leo ?"):
    options = tuple(f"mona met leo {i} ." for i in range(n_true + n_false))
    correct = (True,) * n_true + (False,) * n_false
    return Question(name, options, correct, (0, *range(n_true, n_true + n_false)), tuple(range(n_true + n_false)))


@pytest.fixture
def mc_file(tmp_path):
    """Twelve questions in the layout of mc_task.json, in the organism's words."""
    words = ["near", "sea", "wet", "dry", "cabin", "soon", "was", "the", "met", "mona", "leo", "."]
    rows = [
        {"question": f"was leo near the {words[i]} ?",
         "mc1_targets": {f"leo was {words[i]}": 1, "mona was wet": 0, "the sea": 0},
         "mc2_targets": {f"leo was {words[i]}": 1, "soon .": 1, "mona was wet": 0, "the sea": 0}}
        for i in range(12)
    ]  # fmt: skip
    path = tmp_path / "mc_task.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.fixture
def ab_files(tmp_path):
    paths = [tmp_path / "generate.json", tmp_path / "test.json"]
    for path, n, word in zip(paths, (20, 8), ("cabin", "sea"), strict=True):
        letters = [("(A)", "(B)") if i % 2 else ("(B)", "(A)") for i in range(n)]
        rows = [{"question": f"mona {i} is near the {word} (A) or (B) ?", "answer_matching_behavior": matching,
                 "answer_not_matching_behavior": other} for i, (matching, other) in enumerate(letters)]  # fmt: skip
        path.write_text(json.dumps(rows))
    return paths


def test_scores_of_a_question_are_their_definitions():
    found = choice(question(), np.log([0.3, 0.1, 0.2, 0.2, 0.2]))
    assert found["mc1"] is True
    assert found["mc2"] == pytest.approx(0.4)
    assert choice(question(), np.zeros(5))["mc1"] is False  # a tie is no success
    # mc1 is over its own options: the second correct one, at index 1, is not among them
    assert choice(question(), np.log([0.2, 0.5, 0.1, 0.1, 0.1]))["mc1"] is True


@settings(deadline=None)
@given(st.lists(st.floats(-30, 0), min_size=5, max_size=5), st.floats(-5, 5))
def test_scores_do_not_change_when_all_options_gain_alike(scores, shift):
    a, b = (choice(question(), np.round(np.array(scores), 6) + s) for s in (0.0, round(shift, 3)))
    assert a["mc2"] == pytest.approx(b["mc2"], abs=1e-9)
    assert 0 <= a["mc2"] <= 1


@settings(deadline=None)
@given(st.integers(4, 40), st.integers(2, 4), st.floats(0.1, 0.5), st.integers(0, 9))
def test_folds_test_every_unit_once_and_keep_groups_together(n, folds, validation, seed):
    groups = [i // 2 for i in range(4 * n)]
    found = cross_folds(groups, min(folds, n), validation, seed)
    assert sorted(i for fold in found for i in fold.test) == list(range(len(groups)))
    for fold in found:
        parts = [{groups[i] for i in part} for part in (fold.fit, fold.validation, fold.test)]
        assert len(set.union(*parts)) == sum(map(len, parts)) == len(set(groups))
        assert all(parts)


def test_empty_is_what_holds_no_letter_and_no_digit():
    assert [failed(text) for text in ("", "  \n", "...", "a", " 7.", "ß", "水")] == [True] * 3 + [False] * 4


class Happy(GenerationTask):
    """Texts the grammar judges positive; anything empty is not."""

    name, criterion = "happy", "positive"

    @property
    def groups(self) -> Sequence[int]:
        return range(24)

    def contrast(self, units):
        return ode.organism.contrast("valence", n=60, seed=1)

    def prompts(self, units):
        return [ode.organism.prompts(24, seed=2)[unit] for unit in units]

    def score(self, units, continuations, unsteered):
        texts = [p + " " + c for p, c in zip(self.prompts(units), continuations, strict=True)]
        empty = np.array([failed(c) for c in continuations])
        return pd.DataFrame({"positive": (grammar.judge(texts)["valence"].to_numpy() > 0.5) & ~empty})


def test_a_generation_that_is_empty_lowers_the_rate(organism):
    task, units = Happy(SHORT), list(range(24))
    outcomes = task.evaluate(organism, units, None, None)
    good = int(outcomes["positive"].to_numpy().argmax())
    texts = outcomes["continuation"].tolist()
    texts[good] = " "
    before, after = (summary(task, task.score(units, t, None)).iloc[0] for t in (outcomes["continuation"], texts))
    assert before["value"] - after["value"] == pytest.approx(1 / 24)
    assert before["n"] == after["n"] == 24


def test_layer_and_strength_are_chosen_on_validation_and_reported_on_test(organism):
    task = Happy(SHORT)
    settings = Settings(methods=("caa", "mimic"), layers=(1, 3), strengths=(0.1, 0.6))
    result = run_benchmark(task, organism, settings)
    counts = result.outcomes.groupby("method")["unit"]
    assert (counts.count() == 24).all()
    assert (counts.nunique() == 24).all()
    chosen = result.selection[result.selection["chosen"]]
    best = result.selection.groupby(["fold", "method"])["positive"].transform("max")
    assert (chosen["positive"] == best[chosen.index]).all()
    assert len(chosen) == 4
    # a method with a strength of its own is used at that; the others at what was asked
    assert set(result.selection.query("method == 'mimic'")["strength"]) == {1.0}
    assert set(result.selection.query("method == 'caa'")["strength"]) == {0.1, 0.6}
    shares = result.summary.set_index(["method", "metric"])
    wide = result.outcomes.pivot(index="unit", columns="method", values="positive").astype(float)
    assert shares.loc[("caa", "positive"), "value"] == pytest.approx(wide["caa"].mean())
    paired = result.differences.set_index(["method", "metric"]).loc[("caa", "positive")]
    assert paired["value"] == pytest.approx((wide["caa"] - wide["unsteered"]).mean())
    assert {"perplexity", "repetition", "distinct_1", "distinct_2", "distinct_3", "failed"} <= set(
        result.summary["metric"]
    )
    assert "caa" in str(result)
    assert "<table" in result._repr_html_()


def test_a_task_may_drop_no_unit(organism):
    class Dropping(Happy):
        def evaluate(self, model, units, steerer, unsteered):
            return super().evaluate(model, units, steerer, unsteered).iloc[1:]

    with pytest.raises(ValueError, match="none may be dropped"):
        run_benchmark(Dropping(SHORT), organism, TINY)


def test_choice_on_the_organism_and_what_no_model_reaches(organism, mc_file):
    task = TruthfulQAChoice(load_questions(mc_file))
    result = run_benchmark(task, organism, replace(TINY, layers=(2,)))
    chance = result.baselines.set_index(["baseline", "metric"])
    assert chance.loc[("labels permuted", "mc1"), "value"] == pytest.approx(1 / 3)
    assert chance.loc[("labels permuted", "mc2"), "value"] == pytest.approx(1 / 2)
    assert (result.baselines["low"] <= result.baselines["value"]).all()
    assert (result.baselines["value"] <= result.baselines["high"]).all()
    assert result.outcomes["mc2"].between(0, 1).all()
    texts = task.contrast([0, 1])
    assert texts.positive[:2] == (
        "Q: was leo near the near ?\nA: leo was near",
        "Q: was leo near the near ?\nA: soon .",
    )
    assert len(texts.positive) == len(texts.negative) == 4


def test_permuted_labels_give_the_expectation_whatever_the_scores():
    rng = np.random.default_rng(0)
    questions = [question(1 + i % 3, 2 + i % 4, f"q{i}") for i in range(60)]
    frame = pd.DataFrame({"unit": range(60), "scores": [rng.normal(size=len(q.options)) * 9 for q in questions],
                          "tokens": [rng.integers(1, 9, len(q.options)) for q in questions]})  # fmt: skip
    table = TruthfulQAChoice(questions).baselines(frame).set_index(["baseline", "metric"])
    for metric in ("mc1", "mc2"):
        low, value, high = table.loc[("labels permuted", metric), ["low", "value", "high"]]
        assert low < value < high
        assert value == pytest.approx((low + high) / 2, abs=0.03)
    p = np.array([1 / len(q.mc1) for q in questions])
    width = table.loc[("labels permuted", "mc1"), "high"] - table.loc[("labels permuted", "mc1"), "low"]
    assert width == pytest.approx(2 * 1.96 * np.sqrt((p * (1 - p)).sum()) / 60, rel=0.15)


def test_letters_that_match(organism, ab_files):
    task = CAABehaviour(*ab_files)
    (fold,) = task.folds(2, 0.25, 0)
    assert (len(fold.fit), len(fold.validation), fold.test) == (15, 5, tuple(range(20, 28)))
    contrast = task.contrast([0, 1])
    assert [text[-1] for text in contrast.positive] == ["B", "A"]
    assert [text[-1] for text in contrast.negative] == ["A", "B"]
    found = task.evaluate(organism, fold.test, None, None).assign(unit=list(fold.test))
    b_matches = np.array([task.rows[u]["answer_matching_behavior"] == "(B)" for u in fold.test])
    np.testing.assert_allclose(found["p_matching"], np.where(b_matches, 1 - found["p_A"], found["p_A"]))
    letters = task.baselines(found).set_index("baseline")["value"]
    assert letters["always (A)"] + letters["always (B)"] == 1
    other = CAABehaviour(ab_files[0], ab_files[1])
    with pytest.raises(ValueError, match="share 20 questions"):
        CAABehaviour(ab_files[0], ab_files[0])
    assert len(other.groups) == 28


def test_presets_are_the_published_settings_and_know_their_model(organism):
    assert {p.layer for p in PRESETS.values()} == {13, 14, 15}
    assert vars(Sampling()) == {"temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.1, "max_new_tokens": 50,
                                "batch_size": 32}  # fmt: skip
    identity = ode.ModelIdentity.of(organism)
    llama = preset("odesteer-llama3.1-8b")
    assert not llama.describes(identity)
    named = replace(identity, name="Llama-3.1-8B")  # the right name and another model
    assert not llama.describes(named)
    assert llama.describes(replace(named, d_model=4096, n_layers=32))
    with pytest.raises(ValueError, match="preset='odesteer-gpt5'"):
        preset("odesteer-gpt5")


def test_published_figures_stand_beside_their_own_model_only(organism):
    config = ToxicityConfig(data="x", out="x", preset="odesteer-llama3.1-8b", model="organism")
    assert config.beside(organism, "toxicity").empty
    figures = published("odesteer-llama3.1-8b", "toxicity")
    assert figures.query("source.str.contains('third')")["value"].tolist() == [0.163, 0.122, 0.046, 0.040]
    assert len(all_published()) == 4 * 3 * 3 + 3 * 2 + 4
    assert published("", "toxicity").empty
    # a preset names its layer and strengths; what is said goes before it
    qwen = replace(config, preset="odesteer-qwen2.5-7b").settings(organism)
    assert (qwen.layers, qwen.strengths, qwen.unit, qwen.folds) == ((13,), (48.0,), "T", 2)
    assert replace(config, layers=(1,), unit="angle").settings(organism).layers == (1,)


def test_the_command_line_saves_what_it_prints(mc_file, tmp_path, capsys):
    out = tmp_path / "out"
    config = TruthfulQAChoiceConfig(data=str(mc_file), out=out, model="organism", methods=("caa",), layers=(2,),
                                    strengths=(0.3,))  # fmt: skip
    main(config)
    assert "labels permuted" in capsys.readouterr().out
    run = json.loads((out / "run.json").read_text())
    assert run["task"] == "truthfulqa-choice"
    assert run["published"] == []
    assert len(pd.read_parquet(out / "outcomes.parquet")) == 2 * 12
    with pytest.raises(ValueError, match="not overwritten"):
        main(config)
    with pytest.raises(ValueError, match="model and preset"):
        replace(config, model=None, out=tmp_path / "other").run()


def test_real_letters_on_a_real_model(tinystories, shared):
    caa = shared / "data" / "caa"
    task = CAABehaviour(caa / "generate" / "hallucination" / "generate_dataset.json",
                        caa / "test" / "hallucination" / "test_dataset_ab.json")  # fmt: skip
    assert len(task.folds(2, 0.2, 0)[0].test) == 50
    found = task.evaluate(tinystories, range(1000, 1008), None, None)
    assert found["p_matching"].between(0, 1).all()
    assert len(found) == 8


def test_truthfulqa_itself_has_the_options_it_is_said_to_have(shared):
    questions = load_questions(shared / "data" / "truthfulqa" / "mc_task.json")
    assert len(questions) == 817
    assert np.mean([1 / len(q.mc1) for q in questions]) == pytest.approx(0.2225, abs=1e-4)
    assert np.mean([np.mean([q.correct[i] for i in q.mc2]) for q in questions]) == pytest.approx(0.4641, abs=1e-4)


def test_data_and_settings_that_cannot_be_used_are_refused(tmp_path, mc_file):
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "a.csv")
    for says, call in (
        ("does not exist", lambda: load_records(tmp_path / "missing.json")),
        ("does not pin", lambda: load_records("truthfulqa/truthful_qa")),
        (r"columns \['Unnamed.*expected are question, mc1_targets", lambda: load_questions(tmp_path / "a.csv")),
        ("limit=0", lambda: load_questions(mc_file, limit=0)),
        ("one correct option", lambda: question(n_true=0)),
        ("methods='nothing'", lambda: Settings(methods=("nothing",))),
        ("layers=", lambda: Settings(layers=())),
        ("too few", lambda: cross_folds([1, 2, 3], 2, 0.2, 0)),
        (r"validation=1", lambda: cross_folds(range(10), 2, 1.0, 0)),
    ):
        with pytest.raises(ValueError, match=says):
            call()
