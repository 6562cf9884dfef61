"""The probe task: groups that belong together, an AUC against scikit-learn's, and a probe that finds what is there."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import odesteer_tl as ode
from analyses.benchmarks.hatecheck import group_weights, load_cases, probe, template_groups, weighted_auc

FEW = {"linear": (lambda: ode.LinearBarrier(C=0.1), lambda: ode.LinearBarrier(C=100.0)),
       "kernel": (lambda: ode.KernelBarrier(gamma=1.0, C=1.0),)}  # fmt: skip


def test_templates_are_joined_along_chains_of_references():
    # 3 refers to 2, which refers to 1; 5 stands alone; "12.0" is 12
    found = template_groups(["1", "2", "3", "5", "12", "7", "2"], ["", "1.0", "2.0", float("nan"), None, "12.0", "1.0"])
    assert found[0] == found[1] == found[2] == found[6]
    assert found[4] == found[5]
    assert len(set(found)) == 3


def test_the_weighted_auc_is_scikit_learns():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 6, 60).astype(float), rng.integers(0, 2, 60)
    weights = np.vstack([np.ones(60), rng.integers(0, 4, (5, 60))])
    wanted = [roc_auc_score(labels, scores, sample_weight=w) for w in weights]
    np.testing.assert_allclose(weighted_auc(scores, labels, weights), wanted)
    assert np.isnan(weighted_auc(scores, np.ones(60), weights)).all()


def test_groups_are_resampled_whole():
    groups = np.array([3, 3, 7, 7, 7, 9])
    weights = group_weights(groups, 50, 0)
    assert weights.shape == (51, 6)
    assert (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 4]).all()
    assert (weights[1:, [0, 2, 5]].sum(1) == 3).all()


def test_intervals_over_groups_are_wider_where_cases_repeat():
    rng = np.random.default_rng(1)
    labels = np.repeat(rng.integers(0, 2, 60), 10)
    scores = labels + np.repeat(rng.normal(size=60), 10) * 1.5
    groups = (np.repeat(range(60), 10), np.arange(600))
    spread = [weighted_auc(scores, labels, group_weights(g, 400, 0)).std() for g in groups]
    assert spread[0] > 2 * spread[1]


def test_a_probe_finds_a_latent_and_none_in_shuffled_labels(organism):
    contrast = ode.organism.contrast("valence", n=90)
    found = probe(organism, contrast, FEW, resamples=200)
    assert (found.table["value"] > 0.8).any()
    assert (found.table["low"] <= found.table["value"]).all()
    assert set(found.differences["barrier"]) == {"kernel"}
    best = found.candidates.groupby(["layer", "barrier"])["validation_auc"].transform("max")
    chosen = found.candidates.query("chosen")
    assert (chosen["validation_auc"] == best[chosen.index]).all()
    one = found.scores.query("layer == 2 and barrier == 'linear'")
    table = found.table.set_index(["layer", "barrier"])
    assert table.loc[(2, "linear"), "value"] == pytest.approx(roc_auc_score(one["hateful"], one["score"]))
    assert "AUC on" in str(found)
    assert "<table" in found._repr_html_()
    half = ode.ContrastSet.from_texts(contrast.positive[:45] + contrast.negative[45:],
                                      contrast.negative[:45] + contrast.positive[45:])  # fmt: skip
    nothing = probe(organism, half, FEW, resamples=200).table
    assert (nothing["low"] < 0.5).all()
    assert (nothing["high"] > 0.5).all()
    with pytest.raises(ValueError, match="lacks 'linear'"):
        probe(organism, contrast, {"kernel": FEW["kernel"]})


def test_the_real_cases_do_not_straddle_the_split(shared, tmp_path):
    file = shared / "data" / "hatecheck" / "test_suite_cases.csv"
    cases, rows = load_cases(file), pd.read_csv(file)
    assert (len(cases.positive), len(cases.negative)) == (2563, 1165)
    of = dict(zip([*cases.positive, *cases.negative], [*cases.positive_groups, *cases.negative_groups], strict=True))
    group = rows["test_case"].str.strip().map(of)
    assert (group.groupby(rows["templ_id"]).nunique() == 1).all()
    linked = rows[rows["ref_templ_id"].notna()]
    referred = rows.groupby("templ_id")["test_case"].first().str.strip().map(of)
    assert (group[linked.index].to_numpy() == referred[linked["ref_templ_id"].astype(int)].to_numpy()).all()
    # copies of one template are in one part
    parts = cases.split((0.5, 0.2, 0.3), seed=0)
    found = [set(p.positive_groups) | set(p.negative_groups) for p in parts]
    assert sum(map(len, found)) == len(set.union(*found))
