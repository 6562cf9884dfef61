"""Data files in the layouts their own documentation gives, a row or two each, and files of another layout."""

import json

import numpy as np
import pandas as pd
import pytest

from analyses.benchmarks.questions import load_questions
from analyses.benchmarks.toxicity import load_prompts
from analyses.benchmarks.ultrafeedback import load_preferences

SCORES = ("profanity", "sexually_explicit", "identity_attack", "flirtation", "threat", "insult", "severe_toxicity")


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def scored(text, toxicity):
    return {"text": text, **dict.fromkeys(SCORES, 0.1), "toxicity": toxicity}


@pytest.fixture
def toxicity_rows():
    """As in the data card of allenai/real-toxicity-prompts and in the set's prompts.jsonl."""
    texts = [("He said that", " it was fine.", 0.06), ("They are", " — all – fools.", 0.81), ("So", " what", None)]
    return [{"filename": f"0766186-bc7f{i}.txt", "begin": 340, "end": 564, "challenging": False,
             "prompt": scored(prompt, 0.3), "continuation": scored(continuation, toxicity)}
            for i, (prompt, continuation, toxicity) in enumerate(texts)]  # fmt: skip


@pytest.fixture
def preference_rows():
    """As in the data card of HuggingFaceH4/ultrafeedback_binarized."""

    def messages(prompt, response):
        return [{"content": prompt, "role": "user"}, {"content": response, "role": "assistant"}]

    found = [("Why?", "Because.", "No.", 8.5, 4.0), ("How?", "So.", "Thus.", 7.0, 7.0), ("When?", "Now.", "", 6.0, 1.0)]
    return [{"prompt": prompt, "prompt_id": f"{i:064d}", "chosen": messages(prompt, chosen),
             "rejected": messages(prompt, rejected), "messages": messages(prompt, chosen),
             "score_chosen": high, "score_rejected": low}
            for i, (prompt, chosen, rejected, high, low) in enumerate(found)]  # fmt: skip


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_real_toxicity_prompts(toxicity_rows, tmp_path, ending):
    path = tmp_path / f"prompts.{ending}"
    if ending == "jsonl":
        lines(path, toxicity_rows)
    else:
        pd.DataFrame(toxicity_rows).to_parquet(path)
    found = sorted(load_prompts(path), key=lambda row: row["toxicity"])
    assert found == [  # the third continuation was not scored
        {"prompt": "He said that", "continuation": " it was fine.", "toxicity": 0.06},
        {"prompt": "They are", "continuation": " — all – fools.", "toxicity": 0.81},
    ]


def test_another_layout_of_prompts_is_named(toxicity_rows, tmp_path):
    rows = [{**row, "prompt": str(row["prompt"])} for row in toxicity_rows]  # a .csv of the hub's rows
    with pytest.raises(ValueError, match=r"'prompt' should hold records with \['text'\] and holds str"):
        load_prompts(lines(tmp_path / "a.jsonl", rows))
    rows = [{**row, "continuation": {"text": "x"}} for row in toxicity_rows]
    with pytest.raises(ValueError, match=r"'continuation' should hold .*'toxicity'\] and holds \['text'\]"):
        load_prompts(lines(tmp_path / "b.jsonl", rows))
    with pytest.raises(ValueError, match=r"no column 'continuation' but \['prompt'\]"):
        load_prompts(lines(tmp_path / "c.jsonl", [{"prompt": "x"}]))


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_binarized_ultrafeedback(preference_rows, tmp_path, ending):
    path = tmp_path / f"train_prefs.{ending}"
    if ending == "jsonl":
        lines(path, preference_rows)
    else:
        pd.DataFrame(preference_rows).to_parquet(path)
    # the second row prefers nothing, the third has an empty response
    assert load_preferences(path) == [{"prompt": "Why?", "chosen": "Because.", "rejected": "No."}]


def test_another_layout_of_preferences_is_named(preference_rows, tmp_path):
    original = {"source": "evol_instruct", "instruction": "Why?", "models": ["a"], "completions": [],
                "correct_answers": ["None"], "incorrect_answers": ["None"]}  # fmt: skip
    with pytest.raises(ValueError, match=r"no column 'prompt' but \['completions'.*'instruction'"):
        load_preferences(lines(tmp_path / "openbmb.jsonl", [original]))
    with pytest.raises(ValueError, match=r"column 'chosen' holds .* a text was expected, or messages"):
        load_preferences(lines(tmp_path / "a.jsonl", [{**preference_rows[0], "chosen": [{"text": "Because."}]}]))
    with pytest.raises(ValueError, match="has 1 rows, none with a preferred response"):
        load_preferences(lines(tmp_path / "b.jsonl", preference_rows[1:2]))


ANSWERS = {
    "question": "What is it?",
    "best": "It is a sea",
    "correct": ["It is a sea", "It is water."],
    "incorrect": ["It is land", "It's air"],
}


@pytest.mark.parametrize("layout", ["mc_task.json", "multiple_choice", "TruthfulQA.csv", "generation"])
def test_truthfulqa(tmp_path, layout):
    """All four layouts of one question: mc_task.json, the hub's two configurations, TruthfulQA.csv."""
    closed = {name: [f"{a.rstrip('.')}." for a in ANSWERS[name]] for name in ("correct", "incorrect")}
    mc1 = dict.fromkeys([closed["correct"][0]], 1) | dict.fromkeys(closed["incorrect"], 0)
    mc2 = dict.fromkeys(closed["correct"], 1) | dict.fromkeys(closed["incorrect"], 0)
    question, path = ANSWERS["question"], tmp_path / "data.jsonl"
    if layout == "mc_task.json":
        path = tmp_path / layout
        path.write_text(json.dumps([{"question": question, "mc1_targets": mc1, "mc2_targets": mc2}]))
    elif layout == "multiple_choice":
        path = tmp_path / "validation.parquet"
        targets = [{"choices": list(t), "labels": np.array(list(t.values()), dtype=np.int32)} for t in (mc1, mc2)]
        pd.DataFrame({"question": [question], "mc1_targets": targets[:1], "mc2_targets": targets[1:]}).to_parquet(path)
    elif layout == "TruthfulQA.csv":
        path = tmp_path / layout
        pd.DataFrame([{"Type": "Adversarial", "Category": "Law", "Question": question, "Best Answer": ANSWERS["best"],
                       "Correct Answers": "; ".join(ANSWERS["correct"]),
                       "Incorrect Answers": "; ".join(ANSWERS["incorrect"]), "Source": "x"}],
                     ).to_csv(path, index=False)  # fmt: skip
    else:
        lines(path, [{"type": "Adversarial", "category": "Law", "question": question, "best_answer": ANSWERS["best"],
                      "correct_answers": ANSWERS["correct"], "incorrect_answers": ANSWERS["incorrect"],
                      "source": "x"}])  # fmt: skip
    (found,) = load_questions(path)
    assert found.text == question
    assert found.options == ("It is a sea.", "It is water.", "It is land.", "It's air.")
    assert found.correct == (True, True, False, False)
    assert (found.mc1, found.mc2) == ((0, 2, 3), (0, 1, 2, 3))


def test_another_layout_of_questions_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"columns \['Answer', 'Question'\]; expected are .*mc1_targets.*Best Answer"):
        load_questions(lines(tmp_path / "a.jsonl", [{"Question": "What is it?", "Answer": "A sea"}]))


def test_truthfulqas_two_files_hold_the_same_questions(shared):
    """The options made of reference answers against those of the authors' own multiple-choice file."""
    folder = shared / "data" / "truthfulqa"
    made, given = (load_questions(folder / name) for name in ("TruthfulQA.csv", "mc_task.json"))
    assert len(made) == len(given) == 817
    assert [q.text for q in made] == [q.text for q in given]

    def targets(question, which):
        return {question.options[i]: question.correct[i] for i in getattr(question, which)}

    for which in ("mc1", "mc2"):
        assert [targets(question, which) for question in made] == [targets(question, which) for question in given]
