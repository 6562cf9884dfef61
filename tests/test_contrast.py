"""Contrast sets: loaders, splits, provenance, bad input."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import odesteer_tl as ode


def write_rows(tmp_path):
    # U+2028 ends a line for str.splitlines but not for JSON
    rows = [{"q": f"question {i}?", "good": f"yes {i}", "bad": f"no\u2028{i}", "kind": "ab"[i % 2]} for i in range(20)]
    labelled = [{"text": f"text {i}", "label": ["hateful", "kind"][i % 2], "case": str(i // 4)} for i in range(40)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows))
    (tmp_path / "array.json").write_text(json.dumps(rows))
    for name, data in (("pairs", rows), ("labelled", labelled)):
        lines = [",".join(data[0])] + [",".join(r.values()) for r in data]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))


def test_every_loader_reads_the_same_pairs(tmp_path):
    write_rows(tmp_path)
    layout = {"positive": "good", "negative": "bad", "template": "Q: {q}\nA: {text}"}
    sets = [
        ode.ContrastSet.from_csv(tmp_path / "pairs.csv", **layout),
        ode.ContrastSet.from_jsonl(tmp_path / "pairs.jsonl", **layout),
        ode.ContrastSet.from_jsonl(tmp_path / "array.json", **layout),
        ode.ContrastSet.from_hub(str(tmp_path / "pairs.csv"), revision=None, **layout),
        ode.ContrastSet.from_hub(str(tmp_path / "pairs.jsonl"), revision=None, **layout),
    ]
    assert sets[0].positive[3] == "Q: question 3?\nA: yes 3"
    assert all((s.positive, s.negative) == (sets[0].positive, sets[0].negative) for s in sets)
    assert all(s.paired for s in sets)
    assert "sha256" in sets[0].provenance
    assert str(tmp_path) not in json.dumps([s.provenance for s in sets])


def test_labelled_rows_and_groups(tmp_path):
    write_rows(tmp_path)
    contrast = ode.ContrastSet.from_csv(
        tmp_path / "labelled.csv", text="text", label="label", positive="kind", negative="hateful", group="case"
    )
    assert contrast.positive[0] == "text 1"
    assert contrast.negative[0] == "text 0"
    a, b = contrast.split((0.5, 0.5))
    case = lambda texts: {int(t.split()[1]) // 4 for t in texts}  # noqa: E731
    assert not case(a.positive + a.negative) & case(b.positive + b.negative)


def test_a_template_may_be_a_function():
    rows = [{"good": "a", "bad": "b", "n": 2}]
    contrast = ode.ContrastSet.from_records(
        rows, positive="good", negative="bad", template=lambda row, text: text * row["n"]
    )
    assert (contrast.positive, contrast.negative) == (("aa",), ("bb",))


@settings(max_examples=40, deadline=None)
@given(st.integers(6, 60), st.integers(0, 1000), st.lists(st.integers(0, 20), max_size=30))
def test_splits_are_disjoint_complete_reproducible_and_leak_no_text(n, seed, repeats):
    positive = [f"p{i}" for i in range(n)] + [f"p{r % n}" for r in repeats]
    negative = [f"n{i}" for i in range(n)] + [f"n{(r * 7) % n}" for r in repeats]
    contrast = ode.ContrastSet.from_texts(positive, negative)
    # pairs that share a text, however long the chain between them, are one group; a part without a group is refused
    pairs = np.array([[int(p[1:]), n + int(q[1:])] for p, q in zip(positive, negative, strict=True)])
    joined = coo_array((np.ones(len(pairs)), pairs.T), shape=(2 * n, 2 * n))
    groups, _ = connected_components(joined)
    if not np.diff(np.round(np.cumsum([0.0, 0.5, 0.2, 0.3]) * groups)).all():
        with pytest.raises(ValueError, match="would hold 0 positive and 0 negative texts"):
            contrast.split((0.5, 0.2, 0.3), seed=seed)
        return
    parts = contrast.split((0.5, 0.2, 0.3), seed=seed)
    assert sum(len(p.positive) for p in parts) == len(positive)
    for i, one in enumerate(parts):
        assert one.paired
        for other in parts[i + 1 :]:
            assert not set(one.positive) & set(other.positive)
            assert not set(one.negative) & set(other.negative)
    again = contrast.split((0.5, 0.2, 0.3), seed=seed)
    assert [p.positive for p in again] == [p.positive for p in parts]
    assert parts[1].provenance["splits"][0]["part"] == 1


def test_truthfulqa_pairs(shared):
    path = shared / "data" / "truthfulqa" / "TruthfulQA.csv"
    contrast = ode.ContrastSet.from_records(
        [
            {"question": r["Question"], "good": r["Best Answer"], "bad": r["Incorrect Answers"].split(";")[0]}
            for r in __import__("pandas").read_csv(path).to_dict("records")
        ],
        positive="good", negative="bad", template="Q: {question}\nA: {text}",
    )  # fmt: skip
    assert len(contrast.positive) == len(contrast.negative) == 817
    direct = ode.ContrastSet.from_csv(
        path, positive="Best Answer", negative="Incorrect Answers",
        template=lambda row, text: f"Q: {row['Question']}\nA: {text.split(';')[0]}",
    )  # fmt: skip
    assert direct.digest == contrast.digest
    fit, test = direct.split((0.7, 0.3))
    questions = [{t.split("\n")[0] for t in part.positive + part.negative} for part in (fit, test)]
    assert not questions[0] & questions[1]


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: ode.ContrastSet.from_texts([], ["a"]), "positive is empty"),
        (lambda: ode.ContrastSet.from_texts(["a"], []), "negative is empty"),
        (lambda: ode.ContrastSet.from_texts(["a", " "], ["b", "c"]), r"positive\[1\]=' '"),
        (lambda: ode.ContrastSet.from_texts(["a"], ["b"], groups=([1], [1, 2])), "groups has lengths"),
        (lambda: ode.ContrastSet.from_texts(list("abc"), list("def")).split((0.5, 0.6)), "sum to 1"),
        (lambda: ode.ContrastSet.from_texts(["a"], ["b"]).split((0.5, 0.5)), "would hold"),
        (lambda: ode.ContrastSet.from_records([{"x": 1}], positive="y", negative="x"), "column 'y' is missing"),
        (lambda: ode.ContrastSet.from_records([{"x": 1}], positive=1, negative=0, text="x"), "give both"),
        (lambda: ode.ContrastSet.from_hub("owner/data", revision=None, positive=1, negative=0), "pin a commit"),
    ],
)
def test_bad_input_names_the_argument_and_the_value(make, word):
    with pytest.raises(ValueError, match=word):
        make()
