"""A layer for every prompt as a candidate of the search: what chooses it, what it does, and what it costs."""

import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

import odesteer_tl as ode
from analyses.effects.arms import KNOWN, PLACEBO
from analyses.effects.blocks import TEST, Blocks, pull
from analyses.effects.estimate import SCANNED, SOUGHT
from analyses.effects.material import Material
from analyses.effects.per_prompt import LayerPerPrompt, candidates
from analyses.effects.plan import Given
from analyses.effects.settings import EffectSettings
from analyses.layer_effectiveness import LayersConfig, run_layers
from analyses.outcomes import Completions
from analyses.search import Rules
from analyses.studies import search_layer

SMALL = {"pairs": 64, "cross_fit": True, "select": 12, "test": 8, "max_new_tokens": 3}
#: at which the embedded model's prompts have different best layers
TWO = {"layers": [1, 2], "methods": ["caa"], "angle": [], "kl": [0.3], "per_prompt": True}
ARM = "caa, a layer per prompt, kl 0.3"
RULES = Rules(budget=1.0, epsilon=0.01, block=6, width=3)
WORDS = Completions.alike("words", (" the kind dog", " joy"), (" the cruel dog", " grief"))


@pytest.fixture(scope="module")
def prompts():
    return ode.organism.prompts(20)


@pytest.fixture(scope="module")
def found(organism, prompts, tmp_path_factory):
    return search_layer(
        organism, "valence", prompts, out=tmp_path_factory.mktemp("search"), rules=RULES, **TWO, **SMALL
    )


@pytest.fixture
def blocks(organism, prompts):
    """Of texts, or of completions."""

    def made(outcome=None):
        settings = EffectSettings(contrast="valence", measures=(), **SMALL)
        return Blocks(Material(settings, Given(model=organism, prompts=prompts, outcome=outcome)), 0, 6)

    return made


@pytest.mark.parametrize(("label", "outcome", "budget"), [("caa", None, ("kl", 0.3)), (PLACEBO, WORDS, ("angle", 0.5))])
def test_a_prompt_is_steered_as_its_own_layer_would_steer_it(blocks, label, outcome, budget):
    """Draw for draw: its text is the one that is written where all prompts are steered at its layer."""
    own, arm, chosen = blocks(outcome), KNOWN[label], [1, 3, 1, 1, 2, 3]
    cell = {**arm.cell(3, *budget), "layers": "1+2+3", "per_prompt": True, "chosen": "+".join(map(str, chosen))}
    rows = pull(own, {**cell, "block": 1, "look": False})
    single = {layer: pull(own, {**arm.cell(layer, *budget), "block": 1, "look": False}) for layer in (1, 2, 3)}
    expected = pd.concat([single[layer].iloc[[i]] for i, layer in enumerate(chosen)])
    kinds = expected.select_dtypes("number").columns
    np.testing.assert_allclose(rows[kinds], expected[kinds], rtol=1e-4, atol=1e-4)
    left = [name for name in expected if name not in kinds]
    assert rows[left].to_numpy().tolist() == expected[left].to_numpy().tolist()
    if outcome is None:  # what is compared differs between layers
        assert (single[1]["text"] != single[3]["text"]).any()
    else:
        assert (abs(single[1]["score"] - single[3]["score"]) > 1e-2).all()


def test_a_layer_is_foretold_from_prompts_that_were_looked_at_and_from_others_than_the_prompt_itself():
    """Against the regression by hand; other prompts that are not looked at change nothing."""
    g = np.random.default_rng(0)
    states, kind = g.normal(size=(40, 6)).astype(np.float32), g.random(40) < 0.5
    states[:, 0] += 6 * kind
    seen = pd.DataFrame({2: 1.0 * kind, 5: 1.0 - kind}).iloc[g.permutation(24)[:20]] + g.normal(size=(20, 2)) / 10
    rule = LayerPerPrompt.of(seen, states, middle=3)

    def by_hand(learned, asked):
        scale = StandardScaler().fit(states[learned])
        ridge = RidgeCV(np.logspace(0, 6, 13)).fit(scale.transform(states[learned]), seen.loc[learned])
        return np.array([2, 5])[ridge.predict(scale.transform(states[asked])).argmax(1)]

    rest = [i for i in range(40) if i not in seen.index]
    chosen = np.array(rule.chosen)
    np.testing.assert_array_equal(chosen[rest], by_hand(seen.index, rest))
    for fold in np.array_split(seen.index, 10):
        np.testing.assert_array_equal(chosen[fold], by_hand(seen.index.difference(fold, sort=False), fold))
    assert (chosen == np.where(kind, 2, 5)).mean() > 0.9
    # what a prompt that is not looked at is like tells nothing of another
    other = states.copy()
    other[rest[1:]] += 1
    assert LayerPerPrompt.of(seen, other, middle=3).chosen[rest[0]] == rule.chosen[rest[0]]
    # and what the looks say of a prompt tells nothing of that prompt
    told = seen.copy()
    told.iloc[0] = [50.0, -50.0]
    alone = LayerPerPrompt.of(told.drop(seen.index[1:2]), states, middle=3)
    assert alone.chosen[seen.index[0]] == LayerPerPrompt.of(seen.drop(seen.index[1:2]), states, 3).chosen[seen.index[0]]


def test_where_one_layer_is_best_for_all_prompts_there_is_no_other_candidate():
    arm, states = KNOWN["caa"], np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    configs = [arm.cell(layer, "kl", 0.1) for layer in (1, 4)]
    looks = pd.concat([pd.DataFrame({**c, "prompt": range(6), "words": 1.0 * c["layer"]}) for c in configs])
    with pytest.warns(UserWarning, match=r"where one is foretold to be best for all: caa, kl 0.1 \(layer 4\)"):
        assert candidates(configs, looks, states, 2, 8) == []
    with pytest.raises(ValueError, match=r"words that tell the contrast's classes apart, and none does"):
        candidates(configs, looks.assign(words=0.0), states, 2, 8)
    # that can be fitted at one layer alone
    with pytest.warns(UserWarning, match=r"caa, kl 0.1 \(layer 1\)"):
        assert candidates(configs[:1], looks[looks["layer"] == 1], states, 2, 8) == []


def test_a_search_races_a_layer_per_prompt_and_counts_what_it_costs(found, organism, prompts):
    rule, arms = found.apart[ARM], found.frame().set_index("candidate")
    assert rule.layers == (1, 2)
    assert {*rule.chosen[:12]} == {1, 2}
    assert arms.index.tolist() == ["unsteered", "caa, layer 1, kl 0.3", "caa, layer 2, kl 0.3", ARM]
    kept = [pd.read_parquet(path) for path in (found.directory / "cells").iterdir()]
    looks = pd.concat([cell for cell in kept if "words" in cell]).set_index(["layer", "prompt"])["words"]
    # what is looked at for the others is all that it learns from, and has its look at the layers that it chooses
    assert {*looks.index} == {(layer, prompt) for layer in (1, 2) for prompt in range(12)}
    assert arms.loc[ARM, "words"] == pytest.approx(np.mean([looks[rule.chosen[i], i] for i in range(12)]))
    pulls = [cell for cell in kept if "success" in cell and cell["block"].iloc[0] != TEST]
    own = [cell for cell in pulls if "chosen" in cell]
    assert len(own) > 0
    for cell in own:
        assert cell["chosen"].iloc[0] == "+".join(str(rule.chosen[i]) for i in cell["prompt"])
    # a token through all blocks and the unembedding is 1
    blocks = [sum(p.numel() for p in block.parameters()) for block in organism.blocks]
    head = organism.cfg.d_vocab * organism.cfg.d_model / np.mean(blocks)
    behind = {layer: (len(blocks) - 1 - layer + head) / (len(blocks) + head) for layer in (0, 1, 2)}
    wrote, scan = SMALL["max_new_tokens"], SCANNED + SOUGHT
    each = {
        "caa, layer 1, kl 0.3": wrote * (1 + behind[1]) + scan * behind[1],
        "caa, layer 2, kl 0.3": wrote * (1 + behind[2]) + scan * behind[2],
        ARM: wrote * (1 + behind[0]) + scan * (behind[1] + behind[2]) / 2,
        "unsteered": wrote,
    }
    asked = sum(each[arm] * n for arm, n in arms["asked"].items())
    assert found.tokens == pytest.approx(asked + 12 * (1 + scan) * (behind[1] + behind[2]))
    assert found.grid == pytest.approx(12 * sum(each.values()))
    assert found.tokens <= found.grid
    # a new prompt is given a layer as the study's own are
    assert rule.choose(organism, prompts[12:]) == list(rule.chosen[12:])


def test_a_search_that_was_killed_goes_on_to_the_same_end(found, organism, prompts, tmp_path):
    cells = sorted((found.directory / "cells").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    half = tmp_path / found.directory.name
    shutil.copytree(found.directory, half)
    lost = [half / "cells" / path.name for path in cells[len(cells) // 2 :]]
    for path in lost:
        path.unlink()
    left = {path: path.stat().st_mtime_ns for path in (half / "cells").iterdir()}
    again = search_layer(organism, "valence", prompts, out=tmp_path, rules=RULES, **TWO, **SMALL)
    assert str(again) == str(found)
    pd.testing.assert_frame_equal(again.frame(), found.frame())
    pd.testing.assert_frame_equal(again.choices(), found.choices())
    now = {path: path.stat().st_mtime_ns for path in (half / "cells").iterdir()}
    assert {path.name for path in now} == {path.name for path in cells}
    assert left.items() <= now.items()


def test_no_layer_of_a_select_prompt_depends_on_a_test_prompt(found, organism, prompts, tmp_path):
    """Nor does that of a test prompt on the others."""
    others = [*prompts[:13], *ode.organism.prompts(40)[33:]]
    again = search_layer(organism, "valence", others, out=tmp_path, rules=Rules(budget=1.0, epsilon=0.99, block=6),
                         **TWO, **SMALL)  # fmt: skip
    assert again.apart[ARM].chosen[:13] == found.apart[ARM].chosen[:13]
    assert others[13:] != prompts[13:]


def test_a_layer_per_prompt_is_refused_where_it_means_nothing(organism, prompts, tmp_path):
    given = {"model": organism, "contrast": "valence", "prompts": prompts, "out": tmp_path, **SMALL}
    with pytest.raises(ValueError, match="looked=0 of select=12 are fewer than 4"):
        search_layer(**given, **TWO, looked=0)
    with pytest.raises(ValueError, match="chooses among layers, and there is 1"):
        search_layer(**given, **{**TWO, "layers": [1]})
    with pytest.raises(ValueError, match="engine='vllm' steers all prompts at the same layers"):
        search_layer(**given, **TWO, engine="vllm")
    with pytest.raises(ValueError, match="per_prompt=True is for a search"):
        run_layers(LayersConfig(per_prompt=True))
