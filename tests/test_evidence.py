"""What is declared of the real models' studies, on rows whose answers are known."""

import json
import re
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pandas as pd
import pytest
import torch
import tyro
from sklearn.metrics import roc_auc_score

import odesteer_tl as ode
from analyses.detection import DetectionConfig
from analyses.effects.per_prompt import prompt_states
from analyses.evidence import contrasts, lenses, over_cells, plan, readers, steering_tables
from analyses.evidence.__main__ import EvidenceConfig, chosen, left_out, main
from analyses.evidence.lensing import Lens, accessibility_study, accessible, label_tokens, layer_per_prompt
from analyses.evidence.predictors import BEST, RANDOM, predictors
from analyses.evidence.reading import BARRIERS, layer_navigator, read_layer, reading
from analyses.evidence.reading_tables import FINDINGS, along, certified, families
from analyses.evidence.run import concept_command, runs
from analyses.evidence.steering_tables import written
from analyses.evidence.tables import TablesConfig, write
from analyses.layer_effectiveness import LayersConfig
from analyses.measured.__main__ import FOLDER, kept
from analyses.outcomes.completions import Completions
from analyses.trajectory_likelihood import LikelihoodConfig
from odesteer_tl import stats
from tests.studies import write_concept

LAYERS, LEVELS, PROMPTS = (2, 5, 8), (0.03, 0.1), 40


def rows(shift: dict[str, float], concept: str = "sentiment", seed: int = 0, best: int = 5) -> pd.DataFrame:
    """A layer study: every arm adds its shift to a prompt's own score, twice as much at the best layer."""
    g = np.random.default_rng(seed)
    own = g.normal(size=2 * PROMPTS)
    parts = [("unsteered", -1, 0.0, own)]
    for label, by in shift.items():
        for layer in LAYERS:
            gain = own + by * (1 + (layer == best)) + 0.1 * g.normal(size=2 * PROMPTS)
            parts += [(label, layer, level, gain + level) for level in LEVELS]
    split = ["select"] * PROMPTS + ["test"] * PROMPTS
    return pd.concat([
        pd.DataFrame({"label": label, "layer": layer, "level": level, "budget": "kl", "prompt": range(2 * PROMPTS),
                      "split": split, "score": score, "success": score > 0, "angle": 0.3, "reached": True,
                      "probe_auc": 0.9 - 0.01 * layer, "gain": float(layer == best)})
        for label, layer, level, score in parts
    ]).assign(model="smollm2", concept=concept)  # fmt: skip


SHIFTS = {"odesteer_kernel": 1.0, "odesteer_kernel, one step": 1.0, "caa": 0.2, "random, geodesic": 0.0}


def test_a_profile_is_each_prompts_change_from_itself():
    study = rows(SHIFTS)
    found = contrasts.profile(study).set_index(["label", "layer", "level"])
    assert found.loc[("unsteered", -1, 0.0), "change"] == 0
    test = study.query("split == 'test'")
    plain = test.query("label == 'unsteered'").set_index("prompt").score
    flow = test.query("label == 'odesteer_kernel' and layer == 5 and level == 0.1").set_index("prompt").score
    cell = found.loc[("odesteer_kernel", 5, 0.1)]
    assert cell.change == pytest.approx((flow - plain).mean())
    assert cell.low < 2.1 < cell.high
    assert cell.n == PROMPTS


def test_equal_arms_are_equivalent_and_unequal_ones_are_told_apart():
    found = contrasts.pooled([rows(SHIFTS, name, seed) for seed, name in enumerate(("a", "b", "c"))])
    found = found.set_index(["first", "second", "level"])
    same, apart = (
        found.loc[("odesteer_kernel", "odesteer_kernel, one step", 0.1)],
        found.loc[("odesteer_kernel", "caa", 0.1)],
    )
    assert same.equivalent
    assert same.low < 0 < same.high
    assert not apart.equivalent
    assert apart.low > 0
    assert apart.difference == pytest.approx(0.8 * 4 / 3, abs=0.05)
    assert apart.concepts == 3
    assert apart.n == 3 * PROMPTS
    assert ("odesteer_kernel", "odesteer", 0.1) not in found.index  # which was not run


def test_a_pooled_interval_is_wider_where_concepts_differ():
    alike = [rows({"odesteer_kernel": 1.0, "caa": 0.0}, name, seed) for seed, name in enumerate("abcd")]
    unlike = [
        rows({"odesteer_kernel": by, "caa": 0.0}, name, seed)
        for seed, (name, by) in enumerate(zip("abcd", (0, 1, 2, 1), strict=True))
    ]
    widths = [
        (t := contrasts.pooled(studies).query("second == 'caa'").iloc[0]).high - t.low for studies in (alike, unlike)
    ]
    assert widths[1] > 5 * widths[0]


def test_cells_agree_with_the_statistics_of_the_library():
    study = rows(SHIFTS)
    cell = contrasts.by_cell(study).query("second == 'caa' and layer == 2 and level == 0.03").iloc[0]
    test = study.query("split == 'test' and layer == 2 and level == 0.03").pivot(
        index="prompt", columns="label", values="score"
    )
    apart = stats.paired_difference(test["odesteer_kernel"], test["caa"])
    assert (cell.difference, cell.low, cell.high, cell.n) == (apart.value, apart.low, apart.high, apart.n)


def test_an_indicator_that_picks_the_wrong_layer_pays_for_it():
    study = rows(SHIFTS)
    read = pd.DataFrame({"what": "log loss, kernel", "layer": LAYERS, "value": [0.3, 0.1, 0.2]})
    found = predictors(study, read, "odesteer_kernel", 0.1).set_index("picked by")
    assert found.loc[[BEST, "gain", "log loss, kernel"], "layer"].tolist() == [5, 5, 5]
    assert found.loc["gain", "regret"] == 0
    assert found.loc["probe_auc", "layer"] == 2
    assert found.loc["probe_auc", "regret"] == pytest.approx(1.0, abs=0.1)
    assert found.loc["probe_auc", "low"] > 0.9
    assert found.loc[RANDOM, "regret"] == pytest.approx(2 / 3, abs=0.1)


def planted(n: int = 60, d: int = 6, curved: bool = False) -> ode.LayerActivations:
    """Groups of two near copies; a class is a side of a plane, or how far from one."""
    g = torch_rows(n, d)
    truth = g[:, 0].square() > 0.45 if curved else g[:, 0] > 0
    n = int(min(truth.sum(), (~truth).sum()))
    sides = [g[truth][:n], g[~truth][:n]]
    groups = [tuple(i // 2 + 1000 * k for i in range(len(side))) for k, side in enumerate(sides)]
    return ode.LayerActivations(sides[0], sides[1], groups[0], groups[1])


def torch_rows(n: int, d: int) -> torch.Tensor:
    return torch.randn(n * 4, d, generator=torch.Generator().manual_seed(0))


def test_a_curved_class_is_read_by_a_curved_barrier_alone():
    found = read_layer(planted(curved=True), 0).set_index("what")
    assert found.loc["AUC, kernel", "low"] > 0.75
    assert found.loc["AUC, linear", "low"] < 0.55
    assert found.loc["log loss, kernel − linear", "high"] < 0


def test_log_loss_is_of_texts_that_neither_fit_nor_calibration_saw():
    acts = planted()
    said = reading(acts, BARRIERS["linear"], 0)
    assert said.loss.mean() < 0.35
    # labels of a coin cannot be read: log 2, not less
    g = torch_rows(60, 6)
    coin = ode.LayerActivations(g[:120], g[120:], tuple(range(120)), tuple(range(120, 240)))
    blind = reading(coin, BARRIERS["kernel"], 0)
    assert blind.loss.mean() > np.log(2) - 0.02


def test_the_layer_score_is_largest_where_classes_part():
    assert layer_navigator(planted()) > layer_navigator(planted(curved=True)) + 0.2


QUESTIONS = Path("results/evidence/smollm2/questions/texts")
#: files and judge, which a run has beside its options
GIVEN = ("contrast", "prompts", "outcome")


def test_every_planned_run_is_a_command_that_is_understood():
    planned = list(runs("processes:2"))
    assert len({run.out for run in planned}) == len(planned)
    layers = next(run for run in planned if run.study == "layers")
    config = tyro.cli(LayersConfig, args=layers.command({})[3:])
    assert config.layers == plan.MODELS[0].layers
    detection = next(run for run in planned if run.study == "detection")
    asked = tyro.cli(DetectionConfig, args=detection.command({"axbench": Path("axbench")})[3:])
    assert (asked.data, asked.layers) == ((Path("axbench"),), (plan.MODELS[0].detection,))
    assert config.kl == plan.KL
    assert config.angle == ()
    assert (config.effect.select, config.effect.test) == (50, 100)
    steering = [run for run in planned if run.study == "steering"]
    assert len(steering) == 40
    config = tyro.cli(LayersConfig, args=steering[0].command({})[3:])
    assert (config.layers, config.kl, config.effect.passage) == (plan.MODELS[0].texts, plan.KL[1:2], "text")
    assert {"text", "cost"} <= {*config.effect.measures}
    assert {name for pair in contrasts.PAIRS for name in pair} == {*config.arms, "random, geodesic"}
    assert config.effect.outcome == f"results/concepts/{steering[0].concept}/words.json"
    assert config.effect.select + config.effect.test == 72
    # the options of runs that are finished are those that they were run with
    texts = next(run for run in planned if run.study == "texts")
    assert texts.options[-4:] == ("--cross-fit", "--measures", "--max-new-tokens", "20")
    # the figure of texts against KL is drawn of this one, and so it is the command that its page gives
    config = tyro.cli(LayersConfig, args=next(run for run in planned if run.out == QUESTIONS).options)
    assert (config.layers, config.kl, config.arms) == (plan.MODELS[0].layers, plan.KL, plan.ARMS)
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "study-costs.md").read_text()
    (told,) = re.findall(r"analyses\.layer_effectiveness (--model smollm2.*?)\n```", page, flags=re.DOTALL)
    told = tyro.cli(LayersConfig, args=shlex.split(told.replace("\\\n", " ")))
    mine = replace(config.effect, model="smollm2", **{name: getattr(told.effect, name) for name in GIVEN})
    assert (told.layers, told.kl, told.arms, told.angle) == (config.layers, config.kl, config.arms, config.angle)
    assert told.effect == mine
    assert layers.options[-3:] == ("--cross-fit", "--measures", "geometry")
    answered = {run.study: run for run in planned if run.model == "smollm2"}
    for study, (concept, n, passage) in {
        "answers": ("truthfulness", 250, "text"),
        "letters": ("sycophancy", 50, "prompt"),
    }.items():
        config = tyro.cli(LayersConfig, args=answered[study].command({})[3:])
        assert config.effect.outcome == f"results/concepts/{concept}/words.json"
        assert config.effect.select + config.effect.test == n
        assert (config.layers, config.effect.passage) == (plan.MODELS[0].texts, passage)
    # a chat template is what an instruct model has
    assert {run.model for run in planned if run.concept == "sycophancy"} == {"smollm2"}


def test_files_of_others_are_read_from_the_paths_that_are_named():
    paths = {"truthfulqa": Path("mc.json"), "caa": Path("caa"), "hatecheck": Path("h.csv"), "corpus": Path("c.csv"),
             "axbench": Path("ax"), "axbench_other": Path("other")}  # fmt: skip
    commands = {run.concept: shlex.join(concept_command(run, paths)[3:]) for run in runs()}
    assert commands["truthfulness"] == "truthfulness --data mc.json --pairs 320"
    assert commands["hate"] == "hate --data h.csv --pairs 320"
    assert commands["sycophancy"] == (
        "sycophancy --fit caa/generate/sycophancy/generate_dataset.json --test caa/test/sycophancy/test_dataset_ab.json"
        " --model smollm2 --pairs 320"
    )
    assert commands["axbench-concept10_2b_l20-3"] == "axbench --folder ax --concept 3"
    assert commands["axbench-concept10_2b_l10-3"] == "axbench --folder other --concept 3"
    assert commands["sentiment-corpus"] == "sentiment --pairs 160 --corpus c.csv"
    assert commands["sentiment-own"] == "sentiment-own"


def test_what_is_not_named_is_left_out_and_said(capsys, monkeypatch, tmp_path):
    every = EvidenceConfig()
    assert left_out(every)["caa"] == ["sycophancy"]
    assert set(left_out(every)) == {"axbench", "axbench_other", "corpus", "truthfulqa", "caa", "hatecheck"}
    given = replace(every, caa=tmp_path)
    assert "caa" not in left_out(given)
    assert {run.concept for run in chosen(given)} == {run.concept for run in chosen(every)} | {"sycophancy"}
    # each concept once, for two models and several studies
    assert left_out(every)["truthfulqa"] == ["truthfulness"]
    assert main(EvidenceConfig(only=("smollm2/hate", "smollm2/sentiment/readers"), list=True)) == 0
    told = capsys.readouterr()
    assert "only with --hatecheck PATH: hate" in told.err
    assert told.out.count("smollm2 hate") == 2
    with pytest.raises(ValueError, match=r"give --caa PATH$"):
        chosen(EvidenceConfig(only=("smollm2/sycophancy",)))
    with pytest.raises(ValueError, match=r"caa='nowhere' is not there"):
        chosen(EvidenceConfig(caa=Path("nowhere")))


def finished(results: Path, model: str, concept: str, study: str, **tables: pd.DataFrame) -> None:
    """A run that is done, with what it found."""
    folder = results / model / concept / study
    folder.mkdir(parents=True)
    (folder / "run.json").touch()
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")


def answered(results: Path, concept: str, study: str, cells: pd.DataFrame) -> None:
    finished(results, "smollm2", concept, study, table=cells.drop(columns=["model", "concept"]))


def test_a_model_of_one_letter_is_told_from_one_that_agrees(tmp_path, monkeypatch):
    """Unsteered answers (A) to everything, the flow agrees with everybody, caa with nobody."""
    monkeypatch.setattr("analyses.evidence.steering_tables.CONCEPTS", tmp_path)
    n = 2 * PROMPTS
    agreeing = ["AAB"[i % 3] for i in range(n)]
    (tmp_path / "sycophancy").mkdir()
    prompts = [f"question {i}" for i in range(n)]
    (tmp_path / "sycophancy" / "prompts.json").write_text(json.dumps(prompts))
    words = [{"prompt": prompt, "positive": [x], "negative": ["BA"[x == "B"]]}
             for prompt, x in zip(prompts, agreeing, strict=True)]  # fmt: skip
    (tmp_path / "sycophancy" / "words.json").write_text(json.dumps(words))
    study = rows({"odesteer_kernel": 0.0, "caa": 0.0})
    says_a = np.array(agreeing)[study["prompt"]] == "A"
    study["success"] = np.select(
        [study["label"] == "unsteered", study["label"] == "odesteer_kernel"], [says_a, True], False
    )
    answered(tmp_path, "sycophancy", "letters", study)
    found = steering_tables.letters(tmp_path).query("level in [0, 0.1] and layer in [-1, 2]").set_index("label")
    a = np.mean([x == "A" for x in agreeing[PROMPTS:]])
    assert found["share_a"].to_dict() == pytest.approx({"unsteered": 1.0, "odesteer_kernel": a, "caa": 1 - a})
    assert found["success"].to_dict() == pytest.approx({"unsteered": a, "odesteer_kernel": 1.0, "caa": 0.0})
    assert found["agreeing_a"].tolist() == pytest.approx([a] * 3)
    assert (found["share_a_low"] <= found["share_a"]).all()
    assert found.loc["unsteered", "share_a_low"] < 1


def test_success_on_questions_is_equivalent_only_of_enough_of_them(tmp_path):
    """No question parts the two ways: of 40 that shows nothing within ±.05, of 200 it does."""
    study = rows({"odesteer_kernel": 0.0, "odesteer_kernel, one step": 0.0})
    study["success"], study["mc2"] = study["prompt"] % 2 == 0, 0.25 + 0.5 * (study["prompt"] % 2)
    many = pd.concat([study.assign(prompt=study["prompt"] + 1000 * k) for k in range(5)])
    answered(tmp_path, "sycophancy", "letters", study)
    answered(tmp_path, "truthfulness", "answers", many)
    found = steering_tables.declared_answers(tmp_path).set_index(["concept", "layer", "level"])
    assert (found["difference"] == 0).all()
    few, enough = (found.loc[(concept, 2, 0.1)] for concept in ("sycophancy", "truthfulness"))
    assert (few["n"], enough["n"]) == (PROMPTS, 5 * PROMPTS)
    assert not few["equivalent"]
    assert enough["equivalent"]
    # neither is pooled with nats of words or of texts
    assert not len(steering_tables.declared(tmp_path)) + len(steering_tables.declared_steering(tmp_path))
    shown = steering_tables.answers(tmp_path).iloc[0]
    assert shown["label"] == "unsteered"
    assert shown["mc2"] == pytest.approx(0.5)
    assert 0.4 < shown["mc2_low"] < 0.5 < shown["mc2_high"] < 0.6


def test_nats_of_whole_texts_are_pooled_apart_from_those_of_words(tmp_path):
    for concept, study, by in (("sentiment", "layers", 0.0), ("axbench-concept10_2b_l20-0", "steering", 0.6)):
        cells = rows({"odesteer_kernel": 1.0 + by, "odesteer_kernel, one step": 1.0})
        cells = cells.assign(log_likelihood=-2.0, repetition=0.1, empty=False, kl_neutral=0.2, cosine_seeds=0.9)
        answered(tmp_path, concept, study, cells)
    both = (steering_tables.declared, steering_tables.declared_steering)
    words, texts = (make(tmp_path).query("level == 0.1").iloc[0] for make in both)
    assert words.concepts == texts.concepts == 1
    assert words.difference == pytest.approx(0.0, abs=0.05)
    assert texts.difference == pytest.approx(0.6 * 4 / 3, abs=0.05)
    # above the margin of words, and within that of texts
    assert texts.low > plan.NATS
    assert texts.equivalent
    shown = steering_tables.steering(tmp_path)
    assert set(shown["concept"]) == {"axbench-concept10_2b_l20-0"}
    assert shown.set_index("label").loc[
        "odesteer_kernel", ["log_likelihood", "kl_neutral"]
    ].drop_duplicates().to_numpy().tolist() == [[-2.0, 0.2]]
    assert set(steering_tables.cells(tmp_path)["concept"]) == {"sentiment"}
    assert steering_tables.cells_steering(tmp_path).query("layer == 2 and level == 0.1")["equivalent"].item()


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="names no run"):
        chosen(EvidenceConfig(only=("smollm2/nothing",)))
    asked = EvidenceConfig(studies=("steering",))
    assert len(chosen(replace(asked, axbench=tmp_path))) == 20
    assert len(chosen(replace(asked, list=True))) == 40
    with pytest.raises(ValueError, match="give --axbench PATH"):
        chosen(asked)
    with pytest.raises(ValueError, match=r"studies=\['layer'\] are none"):
        chosen(EvidenceConfig(studies=("layer",)))
    with pytest.raises(ValueError, match="holds no finished run"):
        write(TablesConfig(tmp_path, tmp_path / "tables"))


def test_texts_are_shown_of_the_first_prompts_that_are_reported_on(tmp_path, monkeypatch):
    monkeypatch.setattr("analyses.evidence.steering_tables.CONCEPTS", tmp_path / "concepts")
    (tmp_path / "concepts" / "questions").mkdir(parents=True)
    begins = [f"# {i}, and" for i in range(30)]
    (tmp_path / "concepts" / "questions" / "prompts.json").write_text(json.dumps(begins))
    cells = pd.concat([
        pd.DataFrame({"layer": 3, "label": label, "level": level, "prompt": range(30), "score": 0.0, "success": True,
                      "split": ["select"] * 5 + ["test"] * 25, "text": [f"{x}\n on,\n\n{label}" for x in begins]})
        for label, level in (("odesteer_kernel", 0.1), ("odesteer_kernel", 0.3), ("unsteered", 0.0))
    ])  # fmt: skip
    finished(tmp_path, "smollm2", "questions", "texts", table=cells)
    shown = written(tmp_path)
    assert shown["begins"].tolist() == begins[5:15] * 2
    assert set(shown["goes_on"]) == {"on, odesteer_kernel", "on, unsteered"}
    assert shown.groupby("label")["level"].first().to_dict() == {"odesteer_kernel": 0.1, "unsteered": 0.0}


def test_how_far_a_path_climbs_ends_where_any_falls(tmp_path):
    """Of two models of 40 and 150 prompts; at 1 rad one's path falls at one layer, and again not at 2 rad."""
    for model, n, falls in (("smollm2", 40, {1.0: 0.1}), ("gemma-3-270m", 150, {})):
        layers = range(2)
        findings = [{"what": what, "value": 0.9, "low": 0.8, "high": 1.0, "n": n, "layer": layer}
                    for what in FINDINGS for layer in layers]  # fmt: skip
        strengths = [{"integrator": "euler", "layer": layer, "angle": angle, "n": n,
                      "violating": falls.get(angle, 0.0) if layer else 0.0}
                     for layer in layers for angle in (0.5, 1.0, 2.0)]  # fmt: skip
        finished(tmp_path, model, "sentiment", "certification", findings=pd.DataFrame(findings),
                 strengths=pd.DataFrame(strengths))  # fmt: skip
    found = certified(tmp_path).set_index("model")
    assert found.loc["smollm2", ["climbs", "falls", "n"]].tolist() == [0.5, 1.0, 40]
    assert found.loc["gemma-3-270m", ["climbs", "n"]].tolist() == [2.0, 150]
    assert np.isnan(found.loc["gemma-3-270m", "falls"])


def test_a_run_of_other_options_than_are_planned_is_not_taken_for_done(tmp_path, monkeypatch):
    monkeypatch.setattr("analyses.evidence.run.RESULTS", tmp_path)
    run = next(run for run in runs() if run.study == "certification")
    assert run.state == "left"
    (run.out / "report").mkdir(parents=True)
    (run.out / "report" / "run.json").touch()
    assert run.state == "other options"
    run.keep_options()
    assert run.state == "done"
    assert replace(run, executor="processes:2").state == "done"
    assert replace(run, options=("--table-angle", "0.1")).state == "other options"
    former = [word.replace("--table-angle", "--strengths") for word in run.options]
    assert former != list(run.options)
    (run.out / "options.json").write_text(json.dumps(former))
    assert run.state == "done", "a run that was kept under a former name of an option is the same run"


def test_a_likelihood_that_was_run_by_hand_is_known_by_its_settings(tmp_path, monkeypatch):
    monkeypatch.setattr("analyses.evidence.run.RESULTS", tmp_path)
    plain, run = (
        next(run for run in runs() if (run.model, run.concept, run.study) == ("gemma-3-270m", concept, "likelihood"))
        for concept in ("sentiment", "language")
    )
    assert run.options == (*plain.options, "--texts", "unsteered")
    asked = tyro.cli(LikelihoodConfig, args=run.options)
    for layer in asked.layer:
        assert run.state == ("left" if layer == asked.layer[0] else "other options")  # some layers are not all
        folder = run.out / f"layer-{layer}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"layer": layer, "settings": asdict(asked.settings)}))
    assert run.state == "done"
    assert replace(run, options=plain.options).state == "other options"


def test_the_least_change_of_the_branching_factor_picks_its_layer():
    study = rows(SHIFTS)
    rise = study["layer"].map({-1: 1.0, 2: 0.5, 5: 3.0, 8: 1.1})
    study["branching"] = (2 + study["prompt"] % 3) * rise
    found = predictors(study, pd.DataFrame(), "odesteer_kernel", 0.1).set_index("picked by")
    assert found.loc["NBF", "layer"] == 8
    # where it is not known it is not picked by, and where it is known nowhere nothing is
    study.loc[study["layer"] == 8, "branching"] = np.nan
    found = predictors(study, pd.DataFrame(), "odesteer_kernel", 0.1).set_index("picked by")
    assert found.loc["NBF", "layer"] == 2
    study.loc[study["layer"] != -1, "branching"] = np.nan
    assert "NBF" not in predictors(study, pd.DataFrame(), "odesteer_kernel", 0.1)["picked by"].tolist()


def test_a_layer_for_every_prompt_gains_where_its_state_tells_which():
    """Two kinds of prompt, each steered best at a layer of its own; the state tells the kinds apart, or nothing."""
    g = np.random.default_rng(0)
    kind = g.random(2 * PROMPTS) < 0.5
    cells = [
        pd.DataFrame({"label": "odesteer_kernel", "layer": layer, "level": 0.1, "prompt": range(2 * PROMPTS),
                      "budget": "kl", "split": ["select"] * PROMPTS + ["test"] * PROMPTS,
                      "score": 1.0 * (kind == of) + 0.1 * g.normal(size=2 * PROMPTS)})
        for layer, of in ((2, True), (5, False))
    ]  # fmt: skip
    study, tells = pd.concat(cells), g.normal(size=(2 * PROMPTS, 5))
    blind = layer_per_prompt(study, pd.DataFrame(tells.copy()), "odesteer_kernel", 0.1).set_index("picked by")
    tells[:, 0] += 6 * kind
    found = layer_per_prompt(study, pd.DataFrame(tells), "odesteer_kernel", 0.1).set_index("picked by")
    assert found.loc["state of the prompt", "low"] > 0.25
    assert blind.loc["state of the prompt", "gain"] < 0.1
    assert found.loc["best of each prompt", "gain"] >= found.loc["state of the prompt", "gain"]


WORDS = Completions.alike("words", ("joy", "sweet rain"), ("grief", "bitter rain"))


def test_the_logit_lens_reads_the_outcomes_words_and_no_others(organism):
    token = organism.tokenizer.convert_tokens_to_ids
    positive, negative = label_tokens(organism, WORDS)
    assert set(positive) == {token("joy"), token("sweet")}
    assert set(negative) == {token("grief"), token("bitter")}
    with pytest.raises(ValueError, match="do not tell its two sides apart"):
        label_tokens(organism, Completions.alike("same", ("joy",), ("joy",)))


@torch.no_grad()
def test_the_lens_of_the_last_layer_is_the_models_own_reading(organism):
    contrast = ode.organism.contrast("valence", 12, 0)
    study = accessibility_study(organism, contrast, WORDS)
    lens = Lens.of(organism, contrast, WORDS)
    found = pd.concat([accessible(lens, config).assign(**config) for config in study.cells])
    positive, negative = label_tokens(organism, WORDS)
    odds = []
    for text in (*contrast.positive, *contrast.negative):
        logits = organism(organism.to_tokens(text))[0, -1].float()
        odds.append(float(logits[positive].logsumexp(0) - logits[negative].logsumexp(0)))
    assert found["layer"].tolist() == list(range(organism.cfg.n_layers))
    assert found["value"].iloc[-1] == pytest.approx(roc_auc_score([1] * 12 + [0] * 12, odds))


@pytest.mark.parametrize(("name", "layer_of"), [("readers", "reading.read_layer"), ("lenses", "lensing._odds")])
def test_layers_that_are_read_are_not_read_again_and_what_is_left_is_announced(
    name, layer_of, organism, tmp_path, monkeypatch, capsys
):
    words = {"positive": WORDS.positive[0], "negative": WORDS.negative[0]}
    files = write_concept(tmp_path / "own", 20, ["the old cat", "the doctor praised the young"], words)
    out = tmp_path / name
    if name == "readers":
        config = readers.ReadersConfig("organism", str(files / "pairs.jsonl"), out)
        run = readers.main
        monkeypatch.setattr("analyses.evidence.reading.BARRIERS", {"linear": ode.KernelBarrier})
        monkeypatch.setattr("analyses.evidence.reading.PAIRS", ())
    else:
        config = lenses.LensesConfig("organism", str(files / "pairs.jsonl"), files / "words.json",
                                     str(files / "prompts.json"), out)  # fmt: skip
        run = lenses.main
    monkeypatch.setattr(ode, "load_model", lambda name: organism)
    real, calls, n = resolve_name(f"analyses.evidence.{layer_of}"), [], int(organism.cfg.n_layers)

    def fails_at_first(*given):
        calls.append(given)
        if len(calls) == 2:  # of lenses the first is the estimate's
            raise RuntimeError("stopped")
        return real(*given)

    monkeypatch.setattr(f"analyses.evidence.{layer_of}", fails_at_first)
    assert run(config) == 1
    told = capsys.readouterr().err
    assert re.search(rf"^{name}: {n} layers, .* here", told, flags=re.MULTILINE)
    assert not out.exists()
    calls[:] = [None, None]
    assert run(config) == 0
    a_layer, estimated = (1, 0) if name == "readers" else (2, 1)
    assert len(calls) - 2 == a_layer + estimated
    assert f"{name}: 1 layers of {n} (the others are done), " in capsys.readouterr().err
    table = pd.read_parquet(out / f"{name}.parquet")
    assert sorted(set(table["layer"])) == list(range(n))
    calls[:] = [None, None]
    assert run(config) == 0  # and nothing is left
    assert len(calls) == 2
    assert run(replace(config, contrast=str(files / "none.jsonl"))) == 2


def test_the_state_of_a_prompt_is_that_of_its_last_token(organism):
    prompts = ["the old cat", "the doctor praised the young"]
    states = prompt_states(organism, prompts, 2)
    for prompt, state in zip(prompts, states.to_numpy(), strict=True):
        _, cache = organism.run_with_cache(prompt)
        np.testing.assert_allclose(state, cache["blocks.2.hook_resid_post"][0, -1].numpy(), atol=1e-4)


def profiles(apart: dict[tuple[str, str], float], noise: float = 0.0) -> pd.DataFrame:
    """Of three layers and one level what `contrasts.profile` says: by how much the flow changes more than one step."""
    cells = [
        {"model": model, "concept": concept, "layer": layer, "level": 0.1, "label": label,
         "change": layer + (label == "odesteer_kernel") * (by + noise * (layer - 5))}
        for (model, concept), by in apart.items() for layer in LAYERS
        for label in ("odesteer_kernel", "odesteer_kernel, one step")
    ]  # fmt: skip
    plain = {"model": "a", "concept": "x", "layer": -1, "level": 0.0, "label": "unsteered", "change": 0.0}
    return pd.DataFrame([plain, *cells])


def test_a_concept_of_two_models_counts_once_and_few_have_students_interval():
    apart = {("a", "x"): 0.1, ("b", "x"): 0.3, ("a", "y"): 0.0, ("b", "z"): 0.1}
    found = contrasts.over_concepts(profiles(apart, noise=0.01)).set_index("unit")
    four, of = found.loc["concept"], [0.2, 0.0, 0.1]
    assert (four.n, found.loc["model and concept"].n) == (3, 4)
    assert four.difference == pytest.approx(0.1)
    assert four.high - 0.1 == pytest.approx(4.3027 * np.std(of, ddof=1) / np.sqrt(3), rel=1e-4)
    assert four.high_90 - 0.1 == pytest.approx(2.9200 * np.std(of, ddof=1) / np.sqrt(3), rel=1e-4)
    assert not four.equivalent  # .1 ± .17
    assert contrasts.over_concepts(profiles(apart), margin=0.3)["equivalent"].all()
    one = contrasts.over_concepts(profiles({("a", "x"): 0.1}))
    assert not one["equivalent"].any()  # of one concept nothing is known of others


def test_pooled_and_over_concepts_agree_on_the_difference():
    studies = [rows(SHIFTS, name, seed) for seed, name in enumerate("abc")]
    of_prompts = contrasts.pooled(studies).set_index(["level", "second"])["difference"]
    kept_ones = contrasts.over_concepts(pd.concat([contrasts.profile(study) for study in studies]))
    of_cells = kept_ones.query("unit == 'concept'").set_index(["level", "second"])["difference"]
    pd.testing.assert_series_equal(of_prompts, of_cells)


def test_totals_count_cells_and_average_concepts():
    table = pd.DataFrame(
        [("smollm2", "sentiment", 30, 20, 1, -0.2), ("gemma-3-270m", "sentiment", 18, 18, 0, -0.4),
         ("smollm2", "capitals", 30, 0, 0, 0.0), ("smollm2", "hate", 30, 30, 0, -0.3)],
        columns=["model", "concept", "layers", "better", "worse", "median"],
    ).assign(first="kernel", second="published", neither=lambda x: x["layers"] - x["better"] - x["worse"])  # fmt: skip
    own, every = over_cells.totals(table).itertuples(index=False)
    assert (own.cells, own.better, own.worse, own.neither, own.concepts) == (78, 38, 1, 39, 2)
    assert own.difference == pytest.approx(-0.15)
    assert (every.cells, every.better, every.concepts) == (108, 68, 3)
    assert every.difference == pytest.approx(-0.2)
    assert own.low < own.difference < own.high


def test_a_lower_log_loss_that_goes_with_more_score_is_a_rank_correlation_of_1():
    cells = [(m, c, layer) for m, c in (("a", "x"), ("b", "x"), ("a", "y")) for layer in range(10)]
    at = pd.DataFrame(cells, columns=["model", "concept", "layer"])
    read = at.assign(what=over_cells.LOSS, value=-0.01 * at["layer"])  # the later, the better the kernel reads
    sign = np.where(at["concept"] == "x", 1, -1)
    flow = at.assign(label="odesteer_kernel", level=0.1, change=1.0 + sign * at["layer"])
    published = at.assign(label="odesteer", level=0.1, change=1.0)
    found = over_cells.ranks(read, pd.concat([flow, published, flow.assign(level=0.3, change=0.0)]))
    assert found["rho"][:3].tolist() == pytest.approx([1, 1, -1])
    mean, every = found.iloc[-2], found.iloc[-1]
    assert (mean.rho, mean.n) == (pytest.approx(0), 2)  # concepts, not models
    assert mean.low < -1 < 1 < mean.high  # two units say nothing
    assert every.low <= every.rho <= every.high


def test_steering_on_axbench_is_summed_over_concepts():
    first, later = plan.FIRST[0], plan.LATER[:2]
    rows = [
        (model, concept, layer, label, level, gain * k, gain * k - 0.5, gain * k + 0.5, -2 - 0.1 * gain, 0.3 * gain)
        for model in ("smollm2", "gemma-3-270m")
        for k, concept in enumerate((first, *later))
        for layer, label, level, gain in (
            (-1, "unsteered", 0, 0), (9, "caa", 0.1, 1), (9, "odesteer_kernel", 0.1, 2), (12, "caa", 0.1, 1)
        )
    ]  # fmt: skip
    names = ["model", "concept", "layer", "label", "level", "change", "low", "high", "log_likelihood", "kl_neutral"]
    table = pd.DataFrame(rows, columns=names).assign(angle=0.1, cosine_seeds=1.0)
    means = over_cells.steered_means(table).set_index(["model", "layer", "label"])
    own = means.loc["smollm2", 9, "odesteer_kernel"]
    assert (own.n, own.change, own.fluency) == (3, pytest.approx(2.0), pytest.approx(-0.2))
    assert own.change_high - 2 == pytest.approx(4.3027 * 2 / np.sqrt(3), rel=1e-4)  # of 0, 2 and 4
    assert own[["kl_neutral", "angle", "cosine_seeds"]].tolist() == pytest.approx([0.6, 0.1, 1])
    assert means.loc["gemma-3-270m", -1, "unsteered"][["change", "fluency_low"]].tolist() == [0, 0]
    found = over_cells.steered_concepts(table).query("second == 'caa' and unit == 'concept'")
    effect = found.query("measure == 'effect'").set_index("of")
    assert effect["difference"].to_dict() == pytest.approx({"all": 1, "added later": 1.5, "smollm2": 1,
                                                           "gemma-3-270m": 1})  # fmt: skip
    assert effect["n"].to_dict() == {"all": 3, "added later": 2, "smollm2": 3, "gemma-3-270m": 3}
    assert found.query("measure == 'fluency'")["difference"].tolist() == pytest.approx([-0.1] * 4)
    cells = pd.DataFrame(
        [("smollm2", "odesteer_kernel", "caa", *ends) for ends in ((0.1, 1, False), (-1, -0.1, True), (-1, 1, True))],
        columns=["model", "first", "second", "low", "high", "equivalent"],
    )
    counts = over_cells.steered_counts(table, cells).set_index(["model", "first", "second"])
    assert counts.loc["smollm2", "odesteer_kernel", "caa"].to_dict() == {
        "cells": 3, "above": 1, "below": 1, "equivalent": 2, "neither": 1
    }  # fmt: skip
    assert counts.loc["gemma-3-270m", "caa", "unsteered"][["cells", "above", "neither"]].tolist() == [6, 4, 2]


@pytest.mark.parametrize("name", over_cells.TABLES)
def test_what_is_kept_of_kept_tables_is_what_they_say(name):
    assert (FOLDER / f"{name}.csv").read_text(encoding="utf-8") == over_cells.text(name)


def test_fluency_has_an_interval_of_the_texts_that_have_one():
    study = rows(SHIFTS).assign(log_likelihood=lambda x: -2 + 0.1 * x["score"]).reset_index(drop=True)
    study.loc[(study["label"] == "odesteer_kernel") & (study["prompt"] == 50), "log_likelihood"] = np.nan
    found = steering_tables._with(study, "log_likelihood").set_index(["label", "layer", "level"])
    test = study.query("split == 'test' and label == 'odesteer_kernel' and layer == 5 and level == 0.1")[
        "log_likelihood"
    ].dropna()
    own, cell = stats.mean(test), found.loc[("odesteer_kernel", 5, 0.1)]
    assert len(test) == PROMPTS - 1
    assert (cell.log_likelihood, cell.log_likelihood_low, cell.log_likelihood_high) == (own.value, own.low, own.high)


def likelihood_run(results: Path) -> None:
    """A layer's folder: log p₊ of a prompt's last token rises by 10 when it is turned, of written ones by 4."""
    out = results / "smollm2" / "sentiment" / "likelihood" / "layer-12"
    out.mkdir(parents=True)
    tokens = pd.DataFrame([
        {"method": method, "strength": strength, "group": prompt // 2, "prompt": prompt, "token": token, "state": state,
         "log_positive": prompt + (strength > 0) * state * (10 if token < 0 else 4) * (1 + strength - 0.4)
         + 0.01 * prompt * state * (strength > 0), "outside": token >= 0}
        for method, strength in (("unsteered", 0.0), ("caa", 0.4), ("caa", 0.8))
        for prompt in range(20) for token in (-1, 0, 1) for state in (0, 1)
    ])  # fmt: skip
    tokens.to_parquet(out / "tokens.parquet")
    fit = {f"fit_{side}": {"bits_per_dimension": bits, "n": 7} for side, bits in (("positive", 2.0), ("negative", 3.0))}
    ambient = {"positive": "ShrunkGaussian()", "negative": "FactorAnalysis(rank=16)", **fit}
    (out / "run.json").write_text(json.dumps({"densities": {"ambient": ambient}}))


def test_what_a_rotation_does_to_the_prompts_last_token_and_to_those_behind_it(tmp_path):
    likelihood_run(tmp_path)
    found = along(tmp_path).set_index(["method", "written"])
    assert found.loc[("caa", False), "change"] == pytest.approx(10.095)
    assert found.loc[("caa", True), "change"] == pytest.approx(4.095)
    assert found.loc[("caa", True), "change_low"] < 4.095 < found.loc[("caa", True), "change_high"]
    assert np.isnan(found.loc[("unsteered", True), "change"])  # nothing is turned
    assert found["outside"].tolist() == [0, 1, 0, 1]
    assert set(found["n"]) == {10}


def test_the_chosen_families_are_read_from_the_runs(tmp_path):
    likelihood_run(tmp_path)
    assert families(tmp_path).iloc[0].to_dict() == {
        "model": "smollm2", "concept": "sentiment", "layer": 12, "positive": "ShrunkGaussian()", "positive_bits": 2.0,
        "negative": "FactorAnalysis(rank=16)", "negative_bits": 3.0, "n": 7,
    }  # fmt: skip


def test_what_the_pages_say_of_kept_tables_holds():
    told = kept("evidence-along")
    behind = told.query("written")
    assert behind["outside_before"].min() > 0.965  # ".97 to 1"
    assert told.query("not written and method == 'real positives'")["outside"].max() == 0.125
    change = told.dropna(subset="change").pivot(
        index=["model", "concept", "layer", "method"], columns="written", values="change"
    )
    # those of `on_manifold`, which stops short of it, are not spoken of
    signs = np.sign(change.drop("on_manifold", level="method"))
    same = (signs[False] == signs[True]).groupby("model").agg(["sum", "count"])
    assert same.to_numpy().tolist() == [[85, 90], [67, 90]]
    likely = kept("evidence-likelihood").query("method != 'on_manifold'")
    most, least = (likely.loc[likely.groupby(["model", "concept", "layer"])["log_positive_change"].agg(pick), "method"]
                   for pick in ("idxmax", "idxmin"))  # fmt: skip
    assert set(least) == {"random, geodesic"}
    assert most.value_counts().to_dict() == {"caa, geodesic": 26, "optimal_cap": 4}
    letters = kept("evidence-letters").query("reached > 0.5 and label != 'unsteered'")
    says = letters["share_a"].eq(1).groupby(letters["label"] == "random, geodesic").agg(["sum", "count"])
    assert says.to_numpy().tolist() == [[14, 15], [1, 3]]
    assert kept("evidence-angles")["steps_undecided"].eq(0).all()
    layers = kept("evidence-layers").query("level == 0.1")
    kernel = layers.query("label == 'odesteer_kernel'").set_index("layer").groupby(["model", "concept"])["change"]
    at: dict[str, list[int]] = {  # the first are what the page names
        "sentiment": [23, 12], "capitals": [23], "questions": [12, 9], "language": [12],
    }  # fmt: skip
    assert all(moves.idxmax() in at[concept] for (_, concept), moves in kernel)
    wide = layers.pivot(index=["model", "concept", "layer"], columns="label", values="change")
    apart = (wide["odesteer_kernel"] - wide["random, geodesic"]).groupby(["model", "concept"]).mean()
    assert (round(apart.min(), 2), round(apart.max(), 2)) == (0.61, 5.32)
    verdicts = kept("evidence-concepts").query("second == 'odesteer_kernel, one step'")
    assert verdicts["equivalent"].all()
    ours = kept("evidence-concepts").query("second == 'caa' or second == 'odesteer'")
    shown = ours[(ours["low"] > 0) | (ours["high"] < 0)]
    assert shown[["level", "second", "unit"]].to_numpy().tolist() == [[0.3, "odesteer", "concept"]]
    texts = kept("evidence-foretold").query("of == 'score' and scope == 'within, all methods' and model == 'smollm2'")
    leaves = texts[(texts["auc_low"] > 0.5) | (texts["auc_high"] < 0.5)]
    assert sorted(leaves.query("predictor == 'log_positive'")["layer"]) == [26]
    assert len(leaves.query("predictor == 'h_calibrated'")) == 5


def test_what_the_page_of_axbench_says_holds():
    means = kept("evidence-steering-means").set_index(["model", "label"])
    kernel, other = (means.xs(name, level="label")["change"] for name in ("odesteer_kernel", "caa"))
    assert (round(kernel.min()), round(kernel.max())) == (7, 9)
    angles = means.loc["gemma-3-270m"].groupby("label")["angle"].agg(["min", "max"]).round(2)
    assert angles.loc["random, geodesic"].tolist() == [0.02, 0.02]
    assert angles.loc["caa"].tolist() == [0.05, 0.11]
    assert angles.loc["odesteer"].tolist() == [0.03, 0.06]
    small = means.loc["smollm2"].set_index("layer", append=True)["angle"].unstack("label").dropna()
    assert (small["random, geodesic"] > small["caa"]).all()
    seeds = means.xs("odesteer", level="label")["cosine_seeds"]
    assert (round(seeds.min(), 2), round(seeds.max(), 2)) == (0.89, 0.92)
    assert (means["n"] == 20).all()
    cells = (
        kept("evidence-steering-counts").groupby(["first", "second"])[["cells", "above", "below", "equivalent"]].sum()
    )
    one_step = cells.loc["odesteer_kernel", "odesteer_kernel, one step"]
    assert one_step["equivalent"] == one_step["cells"] == 120
    verdicts = kept("evidence-steering-concepts").query("unit == 'concept' and measure == 'effect'")
    equal = verdicts.set_index(["second", "of"])["equivalent"].astype(str) == "True"
    assert equal["odesteer_kernel, one step"].all()
    assert equal["caa"].all()
    assert equal["odesteer"].to_dict() == {"all": False, "added later": False, "smollm2": True, "gemma-3-270m": False}
    fluency = kept("evidence-steering-concepts").query("measure == 'fluency' and second in ['caa', 'odesteer']")
    assert (fluency["high"] < 0).all()
    assert other.min() > 6
    at = kept("evidence-steering").query("label == 'odesteer_kernel'").set_index(["model", "layer"])
    shown = pd.concat([at.loc[("smollm2", 20)], at.loc[("gemma-3-270m", 12)]])
    formal = shown["concept"].str.removeprefix("axbench-concept10_2b_").isin(
        ["l20-2", "l20-5", "l10-4", "l10-5", "l10-6", "l10-7", "l10-9"])  # fmt: skip
    ranges = shown.groupby(formal.to_numpy())["change"].agg(["min", "max"]).round()
    assert ranges.to_numpy().tolist() == [[3, 15], [-1, 7]]
    # what the page of steps says of the same, toward concepts written here
    layers = kept("evidence-layers").query("level == 0.1")
    wide = layers.pivot(index=["model", "concept", "layer"], columns="label", values="angle")
    of_caa = wide.div(wide["caa"], axis=0).groupby("model").median().round(2)
    assert of_caa.loc["gemma-3-270m", ["random, geodesic", "odesteer"]].tolist() == [0.31, 0.77]
    assert of_caa.loc["smollm2", ["random, geodesic", "odesteer"]].tolist() == [1.26, 1.01]


def test_what_the_page_of_costs_says_of_the_audit_holds():
    table = kept("audit")
    took, token = (table.query("measure == @name").set_index("method")["value"]
                   for name in ("seconds of fitting", "processor time of a token"))  # fmt: skip
    trained = table.query("measure == 'tokens read in fitting' and 1992 < value < 20000")["method"]
    assert tuple((took[trained] / 60).agg(["min", "max"]).round(1)) == (1.8, 3.1)
    others = took.drop([*trained, "iti_heads", "lf_steering", *(name for name in took.index if "in turn" in name)])
    assert 4.45 < others.min() < others.max() < 8
    dear = token[(token < 0.965) | (token > 1.065)].sort_values(ascending=False)
    assert list(dear.index[:3]) == ["flas", "odesteer_rff", "on_manifold"]
    assert len(dear) == 9
    assert dear.iloc[3] < 1.12
