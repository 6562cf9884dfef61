"""Figures: what is drawn can be read in print, is the same bytes again, and says where it comes from."""

import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
import warnings
import zlib
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

import figures
from figures import captions, kept
from figures.__main__ import FiguresConfig, main
from figures.audit import draw_audit
from figures.audited import PANELS as AUDITED
from figures.audited import draw_audited
from figures.catalogue import FIGURES
from figures.certified_layers import draw_certified_layers
from figures.drawing import COLUMN, PAGE, Drawing, IllegibleWarning
from figures.flow import PATHS
from figures.frontier import draw_frontier
from figures.layers import RING, draw_layers
from figures.legible import faults
from figures.looks import KNOWN, LOOKS, PLACEBO, REST, highlighted, looks
from figures.reference import LINES, nats
from figures.rows import APART, Panel, draw_rows
from odesteer_tl import stats

NAMES = [name for name in LINES if name not in ("unsteered", "real positives")]
METHODS = ["odesteer", "odesteer_kernel", "caa", "random", *(f"method_{i:02d}" for i in range(21))]
RUN = {"model": {"name": "tiny", "n_layers": 5, "d_model": 64, "fingerprint": "f00"}, "layer": 3,
       "commit": f"{'abc1234' * 5}abcde+changes", "versions": {"odesteer_tl": "0.1.0"},
       "contrast": {"source": "organism", "concept": "valence"},
       "settings": {"declared": 0.4, "strengths": [0.2, 0.4]},
       "found": {"answer": "caa, layer 3 is within 0.050 of the best."}}  # fmt: skip


def interval(values: pd.Series | np.ndarray, half: float) -> dict[str, np.ndarray]:
    return {"low": np.asarray(values) - half, "high": np.asarray(values) + half}


def certification() -> dict[str, pd.DataFrame]:
    angles = np.array([0.1, 0.5, 1.0, 2.0, 5.0])
    rows = [pd.DataFrame({"integrator": name, "layer": layer, "angle": angles, "n": 200, "norm_ratio": 1 + angles / 9,
                          **{f"{quantity}{end}": np.clip(angles / 5 + shift, 0, 1)
                             for quantity in ("violating", "saturation")
                             for end, shift in (("", 0), ("_low", -0.05), ("_high", 0.05))}})
            for name in ("euler", "geodesic", "certified") for layer in (0, 1, 2)]  # fmt: skip
    return {"strengths": pd.concat(rows)}


def likelihood() -> dict[str, pd.DataFrame]:
    rng, strengths = np.random.default_rng(0), np.linspace(0, 1.2, 25)
    quantities = ("log_positive", "log_negative", "rank", "tied_log_ratio", "h_calibrated")
    curves = [pd.DataFrame({"method": m, "quantity": q, "strength": strengths, "n": 150,
                            "center": (y := 0.5 * np.exp(-k * strengths) if q == "rank" else k * strengths - 40),
                            **interval(y, 3.0)})
              for k, m in enumerate(NAMES) for q in quantities]  # fmt: skip
    sides = [{"side": side, "quantity": q, "mean": m, "q25": m - 1, "q75": m + 2, "n": 140 + k}
             for k, side in enumerate(("positive", "negative"))
             for q, m in zip(quantities, (-40 - k, -41 + k, 0.5 - k / 4, 2 - 4 * k, 3 - k), strict=True)]  # fmt: skip
    summary = pd.DataFrame({"method": NAMES, "t_star": 0.25, "t_star_low": 0.125, "t_star_high": 0.5})
    names = ["method", "strength", "prompt", "token"]
    grid = pd.MultiIndex.from_product([NAMES, [0.2, 0.4], range(30), range(-1, 4)], names=names)
    cells = grid.to_frame(index=False)
    tokens = cells.assign(state=1, **{q: rng.normal(size=len(cells)) for q in quantities})
    texts = cells.query("token == 0").drop(columns="token")
    states = ("tokens_log_positive", "tokens_h_calibrated")
    texts = texts.assign(score=rng.uniform(size=len(texts)), **{q: rng.normal(size=len(texts)) for q in states})
    return {"curves": pd.concat(curves), "references": pd.DataFrame(sides), "summary": summary, "tokens": tokens,
            "texts": texts}  # fmt: skip


def success(seed: int, index: pd.DataFrame) -> pd.DataFrame:
    s = np.random.default_rng(seed).uniform(0.05, 0.95, len(index))
    return index.assign(success=s, success_low=s - 0.05, success_high=s + 0.05, n=200)


def levels(columns: dict[str, list]) -> pd.DataFrame:
    parts = [pd.MultiIndex.from_product([*columns.values(), [budget], grid], names=[*columns, "budget", "level"])
             for budget, grid in (("angle", [0.2, 0.4]), ("kl", [0.25, 1.0]))]  # fmt: skip
    return pd.concat(part.to_frame(index=False) for part in parts)


def layers() -> pd.DataFrame:
    return success(1, levels({"method": METHODS, "layer": list(range(7))})).assign(kl=0.5)


def frontier() -> pd.DataFrame:
    table = success(2, levels({"method": METHODS})).assign(concept="valence", layer=2)
    kl = table["level"] * 1.5
    return table.assign(kl=kl, kl_low=kl - 0.1, kl_high=kl + 0.1, parses=1 - table["level"] / 3)


def audit() -> pd.DataFrame:
    names = {**dict.fromkeys(METHODS, "fitted"), "trained_vector": "trained", "learned_flow": "trained"}
    cells = [(name, made, 0.03 * (1 + k)) for name, made in names.items() for k in range(3)]
    rows = pd.DataFrame(cells, columns=["method", "made", "level"]).assign(budget="kl", layer=2)
    plain = pd.DataFrame([{"method": "unsteered", "made": "", "level": 0.0, "budget": "none", "layer": -1}])
    rows = pd.concat([plain, rows], ignore_index=True)
    value = np.random.default_rng(4).uniform(0.1, 0.9, len(rows))
    found = rows.assign(measure="success", value=value, **interval(value, 0.05), n=100)
    short = rows[rows["method"] == "learned_flow"].assign(
        measure="budget reached", value=0.5, **interval([0.5] * 3, 0.1)
    )
    return pd.concat([found, short.assign(n=100)], ignore_index=True)


def demo() -> dict[str, pd.DataFrame]:
    names = ["unsteered", "caa", "odesteer", "ODESteer, kernel + geodesic"]
    index = pd.MultiIndex.from_product([names, [0.7, 1.0]], names=["method", "temperature"]).to_frame(index=False)
    outcomes = success(3, index)
    outcomes = outcomes.assign(parses=0.9, parses_low=0.85, parses_high=0.95)
    angles = np.linspace(0, 1.2, 13)
    paths = [pd.DataFrame({"method": m, "angle": angles, "median": angles * k, **interval(angles * k, 0.1), "n": 200})
             for k, m in enumerate(["bound on any steering", *names[1:]], start=10)]  # fmt: skip
    top = pd.DataFrame({"method": ["ceiling"], "angle": 0.0, "median": 20.0, "n": 200})
    return {"table": outcomes, "paths": pd.concat([*paths, top])}


def flow() -> dict[str, pd.DataFrame]:
    side = np.linspace(-2.3, 2.3, 31)
    x, y = (g.ravel() for g in np.meshgrid(side, side))
    grid = pd.DataFrame({"x": x, "y": y, "h": -((x - 1) ** 2) - (y - 1) ** 2, "vx": 1 - x, "vy": 1 - y})
    t = np.linspace(0, 1, 11)
    plane = [pd.DataFrame({"method": m, "step": step, "x": t + step, "y": k * (t + step) / 9, "off": 0.01 * k,
                           "angle": t + step, "h": k * (t + step), "verdict": verdict})
             for k, m in enumerate(PATHS)
             for step, verdict in enumerate(("certified", "refuted"))]  # fmt: skip
    best = pd.DataFrame({"angle": t * 2, "bound": 5 * t})
    marks = pd.DataFrame({"mark": ["start", "ceiling"], "x": [0.0, 1.0], "y": [0.0, 1.0], "h": [0.0, 5.0]})
    return {"grid": grid, "plane": pd.concat(plane), "best": best, "marks": marks}


def race() -> dict[str, pd.DataFrame]:
    candidates = pd.DataFrame(
        {"candidate": ["unsteered", *(f"caa, layer {i}" for i in range(6))], "layer": [np.nan, *range(6)]}
    )
    rows = [
        {"turn": r, "cost": (r + 1) / 40, "candidate": f"caa, layer {layer}", "block": r // 3, "layer": float(layer),
         "level": 0.1 * (1 + layer % 3), "leader": f"caa, layer {min(r, 3)}", "standing": 7 - r // 4}
        for r in range(20) for layer in ((r % 6), 3)
    ]  # fmt: skip
    return {"race": pd.DataFrame(rows), "candidates": candidates}


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Tables of every figure, each in a folder of its own, with the record of its run."""
    folder = tmp_path_factory.mktemp("results")
    tables = {"certification/valence": certification(), "likelihood/valence/layer-3": likelihood(), "flow": flow(),
              "layers": {"layers": layers()}, "methods": {"frontier": frontier()}, "demo": demo(),
              "search": race(), "audit": {"audit": audit()}}  # fmt: skip
    for place, found in tables.items():
        (folder / place).mkdir(parents=True)
        (folder / place / "run.json").write_text(json.dumps(RUN))
        for name, table in found.items():
            if place == "demo":
                table.to_csv(folder / place / f"{name}.csv", index=False)
            else:
                table.to_parquet(folder / place / f"{name}.parquet", index=False)
    return folder


@pytest.fixture(scope="module")
def drawn(results, tmp_path_factory) -> Path:
    """All figures of the catalogue; one that cannot be read is an error."""
    out = tmp_path_factory.mktemp("figures")
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("error", IllegibleWarning)
        patch.setattr(kept, "KEPT", {})
        main(FiguresConfig(results, out))
    return out


def files(folder: Path, end: str) -> list[Path]:
    return sorted(folder.rglob(f"*{end}"))


def test_every_figure_has_its_four_files(drawn):
    for end in (".pdf", ".png", "_caption.txt", "_data.csv"):
        assert {f.name.removesuffix(end) for f in files(drawn, end)} == {entry.name for entry in FIGURES}


def test_pdfs_are_of_print_width_with_truetype_fonts_of_six_points_and_more(drawn):
    for file in files(drawn, ".pdf"):
        content = file.read_bytes()
        assert b"/Type3" not in content, file
        (box,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ", content)
        assert float(box) / 72 in (COLUMN, PAGE), file
        # an account of the sizes that is not the drawing library's own: those the page sets its text in
        packed = re.findall(rb"/FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
        streams = [zlib.decompress(s) for s in packed if s[:1] == b"x"]
        sizes = [float(size) for s in streams for size in re.findall(rb"/\S+ ([\d.]+) Tf", s)]
        assert sizes, file
        assert min(sizes) >= 6, (file, min(sizes))


def test_captions_say_n_model_and_commit(drawn):
    for file in files(drawn, "_caption.txt"):
        text = " ".join(file.read_text().split())
        assert "Model: tiny (5 layers, d = 64, fingerprint f00)." in text, file
        assert "commit abc1234abc12+changes." in text, file
        assert "{" not in text, file
        assert "N = " in text, file
    text = " ".join((drawn / "likelihood" / "valence" / "layer-3" / "likelihood_caption.txt").read_text().split())
    assert "N = 150 test prompts" in text
    assert "caa, geodesic 0.25 [0.12, 0.50]" in text
    assert "positives (N = 140) and negatives (N = 141)" in text


def test_the_data_beside_a_figure_are_the_table(results, drawn):
    table = pd.read_parquet(results / "methods" / "frontier.parquet")
    pd.testing.assert_frame_equal(pd.read_csv(drawn / "methods" / "frontier_data.csv"), table, rtol=1e-7)
    means = pd.read_csv(drawn / "likelihood" / "valence" / "layer-3" / "tokens_data.csv")
    tokens = pd.read_parquet(results / "likelihood" / "valence" / "layer-3" / "tokens.parquet")
    row = means.query("method == 'caa, geodesic' and quantity in ('rank', 'log_positive')").iloc[0]
    x = tokens.query("method == 'caa, geodesic' and strength == 0.4 and token == @row.token")[row["quantity"]]
    assert row["mean"] == pytest.approx(x.mean())
    found = stats.mean(x.to_numpy(), resamples=1000)
    assert (row["low"], row["high"]) == pytest.approx((found.low, found.high))


#: `python -m figures` without what stands in the checkout, which the documents' tests draw and compare
ALONE = """import runpy; from figures.kept import KEPT; KEPT.clear()
runpy.run_module("figures", run_name="__main__", alter_sys=True)"""


def test_another_process_draws_the_same_bytes(results, drawn, tmp_path):
    command = [sys.executable, "-c", ALONE, "--results", str(results), "--out", str(tmp_path)]
    root = Path(__file__).parents[1]
    subprocess.run(command, check=True, capture_output=True, cwd=root, env={**os.environ, "PYTHONHASHSEED": "7"})
    first = {f.relative_to(drawn): f.read_bytes() for f in drawn.rglob("*") if f.is_file()}
    again = {f.relative_to(tmp_path): f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    assert first.keys() == again.keys()
    assert [str(name) for name in first if first[name] != again[name]] == []


def test_a_search_kept_under_former_names_is_drawn(results, drawn, tmp_path):
    folder = tmp_path / "former"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(RUN))
    for name, table in race().items():
        old = table.rename(columns={"candidate": "arm", "turn": "round"})
        old.to_parquet(folder / f"{'arms' if name == 'candidates' else name}.parquet")
    (entry,) = (entry for entry in FIGURES if entry.name == "race")
    entry.drawn(folder).save(tmp_path)
    assert (tmp_path / "race.png").read_bytes() == (drawn / "search" / "race.png").read_bytes()
    assert "among 7 candidates" in (tmp_path / "race_caption.txt").read_text()


def test_no_two_lines_look_the_same():
    names = [*KNOWN, *(f"mine {k}" for k in range(40))]
    found = looks(names)
    assert list(found) == names
    others = [str(found[name]) for name in names if name not in KNOWN]
    assert len(set(others)) == 40
    assert not set(others) & {str(look) for look in KNOWN.values()}


def test_what_has_no_table_is_left_out_and_said(results, tmp_path, capsys, monkeypatch):
    """And what is drawn from kept tables stands in the checkout, wherever the others go."""
    places = []
    monkeypatch.setattr(kept, "KEPT", {"peaks": places.append, "regret": pytest.fail})
    (tmp_path / "demo").symlink_to(results / "demo")
    main(FiguresConfig(results / "demo", tmp_path / "out", only=("outcomes", "layers", "peaks")))
    assert places == [kept.OUT]
    said = capsys.readouterr().out
    assert said.startswith(f"peaks: figures, from analyses/measured\n{tmp_path / 'out' / 'outcomes.pdf'}\n")
    assert "1 drawn; " in said
    assert "layers: left out, no layers.parquet" in said
    assert "analyses.layer_effectiveness" in said
    assert not files(tmp_path / "out", "layers.pdf")


def test_a_clone_without_results_draws_what_is_kept(tmp_path, capsys, monkeypatch):
    places = []
    monkeypatch.setattr(kept, "KEPT", {"peaks": places.append})
    monkeypatch.chdir(tmp_path)
    main(FiguresConfig())
    assert places == [kept.OUT]
    said = capsys.readouterr().out
    assert "0 drawn; " in said
    assert said.count(": left out, no ") == len(FIGURES)


def test_unknown_names_and_folders_are_refused(results, tmp_path):
    with pytest.raises(ValueError, match=r"only=\['x'\] names no figure; choose from flow"):
        main(FiguresConfig(results, tmp_path, only=("x",)))
    with pytest.raises(ValueError, match="is no folder"):
        main(FiguresConfig(tmp_path / "none", tmp_path))


def test_faults_are_found():
    figure = plt.figure(figsize=(2, 2))
    assert faults(figure) == []
    figure.text(0.5, 0.5, "one")
    figure.text(0.52, 0.5, "other")
    figure.text(0.1, 0.1, "small", fontsize=5.9)
    figure.text(0.1, 0.8, "$p_+$", fontsize=8)
    figure.text(0.95, 0.3, "cut off")
    axis = figure.add_axes((0.3, 0.6, 0.5, 0.1), xticks=[0, 5], xticklabels=["in", "out of view"], xlim=(0, 1))
    axis.set_yticks([])
    axis.set_title("nothing", fontsize=6)
    covered = figure.add_axes((0.2, 0.2, 0.5, 0.2), xticks=[], yticks=[])
    covered.plot([0, 1], [0, 1], label="a line")
    covered.set_title("(a)", loc="left", fontsize=6)
    covered.legend(loc="upper right")
    plt.close(figure)
    assert sorted(faults(figure)) == sorted(
        ["'one' and 'other' overlap", "'small' is 5.9 pt, under 6", "'$p_+$' is 5.6 pt, under 6",
         "'cut off' is cut off by the edge", "panel 'nothing' is empty", "title '(a)' says nothing",
         "the legend of panel '(a)' is on its lines"])  # fmt: skip


def test_an_illegible_figure_is_written_with_a_warning(tmp_path):
    figure = plt.figure()
    figure.text(0.5, 0.5, "x", fontsize=4)
    with pytest.warns(IllegibleWarning, match=r"f: 'x' is 4.0 pt"):
        written = Drawing(figure, "f", "c", pd.DataFrame({"x": [1 / 3]})).save(tmp_path)
    assert not plt.fignum_exists(figure.number)
    assert [f.name for f in written] == ["f.pdf", "f.png", "f_caption.txt", "f_data.csv"]
    assert written[3].read_text() == "x\n0.33333333\n"


#: every function of `figures` that draws
DRAWING = [function for module in pkgutil.iter_modules(figures.__path__, "figures.")
           for name, function in inspect.getmembers(importlib.import_module(module.name), inspect.isfunction)
           if name.startswith("draw_") and function.__module__ == module.name]  # fmt: skip


@pytest.mark.parametrize("draw", DRAWING, ids=lambda draw: draw.__name__)
def test_what_draws_takes_the_place_and_writes_nothing(draw):
    found = inspect.signature(draw)
    assert "out" not in found.parameters
    if found.return_annotation == "Drawing":
        place = found.parameters["figure"]
        assert (place.kind, place.default) == (place.KEYWORD_ONLY, None)
    else:  # what several share, to fill a place that they have made
        assert next(iter(found.parameters)) in ("figure", "ax")


def test_every_figure_that_can_be_written_is_drawn_by_such_a_function():
    own = {draw.__name__ for draw in DRAWING if inspect.signature(draw).return_annotation == "Drawing"}
    listed = [*(entry.draw for entry in FIGURES), *(getattr(draw, "func", draw) for draw in kept.DRAWS.values())]
    assert {draw.__name__ for draw in listed} == own


@pytest.mark.parametrize("entry", FIGURES, ids=lambda entry: entry.name)
def test_a_figure_is_drawn_into_a_place_of_a_page_of_ones_own(results, tmp_path, entry):
    """Beside what stands there, with letters of its own size; the page keeps its size, and is its owner's to save."""
    (folder,) = entry.folders(results)
    own = Figure(figsize=(7.5, 9.0), layout="constrained")
    above, below = own.subfigures(2, 1)
    beside = above.subplots()
    drawing = replace(entry, draw=partial(entry.draw, figure=below)).drawn(folder)
    assert drawing.figure is below
    assert drawing.axes == below.axes != []
    assert beside not in drawing.axes
    assert tuple(own.get_size_inches()) == (7.5, 9.0)
    with pytest.raises(ValueError, match=r"figure= is a SubFigure.*\.savefig"):
        drawing.save(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    own.draw_without_rendering()
    for axes, size in ((drawing.axes, 7.0), ([beside], 10.0)):
        labels = [
            label for axis in axes for of in (axis.xaxis, axis.yaxis) for label in of.get_ticklabels(which="both")
        ]
        assert {label.get_size() for label in labels} == {size}


def test_a_drawing_shows_in_a_notebook_once():
    opened = plt.get_fignums()
    drawing = draw_audit(audit())
    with Image.open(BytesIO(drawing._repr_png_())) as picture:
        assert picture.width == round(150 * PAGE)
    assert plt.get_fignums() == opened  # what pyplot holds, a notebook shows by itself
    assert draw_audit(audit(), figure=plt.figure().subfigures())._repr_png_() is None
    plt.close()


def test_each_method_in_colour_has_a_panel_where_its_interval_is_the_only_one():
    """Not seven bars on one point, nor a fan of lines to names; the unsteered model stands in every panel."""
    plain = {"method": "unsteered", "budget": "none", "level": 0.0, "layer": -1}
    of_layers, of_methods = (pd.concat([table, table.iloc[:1].assign(**plain)]) for table in (layers(), frontier()))
    shown = (draw_layers(of_layers), 4), (draw_frontier(of_methods), 4), (draw_audit(audit()), 1)
    for drawing, rows in shown:
        panels = [axis for axis in drawing.axes if len(axis.lines) > 5]
        colours = [axis.get_title(loc="left").replace("\n", "") for axis in panels[: len(panels) // rows]]
        assert len(panels) == rows * len(set(colours)) == rows * len(LOOKS)
        for axis in panels:
            assert any(line.get_color() == "black" and line.get_linestyle() == ":" for line in axis.lines)
            assert sum(line.get_color() not in ("black", REST["color"], PLACEBO["color"]) for line in axis.lines) == 1
            assert len(axis.collections) <= 1
            assert not axis.texts


@pytest.mark.parametrize("along", ["x", "y"])
@settings(deadline=None, max_examples=25)
@given(low=st.floats(-1e6, -2.0), high=st.floats(-1.0, 900.0))
def test_log_likelihoods_are_told_apart_near_the_data_and_far_from_it(along, low, high):
    figure, axis = plt.subplots()
    far = nats(axis, [low, high], along)
    ticks, view = (axis.get_xticks(), axis.get_xlim()) if along == "x" else (axis.get_yticks(), axis.get_ylim())
    plt.close(figure)
    assert view[0] <= low <= high <= view[1]
    assert far == (low <= -10_000)
    if far:
        assert 3 <= len(ticks) <= 5
        assert (np.asarray(ticks) >= view[0]).all()
        place = axis.transScale.transform  # a hundred nats at the data are as wide as thousands far off
        at = [place((x, x))[int(along == "y")] for x in (-100.0, 0.0, low, 0.95 * low)]
        assert at[1] - at[0] > 0.5 * (at[3] - at[2])


def test_few_methods_are_in_colour_the_known_ones_always_in_the_same():
    looks = highlighted({name: float(i) for i, name in enumerate(METHODS)})
    assert list(looks) == [*METHODS[:4], *METHODS[-1:-4:-1]]
    assert looks["caa"] == KNOWN["caa"] == LINES["caa, geodesic"]
    assert len({str(look) for look in looks.values()}) == len(looks) == len(LOOKS) + 1
    assert list(highlighted({"a": 0.1, "b": 0.2})) == ["b", "a"]
    # nor has another the colour of one that is known, where this is not drawn
    assert not {look["color"] for look in highlighted({"a": 0.1, "b": 0.2}).values()} & {
        look["color"] for look in KNOWN.values()
    }
    # told apart without colour
    assert len({(str(look["ls"]), look["marker"]) for look in (*LOOKS, PLACEBO)}) == len(LOOKS) + 1


def test_a_layer_where_nothing_was_certified_keeps_its_place():
    """A concept's layer 0 read nothing: the columns of the others stand over their own AUC."""
    own = {"model": "m", "concept": "c"}
    layers = pd.DataFrame({**own, "layer": range(4), "auc": 0.9, "auc_low": 0.8, "auc_high": 1.0})
    angles = pd.DataFrame([{**own, "layer": layer, "angle": angle, "violating": layer / 10, "n": 9}
                           for layer in (1, 2, 3) for angle in (0.1, 0.5)])  # fmt: skip
    heat, reads = draw_certified_layers(angles, layers, {"c": "(a) rain"}).axes[:2]
    shown = heat.images[0].get_array()
    assert shown.mask[:, 0].all()
    assert shown[0, 1:].tolist() == [0.1, 0.2, 0.3]
    assert heat.get_xlim() == reads.get_xlim()
    assert heat.get_title("left") == "(a) rain, m"


def drawn_layers(table: pd.DataFrame, out: Path, **more) -> tuple[list, str]:
    """Panels of `draw_layers` by the label of their row, those without a label left out, and the caption; legible."""
    drawing = draw_layers(table, **more)
    with warnings.catch_warnings():
        warnings.simplefilter("error", IllegibleWarning)
        drawing.save(out)
    caption = " ".join((out / "layers_caption.txt").read_text(encoding="utf-8").split())
    return [axis for axis in drawing.axes if axis.get_ylabel()], caption


def unsteered(table: pd.DataFrame, **values) -> pd.DataFrame:
    """The table with a row of the unsteered model before it."""
    first = table.iloc[:1].assign(method="unsteered", budget="none", level=0.0, layer=-1, **values)
    return pd.concat([first, table])


def test_a_row_a_strength_and_none_twice(tmp_path):
    few = layers().query("method in ['caa', 'method_03'] and layer < 4")
    for shown, rows in ((few.query("budget == 'kl'"), ["0.25 nats", "1 nats"]),
                        (few.query("level == 0.2"), ["0.2 rad"])):  # fmt: skip
        panels, caption = drawn_layers(unsteered(shown), tmp_path)
        assert [axis.get_ylabel() for axis in panels] == [f"success\n{row}" for row in rows]
        assert "In colour: caa; method_03. In grey: nothing." in caption
    assert "a row has one strength, an angle (rad)" in caption


def test_thirty_layers_or_one_are_legible_and_both_baselines_are_named(tmp_path):
    names = ["random, geodesic", "caa", "odesteer_kernel"]
    table = success(1, levels({"method": names, "layer": list(range(30))}))
    panels, caption = drawn_layers(unsteered(table), tmp_path)
    assert "Black, dotted: the unsteered model" in caption
    assert "In colour: caa; odesteer_kernel. In grey: random, geodesic (crosses)." in caption
    (legend,) = panels[0].figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["unsteered, 95 % interval", "random, geodesic (placebo)", "the other methods"]
    assert "in grey the other methods (lines) and the placebo (crosses)." in caption
    drawn_by_layer = panels[0].figure.axes
    assert [bool(axis.xaxis.get_tick_params()["labelbottom"]) for axis in drawn_by_layer] == [False] * 6 + [True] * 2
    # no title tells it from others
    alone, caption = drawn_layers(unsteered(table.query("method != 'odesteer_kernel'")), tmp_path)
    (legend,) = alone[0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["caa, 95 % interval", *names[:2]]
    assert "in grey the placebo" in caption


def test_methods_against_kl_can_show_the_change_of_the_score_of_which_unsteered_is_0():
    effect = "change of the score from unsteered"
    table = audit().query("method != 'unsteered'").replace({"measure": {"success": effect}})
    with pytest.raises(ValueError, match="table has no success at a level of KL"):
        draw_audit(table)
    drawing = draw_audit(table, measure=effect)
    axis = drawing.axes[0]
    assert axis.get_ylabel() == "change of score"
    assert [line.get_ydata()[0] for line in axis.lines if line.get_linestyle() == ":" and len(line.get_xdata()) == 2
            and line.get_color() == "black"] == [0.0]  # fmt: skip
    assert drawing.caption.startswith("Change of the score from unsteered at equal KL")


def test_what_was_chosen_has_a_ring_in_the_panel_of_its_method_and_strength(tmp_path):
    names = ["random, geodesic", "caa", "odesteer_kernel", *(f"method_{i}" for i in range(6))]
    table = success(1, levels({"method": names, "layer": [8, 14, 20]}))
    picked = pd.DataFrame({"label": names[:3], "layer": [8, 14, 20], "budget": "kl",
                           "level": [1.0, 0.25, 1.0]})  # fmt: skip
    panels, caption = drawn_layers(unsteered(table), tmp_path, chosen=picked)
    rings = [(axis, *line.get_xydata()[0]) for axis in panels[0].figure.axes for line in axis.lines
             if line.get_markerfacecolor() == "none" and line.get_markersize() == RING["ms"]]  # fmt: skip
    cells = table.set_index(["method", "budget", "level", "layer"])["success"]
    chosen = [("caa", "kl", 0.25, 14), ("odesteer_kernel", "kl", 1.0, 20)]
    assert [(x, y) for _, x, y in rings] == [(cell[-1], cells[cell]) for cell in chosen]
    assert (
        "Chosen on the select prompts (ringed): caa at layer 14 and 0.25 nats; odesteer_kernel at layer 20 and 1 nats."
        in caption
    )
    places = [axis.get_subplotspec() for axis, *_ in rings]
    first = [axis for axis in panels[0].figure.axes if axis.get_title("left")]
    titles = {axis.get_subplotspec().colspan.start: axis.get_title("left") for axis in first}
    assert [titles[place.colspan.start] for place in places] == ["caa", "odesteer_\nkernel"]
    labels = {panel.get_subplotspec().rowspan.start: panel.get_ylabel() for panel in panels}
    assert [labels[place.rowspan.start] for place in places] == ["success\n0.25 nats", "success\n1 nats"]
    grey = caption.partition("In grey: ")[2].partition(".")[0].split("; ")[-1]
    assert grey.startswith("method_")
    said = drawn_layers(unsteered(table), tmp_path / "grey", chosen=picked.assign(label=grey))[1]
    assert "(ringed where in colour)" in said


def test_all_that_is_drawn_of_fluency_is_in_its_panel_and_each_of_few_layers_has_its_number(tmp_path):
    """A second strength whose texts lose far more than the first's."""
    names = ["random, geodesic", "caa", "odesteer_kernel"]
    table = success(1, levels({"method": names, "layer": [8, 14, 20, 24]}))
    table = table.assign(log_likelihood=-1.5 - 0.01 * table["layer"] - 2 * (table["level"] == table["level"].max()))
    panels, _ = drawn_layers(unsteered(table).fillna({"log_likelihood": -1.3}), tmp_path)
    seen = [axis for axis in panels if axis.get_ylabel().startswith("fluency")]
    assert len(seen) == 4
    for axis in seen:
        low, high = axis.get_ylim()
        assert all(low <= y <= high for line in axis.lines for y in line.get_ydata())
        assert (low, high) == seen[0].get_ylim()
        axis.figure.draw_without_rendering()
        assert axis.get_xticks().tolist() == [8, 14, 20, 24]


def test_few_layers_stand_apart_and_the_placebo_has_its_interval(tmp_path):
    """Nothing is drawn between layers that were not steered at; side by side, of one layer too."""
    names = ["random, geodesic", "caa", "odesteer_kernel", *(f"method_{i}" for i in range(6))]
    table = success(1, levels({"method": names, "layer": [8, 14, 20]}))
    panels, caption = drawn_layers(unsteered(table), tmp_path)
    assert "in grey the other methods (dots) and the placebo (crosses, with its intervals)." in caption
    (legend,) = panels[0].figure.legends
    *ranged, others = (text.get_text() for text in legend.get_texts())
    assert all("95 % interval" in name for name in ranged)
    assert others == "the other methods"
    for axis in panels:
        bars = {to_hex(bar.get_color()[0]): bar for bar in axis.collections}
        assert len(bars) == 2
        assert all(len(bar.get_segments()) == 3 for bar in bars.values())
        axis.figure.draw_without_rendering()
        at = {line.get_color(): line.get_transform().transform((8, 0.5))[0] for line in axis.lines}
        assert at[PLACEBO["color"]] < at[REST["color"]] < max(at[colour] for colour in bars)
        assert {line.get_linestyle() for line in axis.lines if line.get_color() != "black"} == {"None"}
    panels, _ = drawn_layers(table.query("layer == 8"), tmp_path)
    assert [[len(bar.get_segments()) for bar in axis.collections] for axis in panels] == [[1, 1]] * 4
    panels, caption = drawn_layers(success(1, levels({"method": names, "layer": list(range(6))})), tmp_path)
    assert "the placebo (crosses)." in caption
    assert [len(axis.collections) for axis in panels] == [1] * 4


def test_axes_end_where_the_numbers_do(tmp_path):
    """Three layers at one level, nothing near one half: intervals and unsteered are seen whole, and success is said."""
    names = ["random, geodesic", "caa", "odesteer_kernel"]
    table = success(1, levels({"method": names, "layer": [8, 16, 24]})).query("budget == 'angle' and level == 0.2")
    table = table.assign(success=table["success"] / 4)
    table = table.assign(success_low=table["success"] - 0.01, success_high=table["success"] + 0.05)
    (panel,), caption = drawn_layers(unsteered(table, success_high=0.41), tmp_path, outcome="judge.py:shouts")
    low, high = panel.get_ylim()
    assert 0.41 < high < 0.5
    assert low < 0
    assert "Success (share of prompts; judge: judge.py:shouts), by the layer steered at" in caption


def test_where_success_has_no_room_the_score_is_drawn(tmp_path):
    """What the report says of the ceiling; with its interval, and both baselines. Of yes and no there is no score."""
    names = ["random, geodesic", "caa"]
    table = success(1, levels({"method": names, "layer": [8, 16]})).assign(score=lambda rows: 9 * rows["success"])
    table = table.assign(score_low=table["score"] - 1, score_high=table["score"] + 1)
    high = {"success": 0.99, "success_low": 0.95, "success_high": 1.0, "score": 4.0}
    panels, caption = drawn_layers(unsteered(table, **high), tmp_path)
    assert [axis.get_ylabel().split("\n")[0] for axis in panels] == ["score"] * 4
    assert caption.startswith("The mean score, by the layer steered at")
    assert "Success tells little here" in caption
    assert len({axis.get_ylim() for axis in panels}) == 1  # strengths are compared
    for axis in panels:
        assert ("black", 4.0) in [(line.get_color(), line.get_ydata()[0]) for line in axis.lines]
        assert PLACEBO["color"] in [line.get_color() for line in axis.lines]
        assert len(axis.collections) == 2  # of the score the intervals too
    middling = {"success": 0.5, "success_low": 0.4, "success_high": 0.6, "score": 4.0}
    for shown in (unsteered(table, **middling),
                  unsteered(table, **high).assign(score=lambda rows: rows["success"])):  # fmt: skip
        panels, caption = drawn_layers(shown, tmp_path)
        assert {axis.get_ylabel().split("\n")[0] for axis in panels} == {"success"}
        assert "nothing apart" not in caption
    low = unsteered(table, success=0.0, success_low=0.0, success_high=0.04, score=0.0)
    assert drawn_layers(low, tmp_path)[0][0].get_ylabel().startswith("success")  # it can rise, and does
    assert drawn_layers(low.assign(success=0.0, success_low=0.0, success_high=0.04), tmp_path)[1].startswith("The mean")


def test_fluency_stands_below_success_with_both_baselines_in_every_panel(tmp_path):
    """Where texts were written; on as many layers as a real model has."""
    names = ["random, geodesic", "caa", "odesteer_kernel", "on_manifold", "a method of one's own"]
    table = success(1, levels({"method": names, "layer": list(range(30))})).assign(log_likelihood=-2.5)
    panels, caption = drawn_layers(unsteered(table, success=0.52, log_likelihood=-2.25), tmp_path)
    for label, value in (("success", 0.52), ("fluency", -2.25)):
        lines = [axis for axis in panels if axis.get_ylabel().startswith(label)]
        assert len(lines) == 4, label  # one a strength
        for axis in lines:
            drawn = [(line.get_color(), *np.unique(line.get_ydata())[:1]) for line in axis.lines]
            assert ("black", value) in drawn
            assert PLACEBO["color"] in {color for color, *_ in drawn}
    low, high = panels[1].get_ylim()
    assert high - low == pytest.approx(0.5)  # a tenth of a nat is no abyss
    assert "the mean log-likelihood of a text's tokens under the unsteered model" in caption


def test_a_frontier_is_of_one_concept_and_of_a_budget():
    both = pd.concat([frontier(), frontier().assign(concept="agreement")])
    with pytest.raises(ValueError, match="concepts agreement, valence; draw one"):
        draw_frontier(both)
    for draw, table in ((draw_frontier, frontier()), (draw_layers, layers())):
        with pytest.raises(ValueError, match="one of angle, kl"):
            draw(table.assign(budget="none"))


def test_rows_stand_in_the_order_of_their_names_and_several_marks_apart():
    rows = pd.DataFrame([(name, series, x, x - 0.1, x + 0.2) for x, name in enumerate("ab") for series in ("p", "q")],
                        columns=["name", "series", "value", "low", "high"])  # fmt: skip
    looks = {"p": LOOKS[0], "q": LOOKS[1]}
    alone = rows.query("(name == 'a') == (series == 'p')")
    for drawn, apart in ((rows, APART / 2), (alone, 0.0)):
        (axis,) = draw_rows(Figure(), ["b", "a"], [Panel(drawn, "x", reference=0.5)], looks)
        reference, *lines = (line for line in axis.lines if len(line.get_xdata()))
        assert set(reference.get_xdata()) == {0.5}
        found = {(line.get_color(), x): y for line in lines for x, y in zip(*line.get_data(), strict=True)}
        places = [(LOOKS[0]["color"], 0, -1 + apart), (LOOKS[1]["color"], 1, -apart)]
        assert [found[color, x] for color, x, _ in places] == pytest.approx([y for *_, y in places])


@pytest.mark.parametrize("level", [0.03, 0.5])
def test_an_audit_is_drawn_of_a_level_that_it_has(level):
    """What methods are compared at is in the table; the largest effect is on top, and the placebo is no method."""
    table = pd.concat([audit().assign(measure=measure) for measure in AUDITED])
    if level not in set(table["level"]):
        with pytest.raises(ValueError, match=r"nothing at level=0\.5 of KL; there are"):
            draw_audited(table, level, "tiny")
        return
    drawn = draw_audited(table, level, "tiny").data
    assert set(drawn["measure"]) == set(AUDITED)
    assert set(drawn["level"]) == {level}


def test_a_source_says_what_it_lacks(tmp_path):
    assert "not recorded" in captions.source(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"contrast": "some.csv", "model": "m"}))
    assert captions.source(tmp_path) == "Model: m. Contrast: some.csv. Code: commit not recorded."
    (tmp_path / "run.json").write_text(json.dumps({"model": {"name": "weights", "d_model": 128}}))
    assert captions.source(tmp_path).startswith("Model: the embedded model (d = 128).")
    assert captions.written(tmp_path) == ""
    (tmp_path / "run.json").write_text('{"model": "smollm2", "temperature": 0, "max_new_tokens": 20}')
    assert captions.source(tmp_path).startswith("Model: SmolLM2.")
    assert captions.written(tmp_path) == "Texts: greedy, up to 20 tokens. "
    (tmp_path / "run.json").write_text('{"temperature": 0.7, "max_new_tokens": 9, "prompts": "openers"}')
    assert captions.written(tmp_path) == "Texts: sampled at temperature 0.7, up to 9 tokens after prompts of openers. "
    assert captions.counts([200, 200]) == "200"
    assert captions.counts([3, 1]) == "1 to 3"
