"""The certification study end to end, at tiny size, on the organism and on a real pretrained model."""

import json
from importlib.metadata import version

import pandas as pd
import pytest
import torch
import tyro

import odesteer_tl as ode
from analyses import concepts
from analyses.barrier_certification import CertificationConfig, CertificationSettings, main
from analyses.certification.audits import later_layers
from analyses.certification.findings import of_steps
from analyses.certification.tables import WRITTEN, direction_table, path_tables, strength_table
from analyses.evidence.reading_tables import FINDINGS
from analyses.prompted import Prompted
from analyses.sources import load_contrast, load_prompts
from odesteer_tl import certify
from tests.problems import activations, gaussian_classes, random_quadratic
from tests.studies import certified, recording, write_pairs

TINY = CertificationSettings(max_new_tokens=3, strengths=(0.3, 5.0))


@pytest.fixture(scope="module")
def result(organism):
    contrast = ode.organism.contrast("valence", n=120)
    return certified(organism, contrast, [2], TINY, ode.organism.prompts(20, seed=5), concept="valence")


def finding(result, what):
    return result.findings.set_index("what").loc[what]


def test_the_published_path_is_certified_at_half_a_radian(result):
    assert finding(result, "prompts with every step certified")["value"] == 1
    assert finding(result, "prompts with a refuted step")["n"] == 20
    assert finding(result, "prompts certified to keep {h ≥ h(a₀)}")["value"] == 1


def test_certified_stationary_undecided_and_refuted_are_counted_apart(result):
    verdicts = result.steps[["certified", "stationary", "undecided", "refuted"]]
    assert (verdicts.sum(axis=1) == 1).all()
    assert finding(result, "prompts with an undecided step")["n"] == 20
    steps, tokens = result.steps.copy(), result.tokens
    steps.loc[steps["prompt"] == 3, ["certified", "stationary"]] = [False, True]
    steps.loc[steps["prompt"] == 4, ["certified", "undecided"]] = [False, True]
    counted = of_steps(steps, tokens).set_index("what")["value"]
    assert counted["prompts with every step certified"] == pytest.approx(18 / 20)
    assert counted["prompts with a stationary step"] == pytest.approx(1 / 20)
    assert counted["prompts with an undecided step"] == pytest.approx(1 / 20)


def test_every_share_and_median_carries_its_interval_and_n(result):
    assert (result.findings["low"] <= result.findings["value"] + 1e-12).all()
    assert (result.findings["value"] <= result.findings["high"] + 1e-12).all()
    assert (result.findings["n"] > 0).all()


def test_tables_are_tidy_and_agree_with_each_other(result):
    keys = ["prompt", "token", "step"]
    assert not result.steps.duplicated(keys).any()
    assert result.steps["prompt"].nunique() == 20
    assert result.steps["step"].max() == 10
    assert result.steps["token"].min() == -1
    last = result.steps[result.steps["step"] == 10].set_index(["prompt", "token"])["h"]
    ends = result.tokens.set_index(["prompt", "token"])["h_end"]
    pd.testing.assert_series_equal(last.sort_index(), ends.sort_index(), check_names=False)
    assert (result.tokens["efficiency"] <= 1 + 1e-9).all()
    assert (result.tokens["reach"] <= result.tokens["angle"] + 1e-6).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_written_back_is_asked_of_every_token(result, dtype):
    """The findings are of the very end that the flow writes; a prompt counts where all its ends are proved."""
    q, a = random_quadratic(12, 1, curvature=2.0), activations(60, 12).float()
    path = ode.Flow(angle=0.05, steps=3).solve(ode.BarrierField(q), a, record=True)
    points, start, end = path.points.clone(), a.clone(), path.end.clone()
    # the last prompt's last token goes down
    points[:, -1], start[-1], end[-1] = path.points[:, -1].flip(0), path.end[-1], a[-1]
    steps, tokens = path_tables(q, points, torch.arange(60) // 3, torch.arange(60) % 3 - 1)
    truth, name = ode.certify_written(q, start, end, dtype).proved, WRITTEN[dtype]
    assert tokens[name].tolist() == truth.tolist()
    assert truth.tolist() == [True] * 59 + [False]
    word = name.removeprefix("written_")
    what = f"prompts whose every end, written in {word}, is proved no lower in h"
    counted = of_steps(steps, tokens).set_index("what").loc[what]
    assert counted["value"] == pytest.approx(truth.reshape(20, 3).all(1).double().mean())
    assert counted["n"] == 20
    assert what in FINDINGS
    assert finding(result, what)["n"] == 20


def test_where_the_published_method_stops_climbing(result):
    table = result.strengths.set_index(["integrator", "angle"])
    assert table.loc[("euler", 0.3), "violating"] == 0
    assert table.loc[("euler", 5.0), "violating"] == 1
    assert table.loc[("certified", 5.0), "violating"] == 0
    assert table.loc[("euler", 5.0), "norm_ratio"] > 1.5
    assert table.loc[("geodesic", 5.0), "norm_ratio"] == pytest.approx(1)


def test_splits_are_disjoint_and_recorded(result):
    n = result.run["n"]
    assert n["half"][0] + n["other half"][0] + n["calibrate"][0] + n["test"][0] == 120
    texts = [set(p.positive + p.negative) for p in ode.organism.contrast("valence", n=120).split((0.3, 0.3, 0.2, 0.2))]
    assert sum(map(len, texts)) == len(set.union(*texts))


def test_a_result_is_saved_whole_and_shown(result, tmp_path):
    result.save(tmp_path / "run")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["population"]["2"]["violation rate"]["n"] == 20
    assert run["versions"]["torch"] == version("torch")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "run" / "steps.parquet"), result.steps)
    assert "<table" in result._repr_html_()
    assert "certified" in str(result)
    with pytest.raises(ValueError, match="not overwritten"):
        result.save(tmp_path / "run")


def test_directions_are_followed_as_far_as_they_are_proved_to_climb():
    q, a = random_quadratic(12, 0), activations(40, 12)
    flow = ode.Flow(angle=1.0, steps=10)
    up = flow.solve(ode.BarrierField(q), a, record=True).points
    down = ode.Flow(angle=-1.0, steps=10).solve(ode.BarrierField(q), a, record=True).points
    table = direction_table(q, {"up": up, "down": down}).groupby("method")
    assert table["certified"].mean()["up"] > 0.8
    assert table["admissible_angle"].max()["down"] == 0
    assert (table["admissible_angle"].max()["up"]) == pytest.approx(1.0, abs=1e-9)
    assert strength_table(q, a, (0.1,), 5)["violating"].max() == 0


def test_recorded_paths_are_those_of_the_generated_text(organism):
    steerer = ode.fit("odesteer_kernel", organism, ode.organism.contrast("valence", n=40), layer=2, angle=0.4)
    prompts = ode.organism.prompts(9, seed=3)
    settings = {"max_new_tokens": 6, "temperature": 0.7, "seed": 4}
    found = recording(organism, steerer, prompts, 4, *settings.values())
    assert found.texts == steerer.generate(organism, prompts, batch_size=4, **settings)
    # a second, uncached pass over the finished text sees the same states at the same places
    tokens = organism.to_tokens(found.texts[0])
    seen = []
    P = organism.to_tokens(prompts[0]).shape[1]
    with steerer.on(organism, prompt_length=P, observe=lambda path, positions: seen.append(path.points)):
        organism(tokens)
    mine = found.points[:, found.prompt == 0]
    torch.testing.assert_close(mine, seen[0][:, 0, : mine.shape[1]], rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", ["odesteer_rff", "caa", "odesteer_certified"])
def test_any_method_is_certified(organism, method):
    settings = CertificationSettings(method=method, max_new_tokens=1, strengths=(0.3,))
    found = certified(organism, ode.organism.contrast("valence", n=60), [3], settings, ode.organism.prompts(6, seed=2))
    assert found.steps["certified"].mean() > 0.5


def test_a_method_within_the_block_is_refused_before_any_work(organism):
    with pytest.raises(ValueError, match=r"method='iti_heads' steers 'attn\.hook_z'"):
        CertificationSettings(method="iti_heads")
    with pytest.raises(ValueError, match="method='none' is unknown"):
        CertificationSettings(method="none")
    field = ode.ConstantField(torch.ones(organism.cfg.n_heads * organism.cfg.d_head))
    steerer = ode.Steerer(field, ode.Flow(T=1.0), 1, site="attn.hook_z")
    with pytest.raises(ValueError, match=r"site='attn\.hook_z' is not the residual stream"):
        later_layers(Prompted(organism, ["a"]), steerer, {})


def test_a_real_model_from_the_command_line(tinystories, shared, tmp_path, capsys):
    write_pairs(concepts.sentiment(120).contrast(), tmp_path / "pairs.jsonl")
    arguments = ["--model", str(shared / "models" / "TinyStories-656K"), "--contrast", str(tmp_path / "pairs.jsonl"),
                 "--layer", "0",
                 "--max-new-tokens", "2", "--prompts", "10", "--table-angle", "0.3", "2.0",
                 "--out", str(tmp_path / "out")]  # fmt: skip
    assert main(tyro.cli(CertificationConfig, args=arguments)) == 0
    assert "prompts with every step certified" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"steps.parquet", "run.json", "certification.pdf"}


def test_files_are_read_as_contrasts(tmp_path):
    frame = pd.DataFrame({"positive": ["good day", "fine day"], "negative": ["bad day", "sad day"]})
    frame.to_csv(tmp_path / "c.csv", index=False)
    contrast = load_contrast(str(tmp_path / "c.csv"), 0, 0)
    assert len(contrast.positive) == 2
    assert load_prompts(str(tmp_path / "c.csv"), 1, 0, contrast) == list(contrast.negative[:1])


@pytest.mark.parametrize("n", [10, 40])
def test_geometry_in_the_eigenbasis_is_the_barriers_own(n):
    """A dense quadratic and one kept in its span, against the functions that work in the activations themselves."""
    barrier = ode.KernelBarrier(C=10.0).fit(*gaussian_classes(n, 24))
    points = activations(60, 24).reshape(5, 12, 24)
    q = barrier.quadratic
    local, places = q.diagonal, q.spectrum.enter(points)
    assert q.spectrum.reduced == (2 * n < 24)
    scale = q.curvature_bound
    torch.testing.assert_close(local.value(places), barrier.value(points), rtol=0, atol=1e-12 * scale)
    for measured in (certify.geodesic_curvature, certify.quadratic_share):
        torch.testing.assert_close(measured(local, places), measured(q, points), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("n", [10, 40])
def test_strengths_in_the_eigenbasis_are_those_of_the_activations(n):
    barrier = ode.KernelBarrier(C=10.0).fit(*gaussian_classes(n, 24))
    a, top = activations(30, 24), ode.ceiling(barrier.quadratic).bound
    table = strength_table(barrier, a, (0.5, 3.0), 6).set_index(["integrator", "angle"])
    for solver, angle in table.index:
        points = ode.Flow(angle=angle, steps=6, solver=solver).solve(ode.BarrierField(barrier), a, record=True).points
        found = ode.certify_path(barrier, points)
        row = table.loc[(solver, angle)]
        assert row["violating"] == found.refuted.any(0).double().mean()
        h0, h1 = barrier.value(points[0]), barrier.value(points[-1])
        assert row["saturation"] == pytest.approx(float(((h1 - h0) / (top - h0)).quantile(0.5)), rel=1e-8)
        assert row["norm_ratio"] == pytest.approx(float((points[-1].norm(dim=-1) / a.norm(dim=-1)).median()), rel=1e-10)
