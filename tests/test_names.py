"""Names: the former ones still work and say so, results give frames, and objects show what they are."""

import dataclasses
import importlib
import importlib.util
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import analyses
import odesteer_tl as ode
from analyses.effects.audit import made
from odesteer_tl import stats
from odesteer_tl._display import Result
from odesteer_tl.certify.population import rate_bound
from odesteer_tl.methods.flas import concept_flow
from tests.problems import activations, random_quadratic

ROOT = Path(__file__).parents[1]
FORMER = "is the former name of"
CONTRAST = ode.organism.contrast("valence", n=8)


@pytest.fixture(scope="module")
def path():
    q = random_quadratic(6, 0)
    return q, ode.Flow(angle=0.3, steps=4).solve(ode.BarrierField(q), activations(3, 6), record=True)


def test_the_former_name_of_a_flow_s_solver():
    with pytest.warns(DeprecationWarning, match=f"method= {FORMER} solver") as told:
        old = ode.Flow(angle=0.2, steps=3, method="euler")
    assert told[0].filename == __file__
    assert old == ode.Flow(angle=0.2, steps=3, solver="euler")
    with pytest.warns(DeprecationWarning, match=f"Flow.method {FORMER} solver"):
        assert old.method == "euler"
    with pytest.raises(ValueError, match=r"method='euler' beside solver='rk4'.*give solver alone"):
        ode.Flow(angle=0.2, solver="rk4", method="euler")


def test_the_former_names_of_positions(organism):
    new = ode.fit("caa", organism, CONTRAST, 1, angle=0.1, read_position="mean", steer_position="all")
    with pytest.warns(DeprecationWarning, match=FORMER) as told:
        old = ode.fit("caa", organism, CONTRAST, 1, angle=0.1, position="mean", positions="all")
    assert sorted(str(w.message).split()[0] for w in told) == ["position=", "positions="]
    assert old.positions == new.positions == "all"
    assert torch.equal(old.field.given, new.field.given)
    with pytest.warns(DeprecationWarning, match=f"position= {FORMER} read_position") as told:
        old = ode.collect_activations(organism, CONTRAST, [1], position="mean")
    assert told[0].filename == __file__
    new = ode.collect_activations(organism, CONTRAST, [1], read_position="mean")
    assert torch.equal(old[1].positive, new[1].positive)
    few = ode.Training(steps=1)
    for function, given in (
        (ode.train, (ode.fields.ConstantField(torch.ones(organism.cfg.d_model)), organism, CONTRAST, 1)),
        (concept_flow, (organism, {"glad": CONTRAST}, 1)),
    ):
        with (
            pytest.warns(DeprecationWarning, match=f"positions= {FORMER} steer_position"),
            pytest.raises(ValueError, match="steer_position='middle'"),
        ):
            function(*given, positions="middle", training=few)


def test_how_a_method_is_made_is_one_word_in_the_library_the_audit_and_the_findings():
    """Trained is through the model; what learns a network from activations alone is fitted, as in the findings."""
    frame = ode.METHODS.frame().set_index("method")["made"]
    through = {name for name, method in ode.METHODS.items() if method.train is not None}
    assert through == set(frame.index[frame == "trained"]) == {n for n, m in ode.METHODS.items() if m.trained}
    assert {made(name) for name in through} == {"trained"}
    assert {made(name) for name in frame.index if name not in through} == set(frame[frame != "trained"]) == {"fitted"}
    said = {}
    for page in ("trained", "trained-axbench"):
        text = (ROOT / "docs" / "findings" / f"{page}.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| `(\w+)`[^|]* \| (trained|fitted) \|", text, re.MULTILINE)
        assert len(rows) > 40, page
        said |= {name: word for name, word in rows if name in frame.index}
    assert {"hpr", "lf_steering", "re_control", "riser", "truthflow", "flas"} <= set(said)
    assert said == frame[list(said)].to_dict()


def test_positions_are_refused_under_their_own_names(organism, unchecked):
    for wrong in ("read_position", "steer_position"):
        with pytest.raises(ValueError, match=f"{wrong}='middle'"):
            ode.fit("caa", organism, CONTRAST, 1, angle=0.1, **{wrong: "middle"})


def test_a_steerer_saved_under_the_former_name_is_read(organism, tmp_path):
    steerer = ode.fit("odesteer_kernel", organism, CONTRAST, 1, angle=0.1, solver="rk4")
    steerer.save(tmp_path / "s")
    file = tmp_path / "s" / "steerer.json"
    content = json.loads(file.read_text())
    content["flow"]["method"] = content["flow"].pop("solver")
    file.write_text(json.dumps({**content, "format": 3}))
    assert ode.Steerer.load(tmp_path / "s").flow == steerer.flow


def modules():
    for found in pkgutil.walk_packages(ode.__path__, "odesteer_tl."):
        if "organism.train" not in found.name and "jupyter" not in found.name:
            yield importlib.import_module(found.name)


def showing():
    """Modules that may define results: all of the package and of the analyses but what runs when it is imported."""
    yield from modules()
    yield importlib.import_module("odesteer_tl.jupyter.tokens")
    for found in pkgutil.walk_packages(analyses.__path__, "analyses."):
        if not found.name.endswith("__main__"):
            text = Path(importlib.util.find_spec(found.name).origin).read_text(encoding="utf-8")
            if "_repr_html_" in text or "(Result)" in text:
                yield importlib.import_module(found.name)


def test_every_result_has_a_frame():
    """A frozen class that a computation returns: what is fitted, run, or given to one is none."""
    given = {"Flow", "Steerer", "Composition", "Method", "Prefix", "DensityPair", "SparseAutoencoder", "Condition"}
    seen = set()
    for module in showing():
        for name, kind in vars(module).items():
            if not inspect.isclass(kind) or kind.__module__ != module.__name__ or name.startswith("_"):
                continue
            seen.add(name)
            shown = dataclasses.is_dataclass(kind) and (
                hasattr(kind, "_repr_html_")
                or name.endswith(("Certificate", "Result", "Report", "Study"))
                or module.__name__.startswith(("odesteer_tl.stats", "odesteer_tl.densities"))
            )
            if shown and name not in given | {"Splits"}:
                assert callable(getattr(kind, "frame", None)), f"{module.__name__}.{name}"
    assert seen >= {"WholeCertificate", "BenchmarkResult", "ProbeResult", "LayerReport", "ColoredTokens", "Answer"}


def test_frames_hold_the_numbers(path):
    q, solved = path
    frame = solved.frame()
    assert list(frame.columns[:4]) == ["step", "row", "norm", "angle"]
    assert len(frame) == 5 * 3
    at = frame.query("step == 2 and row == 1").iloc[0]
    u, v = (x / x.norm() for x in (solved.points[0, 1].double(), solved.points[2, 1].double()))
    assert at["angle"] == pytest.approx(float(torch.acos(u @ v)), abs=1e-6)
    assert at["norm"] == pytest.approx(float(solved.points[2, 1].norm()), rel=1e-6)
    assert isinstance(frame, pd.DataFrame)
    brief = dataclasses.replace(solved, points=None).frame()
    assert list(brief.columns) == ["row", "norm", "stationary"]

    proof = ode.certify_path(q, solved)
    steps = proof.frame()
    assert torch.equal(torch.tensor(steps["certified"].to_numpy()).reshape(4, 3), proof.certified)
    assert steps.query("step == 3 and row == 2")["angle"].item() == float(proof.angle[3, 2])
    whole = ode.certify.certify_whole(q, solved, level=-9.0)
    table = whole.frame()
    assert table["of"].drop_duplicates().tolist() == ["steps", "level", "start"]
    assert table.query("of == 'steps'")["certified"].tolist() == steps["certified"].tolist()
    assert table.query("of == 'start'")["margin"].tolist() == whole.start.margin.tolist()
    assert "PathCertificate" in repr(whole)
    assert ode.certify_level(q, solved).frame()["margin"].tolist() == ode.certify_level(q, solved).margin.tolist()
    written = ode.certify_written(q, solved.points[0], solved.end)
    assert written.frame()["rise"].tolist() == written.rise.tolist()
    cap = ode.cap_bound(q, activations(3, 6), 0.2)
    assert cap.frame()["gap"].tolist() == cap.gap.tolist()
    assert ode.ceiling(q).frame()["bound"].item() == ode.ceiling(q).bound
    land = ode.landscape(q)
    assert land.frame()["value"].tolist() == land.values.tolist()
    assert ode.certify.certified_radius(q, activations(2, 6), -9.0).frame().shape == (2, 4)
    one = ode.Flow(angle=0.1).solve(ode.BarrierField(q), activations(1, 6)[0])
    assert one.frame()["row"].tolist() == [0]


def test_frames_of_statistics_and_texts(organism):
    found = stats.mean([1.0, 2.0, 4.0, 3.0, 5.0, 2.0])
    assert found.frame().iloc[0].to_dict() == vars(found)
    flat = stats.equivalence([0.0, 1.0] * 20, [0.0, 1.0] * 20, 0.3).frame()
    assert {"difference", "low", "high", "n", "margin", "pvalue", "equivalent"} == set(flat.columns)
    band = stats.mean_band(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)).numpy())
    assert band.frame()["center"].tolist() == band.center.tolist()
    assert rate_bound([True, False, False]).frame()["violations"].item() == 1
    texts = CONTRAST.frame()
    assert texts.query("`class` == 'negative'")["text"].tolist() == list(CONTRAST.negative)
    acts = ode.collect_activations(organism, CONTRAST, layers=[1, 2])
    norms = acts.frame().query("layer == 2 and `class` == 'positive'")["norm"]
    assert torch.allclose(torch.tensor(norms.to_numpy()), acts[2].positive.norm(dim=-1))


def test_methods_show_themselves():
    assert isinstance(ode.METHODS, Result)
    table = ode.METHODS.frame()
    assert table["method"].tolist() == sorted(ode.METHODS)
    assert (table["idea"].str.split().str.len().between(3, 7)).all()
    text, html = repr(ode.METHODS), ode.METHODS._repr_html_()
    for name, method in ode.METHODS.items():
        assert any(line.startswith(name) and line.endswith(method.idea) for line in text.splitlines())
        assert f">{name}</th>" in html
    assert "great circles" in repr(ode.METHODS["odesteer_kernel"])


def test_a_field_of_one_s_own_shows_itself_without_more_to_write():
    class Still(ode.VectorField):
        d_model, median_norm = 3, None

        def __call__(self, a):
            return 0 * a

        def dump(self):
            return {}, {}

        @classmethod
        def load(cls, settings, tensors):
            return cls()

    assert repr(Still()) == "Still(width: 3, speed: 1, keeps the norm: False)"


def test_fields_and_steerers_show_what_they_are(organism):
    field = ode.ConstantField(torch.tensor([0.0, 3.0]))
    assert repr(field) == "ConstantField(width: 2, length: 3, median norm: None, speed: 1, keeps the norm: False)"
    assert "QuadraticBarrier" in repr(ode.BarrierField(random_quadratic(4, 0)))
    assert repr(ode.BarrierField(ode.KernelBarrier())) == (
        f"BarrierField(barrier: {ode.KernelBarrier()!r}, speed: 1, keeps the norm: True)"
    )
    steerer = ode.fit("caa", organism, CONTRAST, 1, angle=0.1)
    assert "ConstantField(width: " in repr(steerer)
    assert "<table>" in steerer.field._repr_html_()
    assert "ConstantField" in steerer._repr_html_()


def test_the_pictures_are_there_after_one_import():
    code = (
        "import odesteer_tl as ode, sys; assert 'matplotlib' not in sys.modules; print(ode.jupyter.plot_path.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "plot_path", done.stderr
