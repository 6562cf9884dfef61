"""Outcomes: each spelled form against values known by hand, what is refused, and from a file to a finished report."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from analyses.outcomes import Completions, TextOutcome, open_outcome
from analyses.outcomes.base import source_digest
from analyses.outcomes.texts import MEASURES, distinct, repetition
from tests.problems import on_disk

PROMPTS, TEXTS = ["p", "p", "p", "p"], [" I LOVE it 22!", " Really? Why?", "", " a b a b a b a b"]


def scores(spelled, **more):
    return open_outcome(spelled, **more).scores(PROMPTS, TEXTS)


@pytest.mark.parametrize(("name", "expected"), [
    ("upper_case", [5 / 7, 2 / 9, 0, 0]), ("digits", [2 / 14, 0, 0, 0]), ("questions", [0, 2, 0, 0]),
    ("length", [4, 2, 0, 8]), ("repetition", [0, 0, 0, 3 / 5]), ("distinct_1", [1, 1, 1, 2 / 8]),
    ("distinct_2", [1, 1, 1, 2 / 7]), ("distinct_3", [1, 1, 1, 2 / 6]),
])  # fmt: skip
def test_measures_are_counted_by_hand(name, expected):
    np.testing.assert_allclose(scores(name)["score"], expected)
    assert open_outcome(name).threshold is None


def test_measures_stay_within_their_range():
    texts = ["", " ", "a", "a a a a a a", "x " * 50, "é?！", "1 2 3"]
    for name, measure in MEASURES.items():
        found = [measure(text) for text in texts]
        assert min(found) >= 0, name
        if name not in ("questions", "length"):
            assert max(found) <= 1, name
    assert repetition("a " * 100) > 0.9
    assert distinct("a", 3) == 1


def test_a_pattern_a_callable_and_a_function_of_a_module_judge():
    assert scores("regex:[Ll]ove|LOVE")["success"].tolist() == [True, False, False, False]
    lengths = open_outcome(lambda prompts, texts: np.array([len(text) for text in texts]))
    assert lengths.scores(PROMPTS, TEXTS)["score"].tolist() == [len(text) for text in TEXTS]
    framed = open_outcome(lambda p, t: pd.DataFrame({"success": [bool(x) for x in t], "extra": range(len(t))}))
    assert framed.scores(PROMPTS, TEXTS)["score"].tolist() == [1, 1, 0, 1]
    assert framed.scores(PROMPTS, TEXTS)["extra"].tolist() == [0, 1, 2, 3]
    assert scores("tests.test_outcomes:shout")["success"].tolist() == [True, False, False, False]
    assert open_outcome("length", threshold=3.0).threshold == 3.0


def test_a_function_of_a_file_judges_wherever_that_lies(tmp_path):
    """It needs no path for imports, and the folder changes no study; the source does."""
    source = "MARK = '!'\n\n\ndef shouts(prompts, texts):\n    return [MARK in text for text in texts]\n"
    found = []
    for folder, content in (("a b", source), ("c-d", source), ("e", source.replace("'!'", "'?'"))):
        (tmp_path / folder).mkdir()
        (file := tmp_path / folder / "my-judge.py").write_text(content)
        found.append(open_outcome(f"{file}:shouts"))
    assert [one.name for one in found] == ["my-judge.py:shouts"] * 3
    assert found[0].scores(PROMPTS, TEXTS)["success"].tolist() == [True, False, False, False]
    assert found[0].digest == found[1].digest != found[2].digest
    file.write_text("import no_such_module\n")
    with pytest.raises(ValueError, match=r"my-judge.py cannot be run: ModuleNotFoundError: No module named"):
        open_outcome(f"{file}:shouts")


#: judges, whose mark may stand deep in what they refer to
JUDGES = {
    "comprehension": "def judge(prompts, texts):\n    return [MARK in text for text in texts]\n",
    "inner": "def judge(prompts, texts):\n    return list(map(lambda text: MARK in text, texts))\n",
    "helper": "def one(text):\n    return MARK in text if text else judge\n\n"
              "def judge(prompts, texts):\n    return list(map(one, texts))\n",
    "listed": "CHECKS = [lambda text: MARK in text, MARK]\n\n"
              "def judge(prompts, texts):\n    return list(map(CHECKS[0], texts))\n",
}  # fmt: skip


@pytest.mark.parametrize("file", ["sourced", "compiled"])
@pytest.mark.parametrize("judge", JUDGES)
def test_what_a_judge_refers_to_tells_it_apart_however_deep(tmp_path, judge, file):
    """And nothing else does: not where it lies in memory."""
    digests = []
    for i, mark in enumerate("!!?"):
        (path := tmp_path / f"{judge}{i}.py").write_text(f"MARK = {mark!r}\n" + JUDGES[judge])
        made = {"__name__": "made"}
        exec(compile(path.read_text(), path if file == "sourced" else "<nowhere>", "exec"), made)
        digests.append(source_digest(made["judge"]))
    assert digests[0] == digests[1] != digests[2]


def shout(prompts, texts):
    """A judge for the test above."""
    return np.array(["!" in text for text in texts])


@pytest.mark.parametrize(("spelled", "says"), [
    ("nonsense", "is unknown; use one of grammar, FILE"), ("regex:(", "is no regular expression"),
    ("no_such_module:f", "No module named.*name its file, FOLDER/no_such_module.py:f, .*PYTHONPATH=FOLDER"),
    ("nowhere/judge.py:f", "'nowhere/judge.py' is no file; check the path, seen from"),
    ("tests/test_outcomes.py:no", "has no 'no'"), ("README.md.py:f", "is no file"),
    ("analyses.sources:nothing", "has no 'nothing'"),
    ("analyses.sources:CONCEPTS", "is a tuple; name a function"), ("nowhere.json", "is no file; check the path"),
    ("classifier:/nowhere", "no folder with a config.json"), ("grammar", "not contrast='mine'"),
])  # fmt: skip
def test_what_is_no_outcome_is_refused_in_one_line(spelled, says):
    with pytest.raises(ValueError, match=says) as error:
        open_outcome(spelled, "mine")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("judge", "says"), [
    (lambda p, t: [1.0], None), (lambda p, t: [1.0, 2.0], "gave 2 scores for 1 texts"),
    (lambda p, t: [float("nan")], "gave nan in 'score'"), (lambda p, t: 1 / 0, "fails on .*ZeroDivisionError"),
    (lambda p, t: pd.DataFrame({"a": [1]}), "one must be 'score' or 'success'"),
    (lambda p, t: ["good"], "gave good in 'score'"), (lambda p, t: np.zeros((1, 2)), r"shape \(1, 2\)"),
    (lambda p, t: [np.inf], "give a finite number"),
])  # fmt: skip
def test_a_judge_is_tried_on_one_text(judge, says):
    outcome = open_outcome(judge)
    if says is None:
        outcome.check()
        return
    with pytest.raises(ValueError, match=says):
        outcome.check()


def test_a_missing_package_is_named(monkeypatch):
    import importlib

    def absent(name, package=None):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    for spelled, package in (("vader", "vaderSentiment"), ("profanity", "alt-profanity-check"),
                             ("language:fr", "py3langid")):  # fmt: skip
        with pytest.raises(ValueError, match=f"needs {package}; pip install 'odesteer_tl"):
            open_outcome(spelled)


def test_ready_judges_tell_plain_cases_apart():
    pytest.importorskip("vaderSentiment")
    pytest.importorskip("py3langid")
    pytest.importorskip("profanity_check")
    texts = ["I love this wonderful day", "I hate this awful day", ""]
    vader = open_outcome("vader")
    assert [x > vader.threshold for x in vader.scores(texts, texts)["score"]] == [True, False, False]
    french = open_outcome("language:fr").scores(texts, ["le chat est sur la table", "the cat is on the table", ""])
    assert [x > 0.5 for x in french["score"]] == [True, False, False]
    foul = open_outcome("profanity").scores(texts, ["you stupid idiot", "have a nice day", ""])["score"]
    assert foul[0] > 0.5 > foul[1]
    assert foul[2] == 0
    with pytest.raises(ValueError, match="names no language of py3langid"):
        open_outcome("language:zz")


def test_a_local_classifier_judges_by_its_label(tmp_path):
    from transformers import GPT2Config, GPT2ForSequenceClassification

    settings = {"n_layer": 1, "n_head": 2, "n_embd": 8, "vocab_size": 512, "n_positions": 64, "pad_token_id": 0}
    labels = {0: "calm", 1: "angry", 2: "glad"}
    on_disk(lambda: GPT2ForSequenceClassification(GPT2Config(**settings, id2label=labels)), tmp_path)
    with pytest.raises(ValueError, match="has the labels calm, angry, glad; add one"):
        open_outcome(f"classifier:{tmp_path}")
    each = [open_outcome(f"classifier:{tmp_path}:{label}").scores(["a"], ["the dog"])["score"][0]
            for label in labels.values()]  # fmt: skip
    assert sum(each) == pytest.approx(1)
    with pytest.raises(ValueError, match="names none of its labels"):
        open_outcome(f"classifier:{tmp_path}:sad")


def test_completions_are_read_for_all_prompts_and_for_each(tmp_path):
    def written(name, content):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8-sig")
        return open_outcome(str(path))

    alike = written("words.json", json.dumps({"for": [" good", " great"], "against": " bad"}))
    assert alike.options(["x", "y"])[0] == [(" good", " great")] * 2
    rows = [{"prompt": "x", "positive": " a", "negative": [" b", " c"]}, {"prompt": "y", "for": " d", "against": " e"}]
    each = written("rows.jsonl", "\n".join(map(json.dumps, rows)))
    assert each.options(["y", "x"]) == ([(" d",), (" a",)], [(" e",), (" b", " c")])
    with pytest.raises(ValueError, match=r"1 of 2 have no row in outcome='rows.jsonl', such as 'z'"):
        each.options(["x", "z"])
    chosen = written("mc.json", json.dumps([{"question": "q", "choices": [" 1", " 2", " 3"], "answer": 1}]))
    assert chosen.options(["q"]) == ([(" 2",)], [(" 1", " 3")])
    lettered = [{"question": "q", "answer_matching_behavior": " (A)", "answer_not_matching_behavior": " (B)"}]
    assert written("ab.json", json.dumps(lettered)).positive == ((" (A)",),)
    for name, content, says in (
        ("broken.json", "{", "is no JSON"), ("a.json", '{"positive": []}', "where a text or a list of texts"),
        ("b.json", '{"positive": [" a"]}', "none of negative, against"), ("c.jsonl", "[]", "holds no rows"),
        ("d.jsonl", '{"positive": " a", "negative": " b"}', "row 1 has none of prompt, question"),
        ("e.json", '[{"prompt": "x", "choices": [" a"], "answer": 3}]', "answer=3; give the number"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            written(name, content)


def test_log_odds_are_of_summed_probabilities():
    found = Completions.scores([np.log([0.1, 0.3])], [np.log([0.35])])
    assert found["score"][0] == pytest.approx(np.log(0.4 / 0.35))
    assert not found["success"][0]
    assert found["mc2"][0] == pytest.approx(0.4 / 0.75)


def test_a_score_without_a_threshold_is_held_against_the_unsteered_texts():
    from analyses.effects.judging import Judging

    unsteered = SimpleNamespace(continuations=[" a", " a b", " a b c", " a b c d"])
    states = SimpleNamespace(text=unsteered)
    judging = Judging(None, tuple(PROMPTS), open_outcome("length"), lambda: states)
    assert judging.threshold == 2.5
    assert judging.frame(unsteered, None)["success"].tolist() == [False, False, True, True]
    fixed = Judging(None, tuple(PROMPTS), open_outcome("length", threshold=0.0), lambda: states)
    assert fixed.frame(unsteered, None)["success"].all()
    assert isinstance(open_outcome("length"), TextOutcome)
