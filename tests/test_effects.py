"""Effects: budgets really matched, numbers equal to full passes, tables that choose without cheating."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

import odesteer_tl as ode
from analyses.benchmarks.scoring import option_scores
from analyses.effects import LAYER_ARMS, Arm, EffectSettings, Material, measure
from analyses.effects.fits import LayerFits
from analyses.effects.judging import Judging
from analyses.effects.matching import Scan
from analyses.effects.measures import Seen
from analyses.effects.options import Options
from analyses.effects.prediction import layer_picks
from analyses.effects.steer import Steer
from analyses.effects.study import UNSTEERED, effect_study
from analyses.effects.tables import anti_steerable, areas, choices, contrasts, profile, survival
from analyses.effects.writing import left_padded, write
from analyses.outcomes import Completions
from odesteer_tl.indicators import divergence

SETTINGS = EffectSettings(pairs=280, select=6, test=8, max_new_tokens=4)
FLOW = next(arm for arm in LAYER_ARMS if arm.label == "odesteer_kernel")


@pytest.fixture(scope="module")
def material():
    return Material(SETTINGS)


def cell(arm, layer, budget, level):
    return arm.cell(layer, budget, level)


def scan_of(measure, n):
    """Of what is spent as a function of the strength, and of the prompts, alone."""
    return Scan(lambda budget, s, rows: measure(s, rows), n, highest=1.2)


def test_the_first_crossing_of_each_row_is_found():
    scale = torch.tensor([1.0, 2.0, 0.01])
    matched = scan_of(lambda s, rows: scale[rows] * s.square(), 3).match("spent", 0.3)
    assert matched.reached.tolist() == [True, True, False]
    torch.testing.assert_close(matched.strength[:2], (0.3 / scale[:2].double()).sqrt(), rtol=1e-4, atol=1e-4)
    assert float(matched.strength[2]) == pytest.approx(1.2)
    hump = scan_of(lambda s, _: torch.sin(4 * s), 1)
    assert float(hump.match("spent", 0.5).strength) == pytest.approx(np.arcsin(0.5) / 4, abs=1e-4)
    beyond = hump.match("spent", 2.0)
    assert not bool(beyond.reached)
    assert float(beyond.strength) == pytest.approx(0.4, abs=0.051)  # the scan's best
    jump = scan_of(lambda s, _: (s > 0.537).double(), 1).match("spent", 0.5)
    assert float(jump.strength) == pytest.approx(0.537, abs=1e-4)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0.05, 50), st.floats(-0.3, 0.6)), min_size=1, max_size=8), st.floats(0.02, 0.5),
       st.sampled_from(["angle", "kl"]))  # fmt: skip
def test_strengths_are_scipys_roots_and_few_are_tried(laws, level, budget):
    """Of a·sᵏ(1 + b·s), against Brent's method on the whole range; a prompt that is done is not asked for again."""
    a, b = (torch.tensor(x, dtype=torch.float64) for x in zip(*laws, strict=True))
    order, asked = {"angle": 1, "kl": 2}[budget], torch.zeros(len(laws))

    def spends(s, rows):
        return a[rows] * s**order * (1 + b[rows] * s)

    def spent(budget, s, rows):
        asked[rows] += 1
        return spends(s, rows)

    matched = Scan(spent, len(laws), 1.2, {budget: 0.5}).match(budget, level)
    for j, reached in enumerate(matched.reached.tolist()):
        assert reached == (float(spends(1.2, j)) >= level)
        if reached:
            assert float(spends(matched.strength[j], j)) == pytest.approx(level, rel=2e-3)
            root = brentq(lambda s, j=j: float(spends(s, j)) - level, 1e-9, 1.2)
            assert float(matched.strength[j]) == pytest.approx(root, rel=2e-3)
        scanned = next((i for i in range(1, 13) if float(spends(0.1 * i, j)) >= max(0.5, level)), 12)
        assert asked[j] <= scanned + 4


def test_a_prompt_on_which_a_method_never_acts_gets_the_usual_strength():
    shut = scan_of(lambda s, rows: s * torch.tensor([1.0, 2.0, 0.0, 4.0])[rows], 4).match("spent", 1.0)
    assert shut.reached.tolist() == [True, True, False, True]
    assert float(shut.strength[2]) == pytest.approx(0.5, abs=1e-4)
    assert float(scan_of(lambda s, _: 0 * s, 1).match("spent", 1.0).strength) == pytest.approx(1.2)


#: acting on a block's output, inside the block, and on several blocks
KINDS = [FLOW, Arm.of("iti_heads"), Arm.of("pid", in_turn=True)]
TOGETHER = FLOW.together([2, 0])


@pytest.mark.parametrize("arm", [*LAYER_ARMS, *KINDS[1:], TOGETHER], ids=lambda arm: arm.label)
@pytest.mark.parametrize(("budget", "level"), [("angle", 0.2), ("displacement", 0.2), ("kl", 0.02)])
def test_every_arm_spends_the_budget(material, arm, budget, level):
    matched = material.scan(2, arm).match(budget, level)
    assert matched.reached.all()
    steer = Steer(material.layer(2), arm, matched.strength)
    points = Seen(steer, material.states, material.layer).points
    start, end = points[0], points[-1]
    if budget == "displacement":
        spent = (end - start).norm(dim=-1) / start.norm(dim=-1)
    elif budget == "angle":
        spent = torch.nn.functional.cosine_similarity(start, end, dim=-1).arccos()
    else:  # by full passes with hooks, not by the suffix
        tokens, mask = left_padded(material.model, material.plan.prompts)
        with torch.no_grad():
            plain = material.model(tokens, attention_mask=mask)[:, -1]
            with steer.steerer_for(slice(None)).on(material.model, prompt_length=tokens.shape[1]):
                steered = material.model(tokens, attention_mask=mask)[:, -1]
        spent = divergence(steered, plain)
    torch.testing.assert_close(spent, torch.full_like(spent, level), rtol=5e-3, atol=1e-5)


@pytest.mark.parametrize("arm", [*KINDS, FLOW.together([0, 1])], ids=lambda arm: arm.label)
def test_a_cell_says_what_full_passes_say(material, arm):
    rows = measure(material, cell(arm, 1, "kl", 0.03))
    assert len(rows) == 14
    assert rows["split"].tolist() == ["select"] * 6 + ["test"] * 8
    here = material.layer(1)
    strength = torch.tensor(rows["strength"].to_numpy())
    steer = Steer(here, arm, strength)
    tokens, mask = left_padded(material.model, material.plan.prompts)
    everywhere = steer.steerer_for(slice(None), "all_and_bos")
    with torch.no_grad():
        plain, found = material.model.run_with_cache(tokens, attention_mask=mask)
        with everywhere.on(material.model):
            steered, moved = material.model.run_with_cache(tokens, attention_mask=mask)
    neutral = divergence(steered, plain)
    np.testing.assert_allclose(rows["kl_all_positions"], neutral[:, -1], rtol=1e-2, atol=1e-6)
    np.testing.assert_allclose(rows["kl_neutral"], (neutral * mask).sum(1) / mask.sum(1), rtol=1e-2, atol=1e-6)
    barrier = material.layer(4).barrier
    last = [cache["blocks.4.hook_out"][:, -1].double() for cache in (moved, found)]
    gain = barrier.log_ratio(last[0]) - barrier.log_ratio(last[1])
    np.testing.assert_allclose(rows["gain_all_positions"], gain, rtol=1e-3, atol=1e-3)
    assert ("gain_at_0" in rows) == (arm.first(1) > 0)
    if arm.first(1):
        assert (rows["gain_at_0"] == 0).all()
    judged = ode.organism.judge(rows["text"].tolist())
    assert rows["success"].tolist() == (judged["valence"] > 0.5).tolist()


def test_texts_are_those_of_each_prompt_steered_alone(material):
    """Greedy, since sampling draws depend on the batch: a strength a prompt is the strength of that prompt."""
    here, greedy = material.layer(2), EffectSettings(temperature=0.0, max_new_tokens=4)
    strength = torch.linspace(0, 0.9, len(material.plan.prompts), dtype=torch.float64)
    steer = Steer(here, FLOW, strength)
    written = write(material.states.prompt, steer, greedy)
    for i in (0, 7, 13):
        alone = ode.Steerer(here.field(FLOW.method), FLOW.flow(float(strength[i])), 2)
        assert (
            written.texts[i]
            == alone.generate(material.model, [material.plan.prompts[i]], max_new_tokens=4, temperature=0.0)[0]
        )
    assert (written.kl[0][written.kept[0]] == 0).all()
    assert (written.kl[-1][written.kept[-1]] > 0).all()
    prefix = material.states.prompt
    first = prefix.logits(2, steer.residuals(prefix))[:, 0]
    torch.testing.assert_close(written.kl[:, 0], divergence(first, prefix.baseline), rtol=1e-3, atol=1e-6)


def test_a_prompts_own_batch_writes_what_generation_writes(material):
    """Draw for draw, from the prompts' keys and values; distributions as full passes over the texts have them."""
    sampling, prompts = EffectSettings(max_new_tokens=4, seed=3), list(material.plan.prompts)
    heads = Steer(material.layer(1), Arm.of("iti_heads"), torch.full((14,), 2.0, dtype=torch.float64))
    several = Steer(material.layer(2), TOGETHER, torch.full((14,), 0.4, dtype=torch.float64))
    for steering in (None, heads, several):
        hooks = None if steering is None else steering.steerer_for(slice(None)).hooks
        written = write(material.states.prompt, steering, sampling)
        assert written.texts == ode.generate(
            material.model, prompts, hooks, max_new_tokens=4, temperature=0.7, seed=3, batch_size=250
        )
        tokens, mask = left_padded(material.model, prompts)
        P, both = tokens.shape[1], torch.cat([tokens, written.tokens], dim=1)
        real = torch.cat([mask, torch.ones_like(written.tokens)], dim=1)
        with torch.no_grad():
            plain = material.model(both, attention_mask=real)[:, P - 1 : -1]
            with material.model.hooks(fwd_hooks=[] if hooks is None else hooks(P)):
                steered = material.model(both, attention_mask=real)[:, P - 1 : -1]
        kept = written.kept
        torch.testing.assert_close(written.kl[kept], divergence(steered, plain)[kept], rtol=1e-3, atol=1e-6)
        found = plain.double().log_softmax(-1).gather(-1, written.tokens[..., None])[..., 0]
        torch.testing.assert_close(written.log_likelihood[kept], found[kept], rtol=1e-4, atol=1e-5)
        # without the comparison token by token, the text is asked for once it is written
        alone = write(material.states.prompt, steering, replace(sampling, measures=("geometry",)))
        assert alone.texts == written.texts
        assert alone.kl.eq(0).all()
        torch.testing.assert_close(alone.log_likelihood[kept], found[kept], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("passage", ["prompt", "text"])
def test_the_numbers_are_those_that_the_study_always_gave(request, passage):
    """Of cells that ask no barrier, as they were when one object held all stages; barriers are chosen anew since."""
    material = request.getfixturevalue("material" if passage == "prompt" else "along")
    kept = pd.read_csv(Path(__file__).with_name("effects_table.csv")).query("passage == @passage")
    arms = {arm.label: arm for arm in (*LAYER_ARMS, *KINDS)}
    for (layer, label, budget, level), rows in kept.groupby(["layer", "label", "budget", "level"], sort=False):
        config = UNSTEERED if label == "unsteered" else cell(arms[label], layer, budget, level)
        found = measure(material, config).loc[rows["prompt"]].reset_index(drop=True)
        for name in rows.columns.intersection(found.columns):
            if name not in config and name != "passage":
                np.testing.assert_allclose(found[name].astype(float), rows[name].astype(float), rtol=2e-3, atol=1e-5,
                                           err_msg=f"{label} {name}")  # fmt: skip


@pytest.fixture(scope="module")
def along():
    """Budgets counted along the texts."""
    return Material(replace(SETTINGS, passage="text", max_new_tokens=6))


@pytest.mark.parametrize("arm", [FLOW, Arm.of("cast"), Arm.of("hpr"), *KINDS[1:]], ids=lambda arm: arm.label)
@pytest.mark.parametrize(("budget", "level"), [("angle", 0.1), ("kl", 0.02)])
def test_a_budget_is_spent_on_average_along_a_text(along, arm, budget, level):
    """By full passes with hooks over prompt and unsteered continuation, gates that open now and then included."""
    matched, passage = along.scan(2, arm).match(budget, level), along.states.passage
    steer, P = Steer(along.layer(2), arm, matched.strength), along.states.prompt.tokens.shape[1]
    tokens, mask = passage.prefix.tokens, passage.prefix.attention_mask
    with torch.no_grad():
        plain, before = along.model.run_with_cache(tokens, attention_mask=mask)
        with steer.steerer_for(slice(None)).on(along.model, prompt_length=P):
            steered, after = along.model.run_with_cache(tokens, attention_mask=mask)
    x, y = (cache["blocks.2.hook_out"][:, P - 1 :].double() for cache in (before, after))
    turned = torch.nn.functional.cosine_similarity(x, y, dim=-1).clamp(-1, 1).arccos()
    spent = turned if budget == "angle" else divergence(steered, plain)[:, P - 1 :]
    lengths = along.states.text.kept.sum(1).clamp_max(5) + 1  # what ended a text was drawn too
    mean = torch.stack([row[:n].mean() for row, n in zip(spent, lengths.tolist(), strict=True)])
    assert matched.reached.any()
    torch.testing.assert_close(
        mean[matched.reached], torch.full_like(mean, level)[matched.reached], rtol=5e-3, atol=1e-4
    )


def test_the_token_looked_at_is_one_of_the_text(along):
    passage = along.states.passage
    assert passage.counted.gather(1, passage.looked[:, None]).all()
    assert passage.counted[:, 0].all()
    assert len(set(passage.looked.tolist())) > 1
    rows = measure(along, cell(Arm.of("cast"), 2, "kl", 0.02))
    moved = rows["displacement"] > 0
    assert 0 < rows["acts"].mean() < 1
    assert (rows["acts"][moved] > 0).all()
    np.testing.assert_allclose(rows["kl"][rows["reached"]], 0.02, rtol=1e-3)
    assert (measure(along, cell(FLOW, 2, "kl", 0.02))["acts"] == 1).all()


def test_an_unsteered_cell_has_no_divergence(material):
    rows = measure(material, UNSTEERED)
    assert (rows["text_kl_max"] == 0).all()
    assert (rows["text_nbf_mean"] == 1).all()


def test_a_study_is_its_inputs_and_not_its_threads(tmp_path):
    def study(**changed):
        return effect_study("s", EffectSettings(**{"pairs": 280, **changed}), [1], LAYER_ARMS[:2], {"kl": [0.1]})

    assert len(study().cells) == 3
    assert study().digest == study(threads=2).digest
    assert study().digest != study(seed=1).digest
    with pytest.raises(ValueError, match="positive levels of angle, displacement or kl"):
        effect_study("s", EffectSettings(), [1], LAYER_ARMS, {"kl": [0.0]})
    with pytest.raises(ValueError, match=r"an angle of 2.0 is above highest=1.2"):
        effect_study("s", EffectSettings(), [1], LAYER_ARMS, {"angle": [2.0]})


def test_too_few_prompts_are_refused(tmp_path):
    file = tmp_path / "few.csv"
    texts = {side: [f"the {side} {i}" for i in range(300)] for side in ("positive", "negative")}
    pd.DataFrame(texts).to_csv(file)
    with pytest.raises(ValueError, match="ask for 350; lower them or give more pairs"):
        Material(EffectSettings(contrast=str(file), outcome="length"))
    with pytest.raises(ValueError, match=r"leaves 9 texts a class to calibrate on.*give 267 pairs or more"):
        Material(EffectSettings(pairs=60))
    # ten wordings, each thirty times: there is no fortieth to calibrate on, however many texts there are
    rows = pd.DataFrame({side: [f"the {side} {i}" for i in range(300)] for side in ("positive", "negative")})
    rows.assign(group=[i % 10 for i in range(300)]).to_csv(file)
    alike = EffectSettings(contrast=str(file), outcome="length", select=1, test=5)
    with pytest.raises(ValueError, match=r"leaves 1 texts a class to calibrate on \(those of one group count once\)"):
        Material(alike)
    with pytest.raises(ValueError, match=r"has 10 texts a class \(those of one group count once\); cross_fit needs 20"):
        Material(replace(alike, cross_fit=True, measures=()))


def synthetic(seed, n=120, layers=12, effect=0.5):
    """Outcomes of equal probability in all cells, one level; an indicator that says nothing of them."""
    g = np.random.default_rng(seed)
    rows = []
    for layer in range(layers):
        for split in ("select", "test"):
            success = g.random(n) < effect
            constant = {
                "split": split, "layer": layer, "label": "arm", "budget": "kl", "level": 0.1,
                "probe_auc": layer / layers, "probe_log_loss": 0.1, "probe_slope": 1.0, "kl": 0.1, "reached": True,
            }  # fmt: skip
            prompt = np.arange(n) + (0 if split == "select" else n)
            outcome = {"prompt": prompt, "success": success, "score": success.astype(float)}
            rows.append(pd.DataFrame({**outcome, **constant}))
    return pd.concat(rows, ignore_index=True)


@pytest.mark.parametrize("effect", [0.5, 0.98])
def test_choosing_on_other_prompts_is_honest_and_choosing_on_the_same_is_not(effect):
    """Twelve layers of equal effect: the naive figure is too high, the honest one is not, and the band covers it."""
    found = pd.concat([choices(synthetic(seed, effect=effect), seed) for seed in range(40)])
    assert abs(found["success"].mean() - effect) < 0.02
    assert found["naive"].mean() > effect + 0.01
    covered = ((found["band_low"] <= effect) & (found["band_high"] >= effect)).mean()
    assert covered > 0.87
    assert (found["band_high"] - found["band_low"]).max() < 0.35


def test_of_cells_that_do_as_well_the_highest_score_then_the_first_is_chosen():
    """Layers 0 and 1 succeed always, 2 has the highest score but less success; the pick by success says the same."""
    table = synthetic(0, n=20, layers=3)
    table["success"] = (table["layer"] < 2) | (table["prompt"] % 4 > 0)
    for score, layer in (({0: 1.0, 1: 2.0, 2: 3.0}, 1), ({0: 2.0, 1: 2.0, 2: 3.0}, 0)):
        scored = table.assign(score=table["layer"].map(score))
        (row,) = choices(scored).to_dict("records")
        assert (row["layer"], row["naive_layer"], row["tied"]) == (layer, layer, 1)
        assert (row["next_layer"], row["next_on_select"]) == (1 - layer, 1.0)
        assert layer_picks(scored, "arm", "kl", 0.1).set_index("picked by").loc["success on select", "layer"] == layer
    # of two strengths the weaker
    twice = pd.concat([table.assign(level=0.3), table]).assign(score=1.0)
    assert choices(twice).loc[0, ["layer", "level"]].tolist() == [0, 0.1]


def test_layers_picked_by_an_indicator_cost_what_the_table_says():
    table = synthetic(0, layers=4)
    table.loc[table["layer"] == 2, "success"] = True
    picks = layer_picks(table, "arm", "kl", 0.1).set_index("picked by")
    assert picks.loc["success on select", ["layer", "regret"]].tolist() == [2, 0]
    assert picks.loc["probe_auc", "layer"] == 3
    share = table.query("layer == 3 and split == 'test'")["success"].mean()
    assert picks.loc["probe_auc", "regret"] == pytest.approx(1 - share)
    assert picks.loc["probe_auc", "regret_low"] <= 1 - share <= picks.loc["probe_auc", "regret_high"]


def test_areas_contrasts_and_anti_steerable_shares_of_known_outcomes():
    n = 50
    same = {"prompt": range(n), "split": "test"}
    plain = {"layer": -1, "label": "unsteered", "budget": "none", "level": 0.0, "success": False, "score": 0.5}
    rows = [pd.DataFrame({**same, **plain})]
    for label, from_level in (("late", 0.1), ("early", 0.01)):
        for level in (0.01, 0.1):
            falls = np.arange(n) < 10
            score = np.where(falls, 0.5 - level, 0.5 + level)
            cell = {"layer": 1, "label": label, "budget": "kl", "level": level, "success": level >= from_level}
            rows.append(pd.DataFrame({**same, **cell, "score": score}))
    table = pd.concat(rows, ignore_index=True)
    area = areas(table, 1, "late").set_index("label")
    assert area.loc["late", "area"] == pytest.approx(0.5)
    assert area.loc["early", "area"] == pytest.approx(1.0)
    assert area.loc["early", "difference"] == pytest.approx(0.5)
    assert not area.loc["early", "equivalent"]
    share = anti_steerable(table, "kl")
    assert (share["anti_steerable"] == 0.2).all()
    both = contrasts(table, "kl", [("early", "late")]).set_index("level")
    assert both.loc[0.01, "difference"] == 1.0
    assert both.loc[0.01, "p_holm"] < 1e-6
    assert both.loc[0.1, "p_holm"] == 1.0
    with pytest.raises(ValueError, match="reference='nobody' is not in this table; choose one of"):
        areas(table, 1, "nobody")


def test_profile_and_survival_are_of_the_test_prompts(material):
    config = cell(FLOW, 3, "kl", 0.03)
    rows = pd.concat([measure(material, config).assign(**config), measure(material, UNSTEERED).assign(**UNSTEERED)])
    line = profile(rows).query("label == 'odesteer_kernel'").iloc[0]
    test = rows.query("split == 'test' and label == 'odesteer_kernel'")
    assert line["n"] == 8
    assert line["success"] == test["success"].mean()
    assert line["kl"] == pytest.approx(0.03, rel=1e-2)
    found = survival(rows, "odesteer_kernel", "kl", 0.03)
    assert found.loc[3, 4] == test["gain_at_4"].median()
    assert found.loc[3, 2] == 0


@pytest.mark.parametrize("arm", [None, FLOW, KINDS[1], KINDS[2], TOGETHER], ids=str)
def test_what_completions_share_is_run_once(material, arm, monkeypatch):
    """Against whole sequences by themselves (`option_scores`), of several lengths, one the beginning of another."""
    prompts = [*material.plan.prompts[:3], "The"]
    each = [" the dog", " the dog and the cat", " the big cat", " the", " a lamp"]
    rows = [each, each[:2], each[3:], each[1:4]]
    monkeypatch.setattr("analyses.effects.options.ROWS", 3)
    options = Options(material.model, prompts, rows)
    assert options.tokens == 4 + (4 + 2 + 1) + 4 + 1 + (4 + 2)  # the last tokens, and by prompt what is behind them
    # like lengths together, a prompt as often as it has sequences
    assert [run.tokens.shape for run in options.runs] == [(3, 4), (3, 2), (1, 1)]
    strength = torch.tensor([0.1, 0.5, 0.9, 0.3], dtype=torch.float64)
    steer = None if arm is None else Steer(material.layer(2), arm, strength * arm.reach)
    expected = option_scores(material.model, prompts, rows, None if steer is None else steer.steerer_for)
    found = np.concatenate(options.log_likelihoods(steer))
    np.testing.assert_allclose(found, expected["log_likelihood"], rtol=1e-4, atol=1e-3)


def test_several_layers_together_are_each_turned_alike_by_their_own_fields(material):
    """The steerer is the composition of the layers' own, and its cell says which they are and reads them back."""
    config = TOGETHER.cell(2, "angle", 0.3)
    assert (config["label"], config["layers"], Arm.in_cell(config)) == ("odesteer_kernel, layers 0+2", "0+2", TOGETHER)
    strength = torch.linspace(0.1, 0.9, 14, dtype=torch.float64)
    found = Steer(material.layer(2), TOGETHER, strength).steerer_for([0, 3])
    assert isinstance(found, ode.Composition)
    assert [one.layer for one in found.steerers] == [0, 2]
    for one in found.steerers:
        assert one.field is material.layer(one.layer).field(FLOW.method)
        torch.testing.assert_close(one.flow.angle, strength[[0, 3], None])
    spent, alone = (material.layer(2).expense(arm) for arm in (TOGETHER, FLOW))
    assert (spent.data_tokens, spent.read_tokens) == (alone.data_tokens, alone.read_tokens)


@pytest.mark.parametrize(("arm", "strength"), [(FLOW, 1.0), (KINDS[1], 10.0), (KINDS[2], 2.5)], ids=str)
def test_endings_are_scored_with_each_prompts_own_strength(material, arm, strength):
    """Against log-probabilities summed by hand, a prompt at a time."""
    prompts, endings = material.plan.prompts, ([" the dog", " the big cat"], [" the lamp"])
    steer = Steer(material.layer(2), arm, strength * torch.linspace(0.05, 0.9, 14, dtype=torch.float64))
    judging = Judging(material.model, prompts, Completions.alike("pets", *endings), lambda: material.states)
    judged = judging.frame(None, steer)
    for i in (0, 6, 13):
        found = []
        for ending in (*endings[0], *endings[1]):
            prompt = material.model.to_tokens(material.plan.prompts[i])
            tokens = material.model.to_tokens(material.plan.prompts[i] + ending)
            P = prompt.shape[1]
            with torch.no_grad(), steer.steerer_for([i]).on(material.model, prompt_length=P):
                logits = material.model(tokens).double().log_softmax(-1)
            found.append(float(logits[0, P - 1 : -1].gather(-1, tokens[0, P:, None]).sum()))
        odds = np.logaddexp(found[0], found[1]) - found[2]
        assert judged["score"][i] == pytest.approx(odds, abs=1e-3)
        assert judged["success"][i] == (max(found[:2]) > found[2])
        assert judged["mc2"][i] == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-4)


def test_cross_validation_of_a_study_does_not_divide_near_copies():
    # twenty wordings whose class is a coin's, each in five near copies: whoever divides them finds them easy to read
    torch.manual_seed(0)
    wordings = torch.randn(2, 20, 8)
    rows = (wordings[:, :, None] + 0.05 * torch.randn(2, 20, 5, 8)).flatten(1, 2)
    groups = tuple(i // 5 for i in range(100))
    acts = ode.LayerActivations(rows[0], rows[1], groups, tuple(20 + g for g in groups))
    fits = LayerFits(None, 0, [None], [acts], 0)  # pyright: ignore[reportArgumentType]
    own = ode.METHODS["odesteer_kernel"].fit_activations(acts).barrier  # pyright: ignore[reportAttributeAccessIssue]
    divided = ode.METHODS["odesteer_kernel"].fit(rows[0], rows[1], 0).barrier  # pyright: ignore[reportAttributeAccessIssue]
    at = torch.randn(50, 8, dtype=torch.float64)
    torch.testing.assert_close(fits.field("odesteer_kernel").barrier.value(at), own.value(at))  # pyright: ignore[reportAttributeAccessIssue]
    assert (divided.value(at) - own.value(at)).abs().max() > 0.1


def test_half_of_the_texts_is_read_as_the_whole_is():
    """Where completions begin, and that a chat's template has written the BOS: trained methods learn completions."""
    whole = replace(
        ode.ContrastSet.from_completions("It is", [" a", " b", " c"], [" d", " e", " f"]), prepend_bos=False
    )
    half = LayerFits(None, 0, [whole], [None], 0)._half("first")  # pyright: ignore[reportArgumentType]
    assert (half.positive, half.negative) == (("It is a", "It is c"), ("It is d", "It is f"))
    assert half.positive_prompts == half.negative_prompts == (5, 5)
    assert half.prepend_bos is False
    assert half.negative_groups == whole.negative_groups[::2]
