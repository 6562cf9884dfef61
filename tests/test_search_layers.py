"""The search for a layer: the cells of the study a few prompts at a time, the same numbers, and nothing twice."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import odesteer_tl as ode
from analyses.effects.estimate import SCANNED, SOUGHT, Shares
from analyses.effects.looks import layer_navigator, ranked
from analyses.effects.settings import EffectSettings
from analyses.effects.words import class_words
from analyses.layer_effectiveness import LayersConfig
from analyses.search import Rules
from analyses.search.replay import Grid, arm_names, compared, elsewhere, replay
from analyses.search.reward import SHIFT, reward
from analyses.search_replay import ReplayConfig
from analyses.search_replay import main as replay_main
from analyses.studies import layer_study, search_layer

SMALL = {"cross_fit": True, "select": 12, "test": 8, "max_new_tokens": 3}
GRID = {"layers": [1, 3], "methods": ["caa"], "angle": [0.1, 0.4], "kl": [0.03], "together": [2]}


@pytest.fixture(scope="module")
def own():
    """A contrast, prompts and completions of the organism's."""
    pairs = ode.organism.contrast("valence", 64, 0)
    return pairs, ode.organism.prompts(20)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "words.json"
    sides = {"positive": [" the kind dog", " the joyful cat"], "negative": [" the cruel dog", " the awful cat"]}
    path.write_text(json.dumps(sides))
    return path


@pytest.fixture(scope="module")
def grid(own, words, organism, tmp_path_factory):
    """Every arm on every prompt."""
    contrast, prompts = own
    return layer_study(organism, contrast, prompts, words, out=tmp_path_factory.mktemp("grid"), **GRID, **SMALL,
                       measures=()).rows  # fmt: skip


def test_a_search_of_everything_finds_what_the_grid_has_and_goes_on_from_what_is_kept(
    own, words, organism, grid, tmp_path
):
    contrast, prompts = own
    rules = Rules(budget=1.0, epsilon=0.01, block=6)
    found = search_layer(organism, contrast, prompts, words, out=tmp_path, **GRID, **SMALL, rules=rules, looked=10)
    rows = grid[grid["method"] != "random"]
    # each pull is the cell of the grid, on its prompts
    kept = [pd.read_parquet(path) for path in (found.directory / "cells").iterdir()]
    pulled = pd.concat([cell for cell in kept if "success" in cell])
    keys = ["layer", "label", "budget", "level", "prompt"]
    both = pulled.merge(rows, on=keys, suffixes=("", "_grid"))
    assert len(both) == len(pulled) >= 40
    np.testing.assert_allclose(both["score"], both["score_grid"], atol=2e-3)
    assert (both["split"] == both["split_grid"]).all()
    # layers together are one more arm, which stands at the last of them
    several = rows[rows["layers"].notna()]
    assert {*several["label"], *several["layers"], *several["layer"]} == {"caa, layers 1+3", "1+3", 3}
    assert {*found.frame()["candidate"]} >= {"caa, layers 1+3, angle 0.4", "caa, layer 3, angle 0.4"}
    whole = Grid.of(rows)
    assert whole.names[1:] == arm_names(whole.arms)
    assert {*whole.names} == {*found.frame()["candidate"]}
    arms = {"layer": 3, "layers": "1+3"}, {"layer": 3}, {"layer": -1}
    assert [replace(found, candidate=arm).layers for arm in arms] == [(1, 3), (3,), ()]
    assert found.reward == SHIFT
    assert (found.unsteered.value, whole.test[0].max()) == (0.5, 0.5)
    arm = whole.names.index(found.answer.candidate)
    assert found.success.value == pytest.approx(whole.test[arm].mean(), abs=1e-3)
    assert found.difference.value == pytest.approx(found.success.value - 0.5)
    assert found.answer.mean >= whole.select.mean(1).max() - found.answer.epsilon - 1e-3
    assert 0 < found.tokens <= found.grid * 1.01
    before = {path: path.stat().st_mtime_ns for path in (found.directory / "cells").iterdir()}
    again = search_layer(organism, contrast, prompts, words, out=tmp_path, **GRID, **SMALL, rules=rules, looked=10)
    assert str(again) == str(found)
    assert {path: path.stat().st_mtime_ns for path in (found.directory / "cells").iterdir()} == before
    # a smaller budget asks for nothing that is not there
    less = search_layer(organism, contrast, prompts, words, out=tmp_path, **GRID, **SMALL,
                        rules=replace(rules, budget=0.8), looked=10)  # fmt: skip
    # the looks are paid from the budget
    assert less.answer.cost < 0.8 - 0.01
    # another choice of arms to be asked, but the looks are those that were kept
    looks = [path for path in (found.directory / "cells").iterdir() if "success" not in pd.read_parquet(path)]
    assert set(looks) <= set(before)


def test_looks_are_what_they_say(own, organism, words, tmp_path):
    """Of a steer matched to a KL at the prompt's last token, the look finds that KL; words lean as the class does."""
    contrast, prompts = own
    found = search_layer(organism, contrast, prompts, words, out=tmp_path, layers=[1, 3], methods=["caa"], angle=[],
                         kl=[0.03, 0.1], rules=Rules(budget=0.9), looked=10, **SMALL)  # fmt: skip
    looks = found.looks
    np.testing.assert_allclose(looks["kl"], looks["level"], rtol=5e-3)
    assert (looks["words"] > 0).all()
    stronger = looks.pivot(index="layer", columns="level", values="words")
    assert (stronger[0.1] > stronger[0.03]).all()


def test_no_choice_depends_on_a_test_prompt(own, organism, tmp_path):
    """A judge without a threshold takes the unsteered median of the select prompts alone."""
    contrast, prompts = own

    def letters(prompts, texts):
        return np.array([float(len(text)) for text in texts])

    found = []
    for i, rest in enumerate((prompts[12:], ode.organism.prompts(40)[32:])):
        own_prompts = [*prompts[:12], *rest]
        found.append(
            search_layer(organism, contrast, own_prompts, letters, out=tmp_path / str(i), layers=[2], methods=["caa"],
                         angle=[0.2, 0.6], kl=[], rules=Rules(budget=1.0, block=6), looked=0, **SMALL)
        )  # fmt: skip
    one, other = found
    pd.testing.assert_frame_equal(one.answer.frame(), other.answer.frame())
    assert one.candidate == other.candidate


def test_words_of_a_class_are_those_that_only_it_has():
    positive, negative = [[1, 2, 3, 9], [1, 2, 4]] * 30, [[5, 2, 3], [5, 2, 4, 9]] * 30
    assert class_words(positive, negative) == ([1], [5])
    assert class_words(positive, positive) == ([], [])


def test_a_search_refuses_what_it_cannot_use(own, organism, words, tmp_path):
    contrast, prompts = own
    given = (organism, contrast, prompts, words)
    with pytest.raises(ValueError, match="select=0 leaves no prompts to search on"):
        search_layer(*given, out=tmp_path, layers=[1], methods=["caa"], cross_fit=True, select=0, test=8)
    with pytest.raises(ValueError, match="constraint='kl' is unknown"):
        search_layer(*given, out=tmp_path, layers=[1], methods=["caa"], constraint="kl", **SMALL)
    with pytest.raises(ValueError, match="writes no texts; leave the limit out"):
        search_layer(*given, out=tmp_path, layers=[1], methods=["caa"], rules=Rules(limit=0.1), looked=0, **SMALL)
    with pytest.raises(ValueError, match="looked=10 prompts cost more than the budget"):
        search_layer(*given, out=tmp_path, layers=[1], methods=["caa"], rules=Rules(budget=0.05), looked=10, **SMALL)
    for together in ([1], [3], [2, 2]):
        with pytest.raises(ValueError, match=r"together=.* must be numbers of layers, each once, of at least 2"):
            search_layer(*given, out=tmp_path, layers=[1, 3], methods=["caa"], together=together, **SMALL)
    assert LayersConfig().rules.budget == 0.1


def test_layers_are_ranked_by_what_tells_the_classes_apart(organism):
    contrast = ode.organism.contrast("valence", 24, 0)
    acts = ode.collect_activations(organism, contrast, "all")
    score = [layer_navigator(acts[layer]) for layer in range(5)]
    assert ranked(organism, contrast, [0, 1, 3, 4]) == sorted([0, 1, 3, 4], key=lambda layer: -score[layer])


def test_the_reward_is_success_or_the_shift_of_the_odds():
    plain = pd.DataFrame({"prompt": [0, 1], "success": [False, True], "score": [-9.0, 3.0]})
    rows = plain.assign(score=[-9 + np.log(3), 3.0])
    np.testing.assert_array_equal(reward(rows, plain), [0, 1])
    odds = rows.assign(mc2=0.0)
    np.testing.assert_allclose(reward(odds, plain), [0.75, 0.5])
    with pytest.raises(ValueError, match=r"no row of prompts \[1\]"):
        reward(odds, plain.iloc[:1])


def test_a_grid_costs_what_it_says(organism, grid):
    """Of a model of five layers: what lies behind each, the unsteered prompt and what acts on several layers in full,
    and a scan for both levels."""
    two = pd.concat([grid, grid[grid["budget"] == "kl"].assign(level=0.1)])
    shares = Shares.of_rows(EffectSettings(), organism, two)
    found = Grid.of(two, shares)
    head = (
        organism.cfg.d_vocab
        * organism.cfg.d_model
        / np.mean([sum(p.numel() for p in block.parameters()) for block in organism.blocks])
    )
    behind = {layer: (4 - layer + head) / (5 + head) for layer in (1, 3)}
    arms = [(1.0, 0.0), *((behind[a["layer"]] if pd.isna(a["layers"]) else 1.0, float(a["budget"] == "kl"))
                          for a in found.arms.to_dict("records"))]  # fmt: skip
    alone = np.array([share * (1 + kl * (SOUGHT + SCANNED)) for share, kl in arms])
    whole = alone.sum() - sum(share * SCANNED * kl / 2 for share, kl in arms)
    np.testing.assert_allclose(found.costs, alone / whole / 12)
    assert found.first == pytest.approx(1 / whole)


def test_the_replay_of_grids_is_printed_and_kept(own, words, organism, tmp_path, capsys):
    pytest.importorskip("optuna")
    contrast, prompts = own
    for name in ("one", "other"):
        layer_study(organism, contrast, prompts, words, out=tmp_path / name, layers=[1], methods=["caa"], angle=[0.2],
                    kl=[], measures=(), **{**SMALL, "seed": len(name)})  # fmt: skip
    folders = tuple(next((tmp_path / name).iterdir()) for name in ("one", "other"))
    replay_main(ReplayConfig(folders, Rules(budget=0.9), 1, tmp_path / "out"))
    assert "| race, told of others " in capsys.readouterr().out
    kept = pd.read_parquet(tmp_path / "out" / "searches.parquet")
    assert set(kept["grid"]) == {"one", "other", "all"}
    assert (kept["cost"] <= 1).all()
    assert pd.read_parquet(tmp_path / "out" / "grids.parquet")["unsteered"].tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="names a folder twice"):
        replay_main(ReplayConfig((folders[0], folders[0])))


def test_a_grid_is_replayed_at_the_same_cost_for_all(grid):
    """On a planted grid: the whole budget finds the grid's own choice, and no search spends more than it may."""
    rng = np.random.default_rng(0)
    arms = pd.DataFrame([(layer, "caa", "angle", level) for layer in range(6) for level in (0.1, 0.2, 0.4, 0.8)],
                        columns=["layer", "label", "budget", "level"])  # fmt: skip
    arms.loc[len(arms)] = (-1, "unsteered", "none", 0.0)
    means = np.append(
        0.2 + 0.7 * np.exp(-((arms["layer"][:-1] - 3) ** 2) / 2 - (arms["level"][:-1] - 0.4) ** 2 * 20), 0.2
    )
    rows = pd.concat([
        arms.assign(prompt=i, split="select" if i < 60 else "test", success=(won := rng.random(len(arms)) < means),
                    score=won + 0.0)
        for i in range(120)
    ])  # fmt: skip
    planted = Grid.of(rows)
    pytest.importorskip("optuna")
    found = replay(planted, Rules(budget=0.15), range(4), elsewhere(planted, [planted]))
    assert (found["cost"] <= 0.15 + 0.02).all()
    assert not found["false"].dropna().astype(bool).any()
    table = compared(found).set_index("how")
    assert table.loc["race", "of_grid"] > table.loc["random search", "of_grid"]
    whole = replay(planted, Rules(budget=1.0, epsilon=0.001), range(2))
    np.testing.assert_allclose(whole[whole["how"] != "successive halving"]["of_grid"], 1, atol=0.1)
    # what is the same at other concepts is known of this one
    assert table.loc["race, told of others", "of_grid"] > 0.97
    assert elsewhere(planted, [Grid.of(grid)]) is None
    assert Grid.of(grid[grid["method"] != "random"]).select.shape == (10, 12)
    with pytest.raises(ValueError, match="their split 'select' does not"):
        Grid.of(rows[rows["split"] == "test"])
