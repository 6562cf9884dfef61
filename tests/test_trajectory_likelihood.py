"""The likelihood study, small, on the organism: splits, references, tables against what they are made of, figures."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import tyro
from scipy.stats import spearmanr

import odesteer_tl as ode
from analyses.likelihood import arms, tables
from analyses.likelihood.arms import ARMS, ON_MANIFOLD, PLACEBO, POSITIVES, UNSTEERED, fitted_fields
from analyses.likelihood.decoding import judged
from analyses.likelihood.jury import Jury
from analyses.likelihood.layer import studied
from analyses.likelihood.material import Material
from analyses.likelihood.plan import Plan, outcome_of
from analyses.likelihood.prediction import correlations, each, prediction
from analyses.likelihood.study import Settings
from analyses.outcomes import TextOutcome
from analyses.refusal import Refusal
from analyses.sources import load_contrast
from analyses.text_quality import distinct, text_quality
from analyses.trajectory_likelihood import LikelihoodConfig, main, study_of
from odesteer_tl.densities import PathScore
from odesteer_tl.densities.splits import Splits
from tests.studies import write_pairs

LAYER = 2
SETTINGS = Settings(
    fractions=(0.25, 0.35, 0.25, 0.15), angle=0.8, steps=8, declared=0.4, strengths=(0.4,), max_new_tokens=6
)
LABELS = {arm.label for arm in ARMS}


@pytest.fixture(scope="module")
def contrast():
    return load_contrast("valence", 200, 0)


@pytest.fixture(scope="module")
def study(organism, contrast):
    return studied(Material(organism, Plan.of(SETTINGS, contrast, judged="valence"), (LAYER,)), LAYER)


def test_splits_are_disjoint_and_recorded_with_their_sizes(study, contrast):
    splits = {name: set(labels) for name, labels in study.run["splits"].items()}
    assert list(splits) == ["barrier", "density", "calibration", "test"]
    assert sum(len(s) for s in splits.values()) == len(set().union(*splits.values())) == 200
    assert (
        study.run["prompts"]
        == {name: len(s) for name, s in splits.items()}
        == dict(zip(splits, (50, 70, 50, 30), strict=True))
    )
    assert json.loads(json.dumps(study.run))["contrast"]["digest"] == contrast.digest
    assert study.run["densities"]["tied"]["fit_positive"]["n"] == 50


def test_every_reference_is_there(study):
    assert set(study.paths["method"]) == set(study.turning["method"]) == set(study.summary["method"]) == LABELS
    assert set(study.texts["method"]) == set(study.tokens["method"]) == LABELS | {UNSTEERED, POSITIVES}
    assert set(study.references["side"]) == {"positive", "negative"}
    assert (study.references["n"] == 30).all()


def test_frames_are_tidy(study):
    assert len(study.paths) == len(LABELS) * 30 * 9
    assert not study.paths.duplicated(["method", "prompt", "step"]).any()
    assert not study.tokens.duplicated(["method", "strength", "prompt", "token", "state"]).any()
    assert not study.texts.duplicated(["method", "strength", "prompt"]).any()
    wanted = {"log_positive", "log_negative", "log_ratio", "h", "h_calibrated", "toward_positive", "rank", "typicality",
              "gain_per_radian", "gain_per_displacement", "relative_mahalanobis", "directional_log_ratio",
              "tied_log_ratio", "strength"}  # fmt: skip
    assert wanted <= set(study.paths)
    assert wanted <= set(study.tokens)
    assert {"t_star", "exit", "over_steered"} <= set(study.turning)


def test_all_paths_start_at_the_same_real_negatives(study):
    starts = study.paths[study.paths["step"] == 0].pivot(index="prompt", columns="method", values="log_positive")
    assert np.ptp(starts.to_numpy(), axis=1).max() == 0
    reference = study.references.set_index(["side", "quantity"]).loc[("negative", "log_positive"), "mean"]
    assert starts.iloc[:, 0].mean() == pytest.approx(reference)


def test_the_prompt_end_of_a_generation_is_the_path_at_that_strength(study):
    """Two ways to one number: the recorded hook, and the path solved on collected activations."""
    path = study.paths[np.isclose(study.paths["strength"], 0.4)].set_index(["method", "prompt"])
    end = study.tokens[(study.tokens["token"] == -1) & (study.tokens["state"] == 1)].set_index(["method", "prompt"])
    for label in LABELS:
        for column in ("log_positive", "h", "tied_log_ratio"):
            np.testing.assert_allclose(end.loc[label, column], path.loc[label, column], rtol=2e-3, atol=2e-2)


def test_what_is_not_steered_does_not_move(study):
    for label in (UNSTEERED, POSITIVES):
        rows = study.tokens[study.tokens["method"] == label]
        assert (rows["displacement"] == 0).all()
    moved = study.tokens[(study.tokens["state"] == 1) & (study.tokens["strength"] > 0)]
    rests = moved["method"] == ON_MANIFOLD  # where h is high already
    assert (moved.loc[~rests, "displacement"] > 0).all()
    assert (moved.loc[rests, "displacement"] > 0).any()


def test_steps_follow_each_other_at_equal_angles(organism, contrast):
    """The path at a smaller strength is a part of the path at a larger one, for flows; for one-shot arms it is not."""
    acts = ode.collect_activations(organism, contrast, [LAYER])[LAYER]
    fields, a = fitted_fields(acts, 0), acts.negative[:10]
    for arm in ARMS:
        path = arm.path(fields[arm.method], a, 0.8, 8)
        assert path.shape == (9, 10, a.shape[1])
        alone = arm.flow(0.4, 4).solve(fields[arm.method], a).end
        torch.testing.assert_close(path[4], alone, rtol=1e-4, atol=1e-2)


def test_the_summary_is_that_of_the_paths(study):
    at = study.paths[np.isclose(study.paths["strength"], 0.4)].set_index(["method", "prompt"])
    start = study.paths[study.paths["step"] == 0].set_index(["method", "prompt"])
    ends = study.turning.set_index(["method", "prompt"])["ends"]
    for row in study.summary.to_dict("records"):
        assert row["angle_reached"] == pytest.approx(at.loc[row["method"], "angle"].mean())
        going = ends[row["method"]] > 0.4 - 1e-9
        assert row["stops"] == pytest.approx(1 - going.mean())
        assert row["n_declared"] == going.sum()
        if row["method"] == ON_MANIFOLD:
            assert row["angle_reached"] < 0.4
            continue
        assert going.all()
        x = at.loc[row["method"], "log_positive"] - start.loc[row["method"], "log_positive"]
        assert row["log_positive_change"] == pytest.approx(x.mean())
        assert row["rises"] == pytest.approx((x > 0).mean())
        assert row["outside"] == pytest.approx((at.loc[row["method"], "rank"] < 0.025).mean())
        assert row["t_star_low"] <= row["t_star"] <= row["t_star_high"]
        assert row["n"] == 30
        curve = study.paths[study.paths["method"] == row["method"]].groupby("strength")["log_positive"].mean()
        assert abs(row["t_star"] - curve.idxmax()) <= 0.1
    assert (study.comparisons["holm"] >= study.comparisons["pvalue"]).all()
    assert len(study.comparisons) == 2 * len(LABELS) - 1
    assert set(study.comparisons["against"]) == {"unsteered", PLACEBO}


def test_a_path_that_stops_short_is_counted_as_far_as_it_goes():
    """Three of twelve paths stop after two of six steps, one never moves; all others go on and fall at last."""
    steps, n = 6, 12
    moving = torch.ones(steps, n)
    moving[2:, :3], moving[:, 3] = 0, 0
    along = torch.cat([torch.zeros(1, n), moving.cumsum(0)]).double()
    gain = torch.tensor([[1.0]] * 4 + [[-1.0]] * 2) * moving
    log_p = torch.cat([torch.zeros(1, n), gain.cumsum(0)]).double() + torch.linspace(0, 0.01, n).double() * along
    slope = torch.cat([gain, gain[-1:]]).double()
    flat = torch.full_like(log_p, 0.5)
    labels = tuple(range(n))
    score = PathScore(log_p, -log_p, 2 * log_p, flat, slope, 0.1 * along, along, flat, log_p, Splits(test=labels),
                      labels)  # fmt: skip
    assert tables.reach(score).tolist() == [2] * 3 + [0] + [6] * 8
    turned = tables.turning(score, 0.1)
    assert turned["ends"].tolist() == pytest.approx([0.2] * 3 + [0] + [0.6] * 8)
    # those that stop have not turned
    assert turned["t_star"].isna().tolist() == [True] * 4 + [False] * 8
    scores = {name: {"ambient": score, "directional": score} for name in (PLACEBO, "a")}
    row = tables.summary(scores, 0.1, 4).set_index("method").loc["a"]
    assert (row["n"], row["n_declared"], row["stops"]) == (12, 8, pytest.approx(4 / 12))
    assert row["angle_reached"] == pytest.approx((8 * 0.4 + 3 * 0.2) / 12)
    assert row["log_positive_change"] == pytest.approx(float((log_p[4] - log_p[0])[4:].mean()))
    assert row["t_star"] == pytest.approx(0.4, abs=0.06)
    assert (tables.comparisons(scores, PLACEBO, 4)["n"] == 8).all()
    # two are too few for an interval
    few = replace(score, displacement=along * (torch.arange(n) < 6))
    none = {name: {"ambient": few, "directional": few} for name in (PLACEBO, "a")}
    assert tables.comparisons(none, PLACEBO, 4)["pvalue"].isna().all()
    assert tables.summary(none, 0.1, 4)["n_declared"].tolist() == [2, 2]


def test_few_positives_carry_no_density_to_stay_on(organism, contrast, monkeypatch):
    """Then the other ways to steer are there, and that one is not."""
    acts = ode.collect_activations(organism, contrast, [LAYER])[LAYER]
    monkeypatch.setattr(arms, "fitted", lambda *_: (_ for _ in ()).throw(Refusal("too few")))
    fields = fitted_fields(acts, 0)
    assert ON_MANIFOLD not in fields
    assert [arm.label for arm in Jury(((fields, None, acts),)).arms] == [arm.label for arm in ARMS[:-1]]


def test_strength_moves_the_barrier_and_the_text(study):
    """The organism is known to yield: h and the judged posterior rise above the placebo's."""
    h = study.paths.groupby(["method", "step"])["h"].mean()
    assert h["odesteer_kernel", 8] > h["odesteer_kernel", 0]
    assert h["optimal_cap", 4] >= h["odesteer_kernel", 4] - 1e-6
    posterior = study.texts.groupby("method")["score"].mean()
    assert posterior[POSITIVES] > posterior[UNSTEERED]


def test_text_quality(organism):
    assert distinct("a b a b a", 2) == 0.5
    assert np.isnan(distinct("a", 2))
    found = text_quality(organism, ["mona met leo .", "mona met leo ."], [" soon the dry cabin", ""])
    tokens = organism.to_tokens("mona met leo . soon the dry cabin")
    n = organism.to_tokens("mona met leo .").shape[1]
    with torch.no_grad():
        log_p = organism(tokens).log_softmax(-1)[0, :-1].gather(-1, tokens[0, 1:, None]).squeeze(-1)
    assert found["log_likelihood"][0] == pytest.approx(float(log_p[n - 1 :].mean()), rel=1e-4)
    assert np.isnan(found["log_likelihood"][1])


def test_rank_statistics_against_their_libraries():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, (3, 40)), rng.normal(size=(3, 40))
    for i in range(3):
        assert correlations(x, y)[i] == pytest.approx(spearmanr(x[i], y[i]).statistic)


def test_prediction_finds_a_planted_relation_and_none_in_noise():
    rng = np.random.default_rng(1)
    rows = []
    for method, strength in (("unsteered", 0.0), ("a", 0.2), ("a", 0.4)):
        posterior = rng.uniform(size=150)
        columns = {f"{place}_{x}": rng.normal(size=150) for place in ("prompt_end", "tokens")
                   for x in ("log_positive", "log_ratio", "directional_log_ratio", "h_calibrated")}  # fmt: skip
        columns["tokens_h_calibrated"] = np.exp(posterior)
        rows.append(pd.DataFrame({"method": method, "strength": strength, "prompt": range(150), "group": range(150),
                                  "score": posterior, "success": posterior > 0.5,
                                  "log_likelihood": -columns["tokens_log_ratio"], **columns}))  # fmt: skip
    every = prediction(pd.concat(rows))
    fluent = every.query("of == 'log_likelihood'").set_index(["place", "predictor", "scope"])
    assert fluent.loc[("tokens", "log_ratio", "within, all methods"), "rho"] == pytest.approx(-1)
    assert fluent["auc"].isna().all()
    found = every.query("of == 'score'").set_index(["place", "predictor", "scope"])
    planted = found.loc[("tokens", "h_calibrated", "within, all methods")]
    assert (planted["rho"], planted["auc"]) == pytest.approx((1, 1))
    noise = found.loc[("tokens", "log_positive", "within, all methods")]
    assert noise["rho_low"] < 0 < noise["rho_high"]
    assert noise["auc_low"] < 0.5 < noise["auc_high"]


def test_crossings_are_where_the_mean_falls_below():
    table = [("unsteered", 0.0, 0.0), ("a", 0.2, -0.5), ("a", 0.4, -1.5), ("b", 0.2, 0.0), ("b", 0.4, 0.1)]
    noise = np.random.default_rng(0).normal(scale=0.01, size=40)
    prompts = {"prompt": range(40), "group": range(40)}
    texts = pd.concat([pd.DataFrame({"method": m, "strength": s, **prompts, "q": x + noise}) for m, s, x in table])
    found = tables.crossing(texts, "q", 1.0, relative=False).set_index("method")
    assert found.loc["a", "crossing"] == pytest.approx(0.3, abs=1e-6)
    assert found.loc["a", "crossing_low"] <= 0.3 + 1e-9
    assert found.loc["a", "crossing_high"] >= 0.3 - 1e-9
    assert np.isinf(found.loc["b", "crossing"])
    few = texts.assign(q=texts["q"].where(texts["prompt"] < 4))  # of all others the text is empty
    known = tables.crossing(few, "q", 1.0, relative=False)
    assert known[[*tables.CROSSING]].isna().all(axis=None)
    assert (known["n"] == 4).all()


def test_wordings_that_repeat_count_once_in_bands_references_and_crossings():
    """Four copies of every prompt say nothing more: every interval is that of one of each, and so is N."""
    rng = np.random.default_rng(0)
    one = pd.DataFrame({"method": "a", "step": np.tile(range(4), 12), "strength": np.tile(0.1 * np.arange(4), 12),
                        "prompt": np.repeat(range(12), 4), "group": np.repeat(range(12), 4),
                        **{name: rng.normal(size=48) for name in tables.QUANTITIES}})  # fmt: skip
    four = copied(one)
    pd.testing.assert_frame_equal(tables.curves(four), tables.curves(one))
    end = one["step"] == 3
    once, repeated = tables.references({"positive": one[end]}), tables.references({"positive": four[copied(end)]})
    means = ["mean", "mean_low", "mean_high", "n"]
    pd.testing.assert_frame_equal(repeated[means], once[means])
    assert (once["n"] == 12).all()
    uneven = pd.concat([one[end], *[one[end].iloc[:2]] * 20])  # whose quantiles are of all activations, copies too
    of_all = tables.references({"positive": uneven}).set_index("quantity")
    assert of_all.loc["rank", ["q25", "n"]].tolist() == [np.quantile(uneven["rank"], 0.25), 12]
    plain = one[~end].assign(method=np.where(one[~end]["step"] == 0, "unsteered", "a"), q=rng.normal(size=36))
    plain["q"] -= 4 * plain["strength"]
    crossings = [tables.crossing(x, "q", 0.5, relative=False) for x in (copied(plain), plain)]
    pd.testing.assert_frame_equal(*crossings)
    texts = pd.DataFrame({"method": "a", "strength": 0.2, "prompt": range(15), "group": range(15),
                          "score": rng.uniform(size=15), "log_likelihood": rng.normal(size=15)})  # fmt: skip
    texts["success"] = texts["score"] > 0.5
    for place in ("prompt_end", "tokens"):
        for name in ("log_positive", "log_ratio", "directional_log_ratio", "h_calibrated"):
            texts[f"{place}_{name}"] = texts["score"] + rng.normal(size=15)
    pd.testing.assert_frame_equal(prediction(copied(texts)), prediction(texts))
    # groups of unequal size are left out one by one
    x, y = rng.normal(size=(2, 3, 9))
    groups = [0, 1, 1, 2, 2, 2, 3, 4, 4]
    kept = [[i for i in range(9) if groups[i] != group] for group in range(5)]
    expected = np.column_stack([correlations(x[:, rows], y[:, rows]) for rows in ([*range(9)], *kept)])
    np.testing.assert_allclose(each(correlations, x, y, groups), expected)


def copied(rows):
    """Four of each prompt, of one group."""
    if isinstance(rows, pd.Series):
        return pd.concat([rows] * 4, ignore_index=True)
    return pd.concat([rows.assign(prompt=4 * rows["prompt"] + i) for i in range(4)], ignore_index=True)


def test_paths_and_texts_know_their_groups(study, contrast):
    test = contrast.split(SETTINGS.fractions, 0)[-1]
    for rows in (
        study.paths,
        study.texts[study.texts["method"] != POSITIVES],
        study.tokens.query("method == 'caa, geodesic'"),
    ):
        known = rows.drop_duplicates("prompt").set_index("prompt")["group"].sort_index()
        assert known.tolist() == list(test.negative_groups)
    real = study.texts[study.texts["method"] == POSITIVES]
    assert real.sort_values("prompt")["group"].tolist() == list(test.positive_groups)


def test_it_reads_and_is_saved_once(study, tmp_path):
    text = str(study)
    assert "layer 2, 30 test prompts" in text
    assert all(label in text for label in LABELS)
    assert study._repr_html_().count("<tr") == len(LABELS) + 1
    study.save(tmp_path / "out")
    assert {p.stem for p in (tmp_path / "out").glob("*.parquet")} == set(study.tables())
    assert {p.stem for p in (tmp_path / "out").glob("*.pdf")} == {"likelihood", "tokens", "outcome"}
    back = pd.read_parquet(tmp_path / "out" / "paths.parquet")
    pd.testing.assert_frame_equal(back, study.paths)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert {"versions", "commit", "densities"} <= set(run)
    with pytest.raises(ValueError, match="not overwritten"):
        study.save(tmp_path / "out")
    (tmp_path / "layer-1").mkdir()
    (tmp_path / "layer-1" / "run.json").touch()
    with pytest.raises(ValueError, match="layer-1' exists and is not overwritten"):
        study_of(LikelihoodConfig(layer=(2, 1), out=tmp_path))


def test_texts_are_judged_by_an_outcome_of_ones_own():
    texts = pd.DataFrame({"method": [UNSTEERED] * 3 + ["a"] * 2, "opening": "Well",
                          "continuation": [" x", " xx", " xxx", " xx", " xxxx"]})  # fmt: skip
    length = outcome_of(lambda prompts, texts: [len(p + t) for p, t in zip(prompts, texts, strict=True)])
    longer = judged(length, texts)
    assert longer["score"].tolist() == [6, 7, 8, 7, 9]
    # above the median of the unsteered texts, as it has no threshold of its own
    assert longer["success"].tolist() == [False, False, True, False, True]
    said = judged(outcome_of("regex:xxx"), texts)
    assert said["success"].tolist() == [False, False, True, False, True]


def test_what_judges_no_text_is_refused_before_a_model_is_loaded(tmp_path, contrast):
    words = tmp_path / "words.json"
    words.write_text(json.dumps({"positive": [" good"], "negative": [" bad"]}))
    with pytest.raises(ValueError, match="scores completions, and here texts are judged"):
        Plan.of(SETTINGS, contrast, judged=str(words))
    for other in ({"cross_fit": True}, {"texts": "unsteered"}):
        with pytest.raises(ValueError, match=r"judges steered texts, and with .* none are written"):
            Plan.of(replace(SETTINGS, **other), contrast, judged="regex:xxx")
    # a threshold of one's own makes another study
    lengths = [TextOutcome("length", lambda _, texts: list(map(len, texts)), threshold) for threshold in (1.0, 2.0)]
    plans = [Plan.of(SETTINGS, contrast, judged=length) for length in lengths]
    assert plans[0].described() != plans[1].described()
    with pytest.raises(ValueError, match="outcome='vadr' is unknown"):
        study_of(LikelihoodConfig(outcome="vadr", out=tmp_path / "out"))


def test_command_line_on_a_file(tmp_path, contrast, capsys):
    file = tmp_path / "pairs.jsonl"
    write_pairs(contrast, file)
    arguments = ["--contrast", str(file), "--layer", "1", "--out", str(tmp_path / "out"), "--steps", "4",
                 "--max-new-tokens", "4", "--text-angle", "0.4",
                 "--fractions", "0.3", "0.3", "0.25", "0.15", "--outcome", "regex:dry"]  # fmt: skip
    assert main(tyro.cli(LikelihoodConfig, args=arguments)) == 0
    assert "Trajectory likelihood: pairs.jsonl, layer 1" in capsys.readouterr().out
    texts, ranks = (pd.read_parquet(tmp_path / "out" / "layer-1" / f"{x}.parquet") for x in ("texts", "prediction"))
    assert "score" in texts
    assert len(ranks)
    assert (texts["success"] == texts["continuation"].str.contains("dry")).all()


def test_prompts_stand_in_for_negatives_of_completions():
    """The test part's own completions go, and with them what says where each begins."""
    n = 120
    sides = [[f" is {word} {i}" for i in range(n)] for word in ("good", "bad")]
    contrast = ode.ContrastSet.from_completions(["The film"] * n, *sides)
    plan = Plan.of(Settings(fractions=(0.2, 0.25, 0.4, 0.15)), contrast, ("My view:", "I say", "We", "They", "You"))
    assert plan.parts[3].negative == ("My view:", "I say", "We", "They", "You")
    assert plan.parts[3].negative_prompts is None
    assert plan.parts[0].negative_prompts is not None
