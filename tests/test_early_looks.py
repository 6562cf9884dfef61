"""Early looks: what is said of a text's first tokens is theirs, and a predictor is worth what was planted."""

import numpy as np
import pandas as pd
import pytest

import odesteer_tl as ode
from analyses.early_looks import EarlyConfig
from analyses.outcomes import open_outcome
from analyses.search.early import looked, run, worth


def test_what_is_said_of_the_first_tokens_is_theirs(organism):
    prompts = ode.organism.prompts(2)
    written = {-1: [" the dog found emma", " a lamp"], 1: [" the the cat the", " a cat"], 3: [" the dog the the", ""]}
    rows = pd.DataFrame([
        {"layer": layer, "label": "caa", "budget": "kl", "level": 0.1 * max(layer, 0), "prompt": i, "split": "test",
         "success": False, "log_likelihood": -3.0 + layer, "text": prompts[i] + text}
        for layer, texts in written.items() for i, text in enumerate(texts)
    ])  # fmt: skip
    outcome = open_outcome(lambda prompts, texts: [text.split().count("the") for text in texts])
    found = looked(rows, prompts, organism.tokenizer, outcome, 2)

    def scaled(x):
        return (np.array(x) - np.mean(x)) / np.std(x, ddof=1)

    # in the order of the rows: "the the", "a cat", "the dog", ""
    np.testing.assert_allclose(found["judged"], scaled([2.0, 0, 1, 0]))
    np.testing.assert_allclose(found["repeated"], scaled([1.0, 0, 0, 0]))
    np.testing.assert_allclose(found["apart"], scaled([1.0, 1, 0, 0]))
    assert found["fluent"].all()
    assert found["arm"].tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="prompts are not those of the study"):
        looked(rows, prompts[::-1], organism.tokenizer, outcome, 2)


def planted(seed, told):
    """30 candidates on 60 prompts, whose rates of success rise with depth; of each text a part may be told early."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame([(arm, i) for arm in range(30) for i in range(60)], columns=["arm", "prompt"])
    rate = rng.permutation(np.linspace(0.05, 0.95, 30))[rows["arm"]]
    success = rng.random(len(rows)) < rate
    noise = rng.standard_normal((4, len(rows)))
    return rows.assign(split=np.where(rows["prompt"] < 20, "select", "test"), success=success,
                       fluent=rng.random(len(rows)) < 0.5, level=0.0, depth=noise[0], **{"depth²": noise[1]},
                       judged=told * success + noise[2], repeated=noise[3], apart=noise[3])  # fmt: skip


def test_a_predictor_is_worth_what_was_planted():
    found = worth(planted(0, told=2.0), planted(1, told=2.0), share=0.1).set_index(["target", "by"])
    learned, blind = (found.loc[("success", by)] for by in ("first tokens, learned", "level and layer, learned"))
    # two normals whose means are 2 apart: Φ(√2)
    assert learned["low"] < 0.921 < learned["high"]
    assert learned["rank"] > 0.9
    assert learned["right"] > 0.7
    assert blind["low"] < 0.5 < blind["high"]
    assert np.isnan(found.loc[("success", "level"), "rank"])
    assert found.loc[("fluent", "first tokens, learned"), "low"] < 0.5
    few, whole = (found.loc[("success", by), "rank"] for by in ("whole texts of as many tokens", "whole texts"))
    assert 0 < few < whole


def test_a_predictor_needs_another_outcome_to_learn_from(tmp_path):
    (tmp_path / "study.json").write_text('{"settings": {"outcome": "vader"}}')
    with pytest.raises(ValueError, match="have one outcome; add one of another"):
        run(EarlyConfig((tmp_path,), (tmp_path,)))
