"""Detection: areas of scores of texts, each by its largest token, on a small set made like AxBench's."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

import odesteer_tl as ode
from analyses.detection import DetectionConfig, main, study_of
from analyses.reading.detection import TOKENS, Detection, Texts, _areas, _Read, _thinned
from analyses.runs import cells_of
from analyses.scores import CHOSEN_ON, SCORES, Told, _some, cross_validated
from analyses.sweep import Store


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two concepts of the embedded model, the second being the first's opposite, with three hard negatives."""
    path = tmp_path_factory.mktemp("axbench")
    names = ("iris", "henry", "leo", "felix", "anna", "emma", "karla")
    nouns = ("table", "boat", "storm", "dog", "eagle", "letter", "valley", "bottle", "cabin", "rain", "parasol",
             "wagon", "button", "ladder", "basket")  # fmt: skip
    both = [(f"{name} happily welcomed the delightful {noun} .", f"{name} slowly touched the round {noun} .")
            for name in names for noun in nouns]  # fmt: skip
    order = np.random.default_rng(0).permutation(len(both))
    good, bad = ([both[i][side] for i in order] for side in (0, 1))
    kind = ["hard negative"] * 3
    rows = [(0, "positive", text) for text in good[:40]] + [(1, "positive", text) for text in bad[:40]]
    train = [*rows, *((-1, "negative", text) for text in [*good[40:60], *bad[40:60]])]
    held = []
    for n, (own, other) in enumerate([(good, bad), (bad, good)]):
        held += [(n, "positive", text) for text in own[60:90]] + [(n, "negative", text) for text in other[60:90]]
    held += [(0, *pair) for pair in zip(kind, bad[100:103], strict=True)]
    for name, found in (("train", train), ("latent_eval", held)):
        table = pd.DataFrame(found, columns=["concept_id", "category", "output"])
        table.to_parquet(path / f"{name}_data.parquet")
    return path


def detect(model, folder, layer, scores, concepts=(0, 1)):
    """The cells of a study, without one."""
    texts = Texts(model, folder, [layer])
    return Detection(pd.DataFrame([
        {"concept": f"{folder.name}/{n}", "layer": layer, "score": name, **texts.areas(layer, n, SCORES[name])}
        for n in concepts for name in scores
    ]))  # fmt: skip


def test_what_is_planted_is_found_and_a_random_direction_is_not_told_apart(organism, folder):
    scores = ("random direction", "mean difference", "LAT", "sketch, as published")
    found = detect(organism, folder, 2, scores)
    areas = found.concepts.set_index(["score", "concept"]).auroc.unstack()
    assert areas.loc["sketch, as published"].min() > 0.9
    assert areas.loc["mean difference"].min() > 0.8
    assert (areas.loc["random direction"] < areas.loc["mean difference"]).all()
    assert found.concepts.groupby("concept").hard.count().tolist() == [len(scores), 0]
    frame = found.frame()
    row = frame[(frame.score == "LAT") & (frame.negatives == "all")].iloc[0]
    assert row.n == 2
    assert row.value == pytest.approx(areas.loc["LAT"].mean())
    assert "mean of 2 concepts" in str(found)
    assert "| all negatives, layer 2" in str(found)


def test_a_text_counts_by_its_largest_token(organism, folder):
    held = pd.read_parquet(folder / "latent_eval_data.parquet")
    held = held[held.concept_id == 1].drop_duplicates("output")
    direction = torch.randn(organism.cfg.d_model, generator=torch.Generator().manual_seed(3))
    read = _Read.of(organism, held, [1])
    largest = []
    for text in held.output:
        _, cache = organism.run_with_cache(text, names_filter="blocks.1.hook_out")
        largest.append(float((cache["blocks.1.hook_out"][0, 1:] @ direction).max()))  # BOS is no token of the text
    truth = held.category == "positive"
    assert _areas(read.largest(1, 1, lambda rows: rows @ direction))["auroc"] == pytest.approx(
        roc_auc_score(truth, largest), abs=1e-6
    )


def test_few_tokens_of_each_text_are_fitted_on():
    groups = np.array([7] * 30 + [3] * 5 + [9] * 40)
    at = _thinned(groups, {7, 3})
    assert np.bincount(groups[at])[[7, 3, 9 - 2]].tolist() == [TOKENS, 5, TOKENS]
    assert {0, 29, 30, 34} <= set(at.tolist())


def test_what_is_trained_through_the_model_and_what_is_chosen_detect_too(organism, folder):
    """What is chosen by cross-validation is not as good here as the rest, and this is why.

    Half of the negatives that both concepts share are texts of the first one, since the second is its opposite. What is
    chosen to tell those labels apart learns them, the more flexible the better: areas are .886 (kernel; γ = 4, C = 10)
    and .956 (linear), where those of the mean difference, the probe at C = 1, the sketch and a kernel at γ = .1, C = 1
    are 1. With negatives of the opposite alone both are 1, too.
    """
    scores = ("ReFT-r1", "kernel, cross-validated", "probe, C = 1")
    found = detect(organism, folder, 2, scores, [0]).concepts.set_index("score")
    assert (found.auroc > [0.8, 0.85, 0.95]).all()
    assert (found.seconds > 0).all()
    assert (found.positives == 30).all()


def test_a_barrier_is_chosen_on_whole_texts_of_both_classes_and_fitted_on_all(organism):
    draw = torch.Generator().manual_seed(0)
    texts, shift = {"positive": 72, "negative": 216}, torch.zeros(6)
    shift[0] = 2
    rows = [torch.randn(3 * n, 6, generator=draw) + s for n, s in zip(texts.values(), (shift, -shift), strict=True)]
    groups = [tuple(g for g in range(k, k + n) for _ in range(3)) for k, n in ((0, 72), (72, 216))]
    acts = ode.LayerActivations(*rows, *groups)
    some = _some(acts)
    for side, whole in zip(some.groups, groups, strict=True):
        kept, counts = np.unique(side, return_counts=True)
        assert (counts == 3).all()
        assert len(kept) == len(set(whole)) // 3
    assert len(set(some.groups[0])) == CHOSEN_ON
    chosen = ode.KernelBarrier(gamma="cv", C="cv").fit_activations(some).chosen
    barrier = ode.KernelBarrier(**chosen).fit_activations(acts)
    texts = ode.ContrastSet.from_texts(["of no account"], ["here"])
    found = cross_validated(2)(Told(acts, organism, texts, 0))(rows[0])
    torch.testing.assert_close(found, barrier.value(rows[0]))


def test_concepts_that_are_not_there_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match=r"concepts=\[5\] are not in .*; there are \[0, 1\]"):
        study_of(DetectionConfig((folder,), (2,), tmp_path / "out", "organism", concepts=(5,)))


def test_a_run_that_was_cut_short_goes_on_and_finds_what_the_function_finds(organism, folder, tmp_path, capsys):
    names = ("mean difference", "LAT", "probe, C = 1")
    config = DetectionConfig((folder,), (2,), tmp_path / "out", "organism", scores=names)
    assert main(replace(config, dry_run=True)) == 0
    assert "6 scores, about" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert main(replace(config, concepts=(1,))) == 0
    store = Store.planned(study_of(config), cells_of(config.out))
    first = store.finished()
    assert len(first) == len(names)
    times = {path: path.stat().st_mtime_ns for path in store.directory.rglob("*.parquet") if path.stem in first}
    assert len(times) == len(names)
    assert main(config) == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times
    found = pd.read_parquet(config.out / "concepts.parquet").set_index(["concept", "layer", "score"])
    alone = detect(organism, folder, 2, names).concepts.set_index(["concept", "layer", "score"])
    pd.testing.assert_frame_equal(found.drop(columns="seconds"), alone.drop(columns="seconds"), check_like=True)
    assert main(replace(config, scores=("no such score",))) == 2
    assert "no such score" in capsys.readouterr().err
