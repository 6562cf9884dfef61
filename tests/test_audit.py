"""The audit of methods: how paths bend, what fits cost, and trained methods beside fitted ones, end to end."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import odesteer_tl as ode
from analyses.effects import Arm, EffectSettings, Material, Plan, effect_study, measure
from analyses.effects.audit import audit, equal_budget, summary
from analyses.effects.estimate import estimate
from analyses.effects.path import bending
from analyses.effects.plan import Given
from analyses.effects.running import keeping
from analyses.effects.steer import Steer
from analyses.effects.trained import Trained
from analyses.effects.writing import left_padded
from analyses.method_audit import AuditConfig, main
from analyses.sweep import StoreError
from odesteer_tl.certify import geodesic_curvature
from odesteer_tl.methods.learned_flow import learned_flow
from odesteer_tl.methods.registry import Method
from tests.studies import write_concept

FEW = ode.organism.contrast("valence", 12)
QUICK = ode.Training(steps=4, batch_size=4, every=2, looked_at=4)


# --- how a path bends


def test_a_circle_of_latitude_has_its_geodesic_curvature():
    """cot θ at the distance θ from the pole; its chord is a great circle's length."""
    theta, turned = 0.6, 1.1
    phi = torch.linspace(0, turned, 401, dtype=torch.float64)
    circle = torch.stack(
        [np.sin(theta) * phi.cos(), np.sin(theta) * phi.sin(), torch.full_like(phi, np.cos(theta))], -1
    )
    norms = torch.linspace(1, 3, 401, dtype=torch.float64)[:, None]  # of directions alone
    found = bending((circle * norms)[:, None])
    length, chord = turned * np.sin(theta), np.arccos(float(circle[0] @ circle[-1]))
    assert float(found["path_curvature"]) == pytest.approx(1 / np.tan(theta), rel=1e-4)
    assert float(found["path_length"]) == pytest.approx(length, rel=1e-5)
    assert float(found["chord_share"]) == pytest.approx(chord / length, rel=1e-5)
    # the angle at which an arc leaves its chord, from the triangle with the pole: the rest of a right angle
    side = np.arctan2(np.sin(turned), (1 - np.cos(turned)) * np.cos(theta))
    assert float(found["path_bend"]) == pytest.approx(np.pi / 2 - side, abs=2e-3)


def test_lines_great_circles_and_rest_are_straight():
    g = torch.Generator().manual_seed(0)
    a, v = (torch.randn(2, 7, 30, generator=g, dtype=torch.float64)).unbind(0)
    t = torch.linspace(0, 1, 6, dtype=torch.float64)[:, None, None]
    rest = a.expand(6, 7, 30)
    late = torch.cat([rest[:3], (a + t * v)[1:4]])  # sets out late
    for points in (a + t * v, a * (1 + t), rest, late):
        found = bending(points)
        np.testing.assert_allclose(found["path_curvature"], 0, atol=1e-6)
        np.testing.assert_allclose(found["chord_share"], 1, atol=1e-12)
        np.testing.assert_allclose(found["path_bend"], 0, atol=1e-6)


def test_a_barriers_flow_bends_as_its_curvature_says():
    """The polygon of a short flow against the closed form, which knows of no steps."""
    g = torch.Generator().manual_seed(1)
    A = torch.randn(12, 12, generator=g, dtype=torch.float64)
    barrier = ode.QuadraticBarrier(A + A.mT, torch.randn(12, generator=g, dtype=torch.float64))
    a = torch.randn(5, 12, generator=g, dtype=torch.float64)
    path = ode.Flow(angle=1e-3, steps=20).solve(ode.BarrierField(barrier), a, record=True)
    assert path.points is not None
    np.testing.assert_allclose(bending(path.points)["path_curvature"], geodesic_curvature(barrier, a), rtol=0.03)


# --- methods that look at the tokens before


@pytest.fixture(scope="module")
def material():
    measures = ("path", "cost", "expense")
    settings = EffectSettings(pairs=60, select=0, test=6, max_new_tokens=4, passage="text", measures=measures)
    return Material(replace(settings, cross_fit=True))


@pytest.fixture
def quick_flow(monkeypatch):
    """The learned flow, trained for four steps, as a method of one's own; the layers at which it was trained."""
    trainings = []

    def train(course, seed=0):
        trainings.append(course.layer)
        return learned_flow(replace(course, training=QUICK), seed)

    own = ode.METHODS["learned_flow"]
    monkeypatch.setitem(ode.METHODS, "quick_flow", Method(own.fit, own.solver, own.steps, "this test", train=train))
    return trainings


@pytest.mark.parametrize("passage", ["text", "prompt"])
def test_what_a_study_steers_is_what_full_passes_steer(material, passage):
    """Of a method that is told what was written for the token before, each prompt at its own strength."""
    arm, model = Arm.of("barrier_steer"), material.model
    strength = torch.linspace(0.05, 0.3, 6, dtype=torch.float64)
    steer = Steer(material.layer(2), arm, strength)
    prefix = material.states.passage.prefix if passage == "text" else material.states.prompt
    found = steer.residuals(prefix)
    tokens, mask = prefix.tokens, prefix.attention_mask
    for i in range(6):  # alone, at one number
        alone = ode.Steerer(steer.fits.field(arm.method), arm.flow(float(strength[i])), 2)
        at, seen = slice(int((mask[i] == 0).sum()), None), []
        watch = ("blocks.2.hook_out", lambda x, hook, seen=seen: seen.append(x.clone()))
        with (
            torch.no_grad(),
            alone.on(model, prompt_length=prefix.start + 1 - at.start),
            model.hooks(fwd_hooks=[watch]),
        ):
            model(tokens[i : i + 1, at])
        own = seen[0][0, prefix.start - at.start :]
        torch.testing.assert_close(found[i], own, rtol=1e-3, atol=1e-2)
    if passage == "text":
        steps = steer.steps(material.states.passage)
        ends = material.states.passage.at(found).double()
        torch.testing.assert_close(steps[-1], ends, rtol=1e-4, atol=1e-3)
        assert (ode.METHODS[arm.method].steps, len(steps)) == (1, 2)


def test_strengths_a_token_reach_each_token(material):
    field = material.layer(2).field("barrier_steer")
    tokens, _ = left_padded(material.model, ["anna happily touched the boat ."])
    n = tokens.shape[1]

    def written(strength):
        seen, flow = [], ode.Flow(angle=strength, steps=1, solver="euler")
        steerer = ode.Steerer(field, flow, 2, positions="all_and_bos")
        watch = ("blocks.2.hook_out", lambda x, hook: seen.append(x.clone()))
        with torch.no_grad(), steerer.on(material.model), material.model.hooks(fwd_hooks=[watch]):
            material.model(tokens)
        return seen[0][0]

    torch.testing.assert_close(written(torch.full((1, n), 0.2)), written(0.2))
    mixed = written(torch.tensor([[0.2] * 3 + [0.0] * (n - 3)]))
    torch.testing.assert_close(mixed[:3], written(0.2)[:3])
    torch.testing.assert_close(mixed[3:], written(0.0)[3:])


# --- what fits cost


def test_a_steerer_says_what_its_fit_took(material, quick_flow):
    fits = material.layer(2)
    texts = material.plan.parts[0]
    tokens = sum(len(material.model.to_tokens(text)[0]) for text in (*texts.positive, *texts.negative))
    assert material.acts[0].provenance["tokens"] == tokens
    for name, read in (("caa", tokens), ("iti_heads", tokens)):
        made = fits.steerer(Arm.of(name)).provenance["fit"]
        assert (made["data_tokens"], made["read_tokens"]) == (tokens, read)
        assert made["seconds"] > 0
    trained = fits.steerer(Arm.of("quick_flow")).provenance
    assert trained["fit"]["data_tokens"] == tokens
    assert trained["fit"]["read_tokens"] == tokens + trained["training"]["tokens"]
    assert trained["training"]["steps"] == 4
    assert fits.field("quick_flow") is fits.field("quick_flow")  # trained once
    turned = fits.expense(Arm.of("pid", in_turn=True))
    assert (turned.data_tokens, turned.read_tokens) == (tokens, 3 * tokens)


# --- trainings are kept


def test_a_training_is_read_as_it_was_made(material, quick_flow, tmp_path):
    """Bit for bit what `fit` gives, with what it took; by another process, of the same texts, place and seed alone."""
    model, texts = material.model, FEW
    made = ode.fit("quick_flow", model, texts, 2, T=1.0)
    first = Trained(model, tmp_path).steerer("quick_flow", 2, texts, 0)
    read = Trained(model, tmp_path).steerer("quick_flow", 2, texts, 0)
    assert quick_flow == [2, 2]
    assert read.provenance["fit"] == first.provenance["fit"]
    assert read.provenance["training"] == made.provenance["training"]
    a = torch.randn(20, 128, generator=torch.Generator().manual_seed(0))
    flow = ode.Flow(angle=0.4, steps=3, solver="euler")
    assert torch.equal(flow.solve(read.field, a).end, flow.solve(made.field, a).end)
    tokens, _ = left_padded(model, ["anna happily touched the boat ."])
    with torch.no_grad():
        seen = [model.run_with_hooks(tokens, fwd_hooks=x.at(flow).hooks(2)) for x in (read, made)]
    assert torch.equal(*seen)
    fresh, half = Trained(model, tmp_path), texts.split((0.5, 0.5))[0]
    others = (("quick_flow", 1, texts, 0), ("quick_flow", 2, half, 0), ("quick_flow", 2, texts, 1))
    assert fresh.has("quick_flow", 2, texts, 0)
    assert not any(fresh.has(*other) for other in others)
    assert not Trained(model).has("quick_flow", 2, texts, 0)


def test_a_method_that_is_told_of_its_concept_is_told_the_audits(material, quick_flow, monkeypatch, tmp_path):
    """What concept.json calls it; trainings, cells and studies of other methods are what they were without."""
    said, quick = [], ode.METHODS["quick_flow"]

    def train(course, seed=0, *, concept=None):
        said.append(concept)
        return learned_flow(replace(course, training=QUICK), seed)

    monkeypatch.setitem(ode.METHODS, "told_flow", replace(quick, train=train))
    without, sunny, wet = (Trained(material.model, tmp_path, words) for words in ("", "sunny days", "wet boats"))
    found = sunny.steerer("told_flow", 2, FEW, 0)
    assert said == ["sunny days"]
    assert found.provenance["settings"] == {"concept": "sunny days"}
    assert sunny.has("told_flow", 2, FEW, 0)
    assert not without.has("told_flow", 2, FEW, 0)
    assert not wet.has("told_flow", 2, FEW, 0)
    without.steerer("quick_flow", 2, FEW, 0)
    assert sunny.has("quick_flow", 2, FEW, 0)
    settings = EffectSettings(pairs=280, select=0, test=12)
    arms = [Arm.of("caa"), Arm.of("told_flow")]
    one, other = (
        effect_study("kept", replace(settings, concept=words), [2], arms, {"kl": (0.03,)}).keyed
        for words in ("", "sunny days")
    )
    assert [x.key == y.key for x, y in zip(one, other, strict=True)] == [True, True, False]


def test_another_process_may_be_done_first_and_a_damaged_training_is_refused(
    material, quick_flow, monkeypatch, tmp_path
):
    ours, texts = Trained(material.model, tmp_path), FEW
    own = ode.METHODS["quick_flow"]

    def overtaken(course, seed=0):
        monkeypatch.setitem(ode.METHODS, "quick_flow", own)
        ours.steerer("quick_flow", 2, texts, 0)
        return own.train(course, seed)

    monkeypatch.setitem(ode.METHODS, "quick_flow", replace(own, train=overtaken))
    found = ours.steerer("quick_flow", 2, texts, 0)
    assert quick_flow == [2, 2]
    (kept,) = tmp_path.iterdir()  # and nothing half written beside it
    assert ode.Steerer.load(kept).provenance == found.provenance
    (kept / "tensors.safetensors").write_bytes((kept / "tensors.safetensors").read_bytes()[:-1])
    with pytest.raises(StoreError, match="or delete it: it is trained anew then"):
        ours.steerer("quick_flow", 2, texts, 0)


def test_processes_of_a_study_train_a_method_once(material, quick_flow, tmp_path):
    """The material of each is made anew, as in processes and reruns; what is kept costs nothing any more."""
    settings = EffectSettings(pairs=20, select=0, test=3, max_new_tokens=1, measures=("expense",), cross_fit=True)
    arm, given = Arm.of("quick_flow"), Given(material.model)
    study = keeping(effect_study("kept", settings, [2], [arm], {"angle": (0.1,)}, given=given), tmp_path)
    first, second = study.context(), study.context()
    before = estimate(second, study.cells, 2, 1).tokens
    spent = first.layer(2).expense(arm)
    assert quick_flow == [2]
    assert second.layer(2).expense(arm) == spent
    rows = measure(second, study.cells[1])
    assert rows["fit_seconds"].unique().tolist() == [spent.seconds]
    assert quick_flow == [2]
    assert estimate(second, study.cells, 2, 1).tokens < before


def test_cells_of_former_studies_are_still_found():
    """Keys as they were before there were paths, expenses and other fractions: finished cells are not run again."""
    settings = EffectSettings(pairs=280, select=0, test=12)
    study = effect_study("kept", settings, [2], [Arm.of("caa")], {"kl": (0.03,)})
    assert [cell.key for cell in study.keyed] == ["07250e4f26bdf182", "0ed1b9407de94d69"]
    other = replace(settings, fractions=(0.3, 0.2, 0.4, 0.1))
    assert effect_study("kept", other, [2], [Arm.of("caa")], {"kl": (0.03,)}).digest != study.digest


def test_what_cannot_be_measured_is_refused_before_a_model_is_loaded(tmp_path):
    with pytest.raises(ValueError, match="'path' stands in the place of 'geometry'"):
        EffectSettings(measures=("path", "geometry"))
    with pytest.raises(ValueError, match="sum to no more than 1"):
        EffectSettings(fractions=(0.5, 0.5, 0.5, 0.1))
    rows = [{"positive": f"good {i}", "negative": f"bad {i}", "group": i % 100} for i in range(320)]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    settings = EffectSettings(contrast=str(file), outcome="length", select=0, test=12)
    with pytest.raises(ValueError, match="leaves 15 texts a class to calibrate on"):
        Plan.of(settings)
    parts = Plan.of(replace(settings, fractions=(0.3, 0.2, 0.4, 0.1))).parts
    assert [len({*part.positive_groups}) for part in parts] == [30, 20, 40, 10]


# --- end to end


@pytest.fixture(scope="module")
def concept(tmp_path_factory):
    """A concept of the embedded model, as the concepts' command writes them."""
    words = {"positive": [" the happy dog", " a kind girl"], "negative": [" the sad dog", " a mean girl"]}
    folder = write_concept(tmp_path_factory.mktemp("concepts") / "valence", 110, ode.organism.prompts(6, 0), words)
    (folder / "concept.json").write_text(json.dumps({"name": "valence", "concept": "kind and happy words"}))
    return folder


def test_trained_and_fitted_methods_are_audited_alike(concept, quick_flow, tmp_path, capsys):
    config = AuditConfig(concept, "organism", 2, ("caa", "quick_flow"), (), (0.03,), 6, 4, out=tmp_path)
    assert main(replace(config, dry_run=True)) == 0
    assert "11 cells" not in capsys.readouterr().out  # five arms at one level, and nothing: six
    assert main(config) == 0
    printed = capsys.readouterr().out
    (report,) = (tmp_path / "valence").glob("*/report")
    assert json.loads((report / "run.json").read_text())["concept"] == "kind and happy words"
    assert len(list(report.parent.glob("trained/*/steerer.json"))) == len(quick_flow) == 1
    found = pd.read_parquet(report / "audit.parquet")
    made = found.drop_duplicates("method").set_index("method")["made"].to_dict()
    assert made == {"unsteered": "", "caa": "fitted", "quick_flow": "trained", "random": "fitted",
                    "odesteer_kernel, ten Euler steps": "fitted", "odesteer_kernel, one step": "fitted"}  # fmt: skip
    wide = found.query("budget == 'kl'").pivot(index="method", columns="measure", values="value")
    assert wide["tokens of training data"].nunique() == 1
    more = wide["tokens read in fitting"] / wide["tokens of training data"]
    assert (more.drop("quick_flow") == 1).all()
    assert more["quick_flow"] > 1
    assert (wide[["curvature of the path, 1/rad"]].loc[["caa", "odesteer_kernel, one step"]] < 1e-4).all().all()
    assert wide.loc["odesteer_kernel, ten Euler steps", "curvature of the path, 1/rad"] > 0.01
    assert wide.loc["quick_flow", "steps taken"] == 3
    assert (wide["processor time of a token"] > 0).all()
    wanted = ("change of log p+, nats", "off the data", "gain at the last layer, nats", "steps admissible for h",
              "AUC of h", "success", "change of the score from unsteered",
              "log-likelihood of the text, nats a token")  # fmt: skip
    for name in wanted:
        assert wide[name].notna().all(), name
    ends = found[found["low"].notna()]
    assert ((ends["low"] <= ends["value"]) & (ends["value"] <= ends["high"])).all()
    assert (found.query("measure == 'success'")["n"] == 6).all()
    said = equal_budget(found)
    assert said.startswith("Equal budget: every method, trained or fitted, was given the same")
    assert said in printed
    assert list(summary(found, "kl", 0.03).index.names) == ["method", "made"]
    assert (report / "audit.md").exists()


def test_unequal_budgets_are_said():
    rows = pd.DataFrame({"prompt": [0, 1] * 2, "split": "test", "layer": 2, "label": ["caa"] * 2 + ["pca"] * 2,
                         "method": ["caa"] * 2 + ["pca"] * 2, "budget": "kl", "level": 0.1, "success": True,
                         "data_tokens": [100] * 2 + [200] * 2, "token_cost": 1.0})  # fmt: skip
    assert equal_budget(audit(rows)).startswith("WARNING: methods were given 100 to 200 tokens")
    assert equal_budget(audit(rows.drop(columns="data_tokens"))) == ""


def test_a_method_of_heads_has_no_path_here(material):
    arm = Arm.of("iti_heads")
    cell = {"layer": 2, "label": arm.label, "method": arm.method, "solver": arm.solver, "steps": arm.steps,
            "budget": "kl", "level": 0.03}  # fmt: skip
    rows = measure(material, cell).assign(**cell)
    assert "path_curvature" not in rows
    assert {"data_tokens", "token_cost", "kl"} <= set(rows)
    found = audit(rows)
    assert "tokens of training data" in set(found["measure"])
    assert "share explained by the chord" not in set(found["measure"])
