"""The concepts of real models: what is contrasted, that prompts are apart from it, and the files studies take."""

import json

import numpy as np
import pandas as pd
import pytest

from analyses import concepts
from analyses.concepts.concept import some
from analyses.outcomes import open_outcome
from analyses.outcomes.completions import Completions
from analyses.sources import load_contrast, read_prompts

WRITTEN = {"sentiment": concepts.sentiment, "language": concepts.language, "capitals": concepts.capitals,
           "questions": concepts.questions}  # fmt: skip
#: of contrasts on which findings were measured: another wording is another contrast
DIGESTS = {"sentiment": "4633f3e9ed26e3ea", "language": "7fbc8a2c12b5d484", "capitals": "47173063936bb6a2",
           "questions": "86215a3e48d23e06"}  # fmt: skip
THRESHOLDS = {"sentiment": 0.0, "language": 0.5, "capitals": 0.5, "questions": 0.5}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_judge_that_knows_no_contrast_tells_the_sides_apart(name):
    concept = WRITTEN[name]()
    rows = concept.pairs.sample(30, random_state=0)
    begun = rows.get("prompt", "")
    judge = open_outcome(concept.judge)
    found = [judge.scores([""] * len(rows), list(begun + rows[side])).score for side in ("positive", "negative")]
    assert np.mean(found[0] > THRESHOLDS[name]) >= 0.9
    assert np.mean(found[1] > THRESHOLDS[name]) <= 0.1


@pytest.mark.parametrize("name", WRITTEN)
def test_wordings_are_groups_and_prompts_are_new(name):
    concept = WRITTEN[name]()
    contrast = concept.contrast()
    assert contrast.digest == DIGESTS[name]
    assert len(contrast.positive) == 320
    assert len(set(contrast.positive_groups)) == 104
    assert len(set(concept.prompts)) == 150
    known = " ".join(contrast.positive + contrast.negative)
    assert not [prompt for prompt in concept.prompts if prompt in known.split(". ")]
    fit, test = contrast.split((0.5, 0.5))
    assert not set(fit.positive_groups) & set(test.positive_groups)


def test_written_files_are_what_a_study_reads(tmp_path):
    concept = concepts.sentiment(64)
    folder = concept.write(tmp_path / "sentiment")
    assert json.loads((folder / "concept.json").read_text())["judge"] == "vader"
    contrast = load_contrast(str(folder / "pairs.jsonl"), 0, 0)
    assert contrast.digest == concept.contrast().digest
    assert contrast.positive_prompts == concept.contrast().positive_prompts
    assert read_prompts(str(folder / "prompts.json")) == list(concept.prompts)
    assert Completions.read(folder / "words.json").options(["x"]) == concept.words.options(["x"])
    with pytest.raises(ValueError, match="out"):
        concept.write(folder)


def test_prompts_that_are_in_the_pairs_are_refused():
    concept = concepts.sentiment(64)
    with pytest.raises(ValueError, match="1 are also in the pairs, such as 'The hotel'"):
        concepts.Concept("x", concept.pairs, ("The hotel",), concept.words, "", "")
    with pytest.raises(ValueError, match="pairs=1249"):
        concepts.sentiment(1249)


def test_some_of_the_pairs_are_drawn_once_each_and_from_all_of_them():
    pairs = pd.DataFrame({"positive": range(30), "group": [f"g{i // 10}" for i in range(30)]})
    drawn = some(pairs, 15, 0)
    assert len({*drawn["positive"]}) == 15
    assert set(drawn["group"]) == {"g0", "g1", "g2"}
    assert (drawn["group"] == [f"g{i // 10}" for i in drawn["positive"]]).all()
    assert some(pairs, None, 0) is pairs
    assert sorted(some(pairs, 30, 1)["positive"]) == list(range(30))
    for n in (0, 31):
        with pytest.raises(ValueError, match=f"pairs={n} must be between 1 and the 30"):
            some(pairs, n, 0)


def test_concepts_of_others_are_read_from_their_files(shared, tmp_path):
    data = shared / "data"
    truth = concepts.truthfulness(data / "truthfulqa" / "mc_task.json")
    assert set(truth.pairs.prompt).isdisjoint(truth.prompts)
    assert len({*truth.pairs.prompt, *truth.prompts}) > 800
    right, wrong = truth.words.options(truth.prompts[:1])
    assert right[0]
    assert wrong[0]
    letters = [data / "caa" / part / "sycophancy" for part in ("generate", "test")]
    agreeing = concepts.sycophancy(letters[0] / "generate_dataset.json", letters[1] / "test_dataset_ab.json")
    assert set(agreeing.pairs.positive) == {"A", "B"}
    hate = concepts.hate(data / "hatecheck" / "test_suite_cases.csv")
    assert len(hate.pairs) > 500
    assert hate.contrast().paired
    for folder in ("concept10_2b_l10", "concept10_2b_l20"):
        for number in range(10):
            concept = concepts.axbench(data / "axbench" / folder, number)
            assert len(concept.pairs) == 72
            both = zip(*concept.words.options(concept.prompts), strict=True)
            assert all(len(p) == len(n) == 1 and p != n for p, n in both)
    # a pair of held-out texts is scored behind two prompts, which are one unit: so the file says
    words = Completions.read(concept.write(tmp_path / "axbench") / "words.json")
    assert words.groups == concept.words.groups
    pairs = zip(words.positive, words.negative, strict=True)
    assert len(set(zip(words.groups, pairs, strict=True))) == len(set(words.groups)) == 36
    with pytest.raises(ValueError, match="concept=10"):
        concepts.axbench(data / "axbench" / "concept10_2b_l10", 10)
