"""Certification and likelihood of one's own: what is refused without a model, and from files to tables, small."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import odesteer_tl as ode
from analyses import barrier_certification, trajectory_likelihood
from analyses.barrier_certification import CertificationConfig, CertificationSettings
from analyses.likelihood.study import Settings
from analyses.prompted import Prompted
from analyses.recording import Drawing, Unsteered
from analyses.sources import load_contrast
from analyses.studies import certification, likelihood
from analyses.trajectory_likelihood import LikelihoodConfig
from odesteer_tl.densities import DensityPair, ShrunkGaussian
from tests.studies import certified, recording, refused, write_pairs

SMALL = {"max_new_tokens": 2, "strengths": (0.3,), "cross_fit": True}
GRID = {"fractions": (0.2, 0.25, 0.45, 0.1), "angle": 0.8, "steps": 4, "declared": 0.4, "strengths": (0.4,),
        "max_new_tokens": 3}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """64 and 100 pairs and 9 prompts, as people bring them, and what is wrong with others."""
    folder = tmp_path_factory.mktemp("own")
    write_pairs(ode.organism.contrast("valence", 64, 0), folder / "pairs.jsonl", "utf-8-sig")
    write_pairs(ode.organism.contrast("valence", 100, 0), folder / "more.jsonl")
    write_pairs(ode.organism.contrast("valence", 12, 0), folder / "few.jsonl")
    texts = ode.organism.contrast("valence", 64, 0).positive
    write_pairs(ode.ContrastSet.from_texts(texts, texts[::-1]), folder / "same.jsonl")
    (folder / "broken.jsonl").write_text('{"positive": "a", "negative": \n')
    (folder / "keyless.jsonl").write_text('{"positive": "a"}\n')
    (folder / "prompts.txt").write_text("\n".join(ode.organism.prompts(9, 7)) + "\n")
    (folder / "empty.txt").write_text("\n")
    (folder / "seen.txt").write_text("\n".join(ode.organism.contrast("valence", 100, 0).negative) + "\n")
    return folder


#: of both commands: what is given, and what the refusal says
BOTH = {
    "contrast": ({"contrast": "valance"}, "contrast='valance' is unknown"),
    "no file": ({"contrast": "nowhere.jsonl"}, "is no file; check the path"),
    "broken": ({"contrast": "broken.jsonl"}, "broken.jsonl"),
    "key": ({"contrast": "keyless.jsonl"}, "has no 'negative'"),
    "same": ({"contrast": "same.jsonl"}, "are the same texts"), "few": ({"contrast": "few.jsonl"}, "need"),
    "prompts": ({"prompts": "nowhere.txt"}, "is no file"), "ending": ({"prompts": "p.doc"}, "must end in .txt"),
    "empty": ({"prompts": "empty.txt"}, "prompts is empty"),
    "model": ({"model": "./nowhere"}, "is no folder"), "executor": ({"executor": "threads"}, "is unknown; use"),
    "threads": ({"threads": 0}, "threads=0"), "pairs": ({"pairs": 0}, "pairs=0"),
}  # fmt: skip
CERTIFICATION = BOTH | {
    "layer": ({"layer": "5"}, "layer=5 is none of model='organism', which has 0 to 4"),
    "word": ({"layer": "one"}, "layer='one' is no layer"), "twice": ({"layer": "4,-1"}, "names one twice"),
    "range": ({"layer": "1-3"}, "is no layer"), "split": ({"cross_fit": False, "contrast": "few.jsonl"}, "cross-fit"),
    "number": ({"prompts": "0"}, "prompts=0"), "none left": ({"prompts": "20"}, "cross_fit leaves no text"),
}  # fmt: skip
LIKELIHOOD = BOTH | {
    "layer": ({"layer": (5,)}, "layer=5 is none of"), "no layer": ({"layer": ()}, "layer is empty"),
    "small": ({"contrast": "pairs.jsonl"}, "leave 29 for the calibration, and at least 40 are needed"),
    "seen": ({"prompts": "seen.txt"}, "stands in the contrast"),
}  # fmt: skip
SETTINGS = [
    (CertificationSettings, {"method": "odester"}, "method='odester' is unknown"),
    (CertificationSettings, {"angle": -0.5}, "angle=-0.5"),
    (CertificationSettings, {"angle": 0.5, "T": 1.0}, "give one"),
    (CertificationSettings, {"strengths": ()}, "strengths="),
    (CertificationSettings, {"max_new_tokens": 0}, "at least 1"),
    (CertificationSettings, {"alpha": 1.0}, "alpha=1.0"), (CertificationSettings, {"texts": "both"}, "texts='both'"),
    (CertificationSettings, {"temperature": -1.0}, "temperature=-1"), (CertificationSettings, {"steps": 0}, "steps=0"),
    (CertificationSettings, {"solver": "eulr"}, "eulr"),
    (Settings, {"fractions": (0.5, 0.5, 0.5, 0.1)}, "sum to no more than 1"), (Settings, {"angle": 4.0}, "angle=4.0"),
    (Settings, {"strengths": (0.33,)}, r"strengths \(--text-angle\)=0.33"),
    (Settings, {"declared": 0.33}, r"declared \(--compare-angle\)=0.33"),
    (Settings, {"texts": "both"}, "texts='both'"), (Settings, {"max_new_tokens": 0}, "max_new_tokens=0"),
]  # fmt: skip


def at(files, changed):
    """The arguments with files where they are."""
    return {k: str(files / x) if k in ("contrast", "prompts") and "." in str(x) else x for k, x in changed.items()}


@pytest.mark.parametrize("kind", CERTIFICATION)
def test_certification_refuses_what_is_wrong_without_a_model(files, monkeypatch, kind):
    changed, says = CERTIFICATION[kind]
    given = {"contrast": "pairs.jsonl", "prompts": "prompts.txt", **changed}
    small = {**SMALL, "cross_fit": given.pop("cross_fit", True)}
    config = CertificationConfig(**at(files, given), settings=CertificationSettings(**small))
    refused(lambda: barrier_certification.planned(config), says, monkeypatch)


@pytest.mark.parametrize("kind", LIKELIHOOD)
def test_likelihood_refuses_what_is_wrong_without_a_model(files, monkeypatch, kind):
    changed, says = LIKELIHOOD[kind]
    given = {"contrast": "more.jsonl", "prompts": "prompts.txt", **changed}
    config = LikelihoodConfig(**at(files, given), settings=Settings(**GRID))
    refused(lambda: trajectory_likelihood.planned(config), says, monkeypatch)


@pytest.mark.parametrize(("settings", "changed", "says"), SETTINGS)
def test_settings_out_of_range_are_refused(settings, changed, says, monkeypatch):
    refused(lambda: settings(**changed), says, monkeypatch)


def test_the_commands_say_in_one_line_what_they_refuse(files, tmp_path, capsys):
    config = CertificationConfig(contrast="valance", out=tmp_path / "out")
    assert barrier_certification.main(config) == 2
    assert trajectory_likelihood.main(LikelihoodConfig(contrast="valance", out=tmp_path / "out")) == 2
    assert len(capsys.readouterr().err.strip().split("\n")) == 2
    assert not list(tmp_path.iterdir())


def test_certification_from_64_pairs_and_prompts(files, tmp_path, capsys):
    """By the documented command; then a layer more, which computes no finished one again."""
    settings = CertificationSettings(**SMALL)
    config = CertificationConfig(contrast=str(files / "pairs.jsonl"), prompts=str(files / "prompts.txt"), layer="4",
                                 out=tmp_path / "out", settings=settings)  # fmt: skip
    said, _ = barrier_certification.dry_run(config)
    assert said.startswith("1 layers, ")
    assert "forward tokens: about" in said
    assert barrier_certification.main(config) == 0
    printed = capsys.readouterr()
    assert "peak memory" in printed.err
    assert "held-out AUC of h (texts)" in printed.out.split("prompts with every step certified")[0]
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["texts"] == "unsteered"
    cells = {path: path.stat().st_mtime_ns for path in (tmp_path / "out.cells").rglob("cells/*.parquet")}
    both = certification("organism", files / "pairs.jsonl", files / "prompts.txt", layers=[3, 4],
                         out=tmp_path / "out", **SMALL)  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in cells} == cells
    assert both.run["population"][3]["violation rate"]["n"] == 9
    frame = both.frame()
    assert set(frame["layer"]) == {3, 4}
    assert frame[["auc", "auc_low", "auc_high"]].notna().all().all()
    assert "held-out AUC" in both._repr_html_()
    with pytest.raises(ValueError, match="is not overwritten"):
        certification("organism", files / "pairs.jsonl", files / "prompts.txt", layers=[4], out=tmp_path / "out",
                      **{**SMALL, "max_new_tokens": 1})  # fmt: skip


def test_what_is_certified_of_random_labels_says_that_it_is_about_nothing(organism):
    texts = ode.organism.contrast("valence", 64, 0)
    mixed = np.random.default_rng(3).permutation([*texts.positive, *texts.negative])
    contrast = ode.ContrastSet.from_texts(mixed[:64].tolist(), mixed[64:].tolist())
    found = certified(organism, contrast, [4], CertificationSettings(**SMALL), ode.organism.prompts(6, 7))
    values = found.findings.set_index("what")
    assert values.loc["prompts with every step certified", "value"] > 0.8
    assert values.loc["held-out AUC of h (texts)", "low"] < 0.5
    assert str(found).startswith("WARNING: at layer 4 the held-out AUC of h is not shown to be above ½")


def test_likelihood_of_ones_own_says_what_is_left_to_lose(files, organism, tmp_path, capsys):
    """Objects in the place of names; nothing is written under steering, for nothing judges it."""
    contrast = load_contrast(str(files / "more.jsonl"), 0, 0)
    prompts = ode.organism.prompts(9, 7)
    found = likelihood(organism, contrast, prompts, layers=[3], out=tmp_path / "out", **GRID)
    study = found.studies[3]
    assert "forward tokens" in capsys.readouterr().err
    assert set(study.texts["method"]) == {"unsteered", "real positives"}
    assert study.degeneration.empty
    assert study.prediction.empty
    assert "score" not in study.texts
    assert study.summary["n"].eq(9).all()
    moved = study.tokens[(study.tokens["strength"] > 0) & (study.tokens["state"] == 1)]
    # (on_manifold rests where it starts beyond the boundary)
    assert (moved.loc[moved["method"] != "on_manifold", "displacement"] > 0).all()
    assert moved.groupby("method")["prompt"].nunique().eq(9).all()
    assert "starts are on p₊'s data" in str(study)
    assert "AUC" in str(study)
    assert "the last token of a text" in str(study)
    assert {"auc", "auc_low", "outside_at_start", "outside", "layer"} <= set(found.frame())
    assert (tmp_path / "out" / "layer-3" / "summary.parquet").exists()
    again = likelihood(organism, contrast, prompts, layers=[3], out=tmp_path / "out", **GRID)
    pd.testing.assert_frame_equal(again.frame(), found.frame())
    assert "forward tokens" not in capsys.readouterr().err


def test_the_unsteered_texts_tokens_are_those_of_a_generation_that_does_not_steer(organism):
    """Two ways to one state: recorded in the hook while writing, and read off one pass over what was written."""
    prompts = ode.organism.prompts(7, 3)
    steerer = ode.Steerer(ode.ConstantField(torch.ones(organism.cfg.d_model)), ode.Flow(angle=0.0), 2)
    seen = recording(organism, steerer, prompts, 3, 5, 0.7, 4)
    plain = Unsteered.of(Prompted(organism, prompts, 3), [1, 2], Drawing(5, 0.7, 4))
    assert plain.texts == seen.texts
    assert plain.prompt.tolist() == seen.prompt.tolist()
    assert plain.token.tolist() == seen.token.tolist()
    torch.testing.assert_close(plain.states[2], seen.points[0].float(), rtol=1e-4, atol=1e-3)
    assert [x.stop - x.start for x in plain.blocks(1)] == plain.prompt.bincount().tolist()
    assert sum(x.stop - x.start for x in plain.blocks(10**6)) == len(plain.prompt)


def test_no_step_holds_logits_of_more_than_one_position_a_prompt(organism, monkeypatch):
    """Whatever the number of prompts: the largest tensor of logits is that of a batch at one position."""
    rows = []

    def seen(module, args, out):
        rows.append(out.shape[:-1].numel())

    handle = organism.original_model.get_output_embeddings().register_forward_hook(seen)
    monkeypatch.setattr("analyses.prompted.BATCH", 8)
    monkeypatch.setattr("analyses.likelihood.decoding.BATCH", 8)
    try:
        ode.collect_activations(organism, ode.organism.contrast("valence", 20, 0), "all")
        assert not rows
        prompts = ode.organism.prompts(30, 7)
        prompted = Prompted(organism, prompts, 8)
        Unsteered.of(prompted, [1], Drawing(3, 0.7, 0))
        steerer = ode.Steerer(ode.ConstantField(torch.ones(organism.cfg.d_model)), ode.Flow(angle=0.1), 2)
        recording(organism, steerer, prompts, 8, 3)
    finally:
        handle.remove()
    assert rows
    assert max(rows) <= 8


def test_keys_and_values_of_some_batches_alone_are_kept(organism, monkeypatch):
    monkeypatch.setattr("analyses.prompted.KEPT", 2)
    prompted = Prompted(organism, ode.organism.prompts(20, 7), 4)
    first = [prefix for _, prefix in prompted]
    again = [prefix for _, prefix in prompted]
    assert [a is b for a, b in zip(first, again, strict=True)] == [True, True, False, False, False]


def test_densities_of_one_sample_under_two_names_are_refused():
    x = torch.randn(80, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    groups = (range(80), range(80, 160))
    with pytest.raises(ValueError, match="are the same activations within rounding"):
        DensityPair([ShrunkGaussian()]).fit(x, x.flip(0), groups)
