"""The README's example runs as written; tables of the documents are those that were measured."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import odesteer_tl as ode
from analyses.demonstration import for_reading
from analyses.measured.__main__ import FOLDER, LARGEST, MeasuredConfig, kept
from analyses.measured.__main__ import main as keep
from figures.paths import draw_paths
from tests.documents import MARK, marked, plain, unmeasured

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "analyses" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
TABLES = [(file, *table) for file in DOCUMENTS for table in marked(file)]


def test_the_ten_lines_run_as_written():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 12
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    assert re.search(r"steps certified: 200 of 200.*steps refuted: 0 of 200", out.getvalue()), out.getvalue()


def test_the_table_is_the_measured_one():
    assert for_reading(kept("demo")) in README


def test_what_is_said_of_the_table_holds():
    table = kept("demo")
    assert set(table["n"]) == {500}
    for _, rows in table.groupby("temperature"):
        caa, kernel = (rows[rows["method"] == name].iloc[0] for name in ("CAA", "ODESteer, kernel + geodesic"))
        assert caa["angle_asked"] == kernel["angle_asked"] == 0.4  # "where both chose 0.4 rad"
        assert caa["success_low"] <= kernel["success"] <= caa["success_high"]
        assert kernel["success_low"] <= caa["success"] <= kernel["success_high"]
    assert set(table["layer"].dropna()) == {3}
    chosen = table["angle_asked"].dropna()
    assert f"chose {chosen.min():g} to {chosen.max():g}" in README


def test_the_picture_is_drawn_from_the_numbers_kept(tmp_path):
    paths = kept("demo-paths")
    assert set(paths.query("method != 'ceiling'")["n"]) == {200}
    last = paths[paths["angle"] == paths["angle"].max()].set_index("method")["median"]
    steered = last[["CAA", "ODESteer as published", "ODESteer, kernel + geodesic"]]
    assert (steered.idxmin(), steered.idxmax()) == ("CAA", "ODESteer, kernel + geodesic")  # "lowest", "highest in h"
    draw_paths(paths, tmp_path)
    drawn, shown = (np.asarray(Image.open(f).convert("L"), dtype=float)
                    for f in (tmp_path / "paths.png", ROOT / "figures" / "demo-paths.png"))  # fmt: skip
    assert drawn.shape == shown.shape
    assert np.abs(drawn - shown).mean() < 1  # of 255: other versions draw letters by other pixels


@pytest.mark.parametrize(("file", "name", "cells"), TABLES, ids=[f"{f.parent.name}/{f.name}-{n}" for f, n, _ in TABLES])
def test_tables_are_what_was_measured(file, name, cells):
    assert unmeasured(cells, kept(name)) == []


def test_the_changelog_says_what_importing_was_measured_to_cost():
    seconds = kept("imports").set_index("statement")["seconds"].map("{:.2f} s".format)
    text = (ROOT / "CHANGELOG.md").read_text()
    assert f"({seconds['import odesteer_tl']} against {seconds['import transformer_lens']}" in text
    assert f"bridge included, {seconds['every public name of odesteer_tl']};" in text


def test_every_mark_is_above_a_table_and_every_kept_table_is_used():
    text = "".join(file.read_text() for file in DOCUMENTS)
    assert text.count("<!-- measured: ") == len(MARK.findall(text)) + text.count("<!-- measured: NAME -->")
    assert {name for _, name, _ in TABLES} == {file.stem for file in FOLDER.glob("*.csv")} - {"demo", "demo-paths"}


def test_a_number_that_was_not_measured_is_found():
    rows = pd.DataFrame({"value": [0.5125, 0.7], "low": [0.48, 0.6], "high": [0.55, 0.8], "n": [200, 200]})
    cells = ["0.512 [0.48, 0.55]", "**0.70**", "\N{MINUS SIGN}0.7", "0.512 [0.48, 0.80]", ".7 of 200, a = 0.9",
             "layer-2, 95 % d4"]  # fmt: skip
    # 0.5125 is 0.512 and 0.513 to three digits; an interval's three numbers stand in one row
    assert unmeasured([plain(cell) for cell in cells], rows) == ["-0.7", "0.512 [0.48, 0.80]", "0.9"]
    assert unmeasured(["0.513"], rows) == []


def test_a_table_is_kept_with_its_commit(tmp_path, monkeypatch):
    monkeypatch.setattr("analyses.measured.__main__.FOLDER", tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        pd.DataFrame({"x": [1, 2], "y": 1 / 3}).to_parquet(tmp_path / name / "t.parquet")
    (tmp_path / "a" / "run.json").write_text(f'{{"commit": "{"0123456789" * 4}+changes"}}')
    keep(MeasuredConfig("t", (tmp_path / "a" / "t.parquet", tmp_path / "b" / "t.parquet"), "x > 1", ("table", "y")))
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0].endswith("a/t.parquet: commit 012345678901+changes")
    assert lines[1].endswith("commit not recorded")
    assert lines[2:] == ["table,y", f"{tmp_path.name}/a,0.333333", f"{tmp_path.name}/b,0.333333"]
    assert kept("t")["y"].tolist() == [0.333333] * 2
    pd.DataFrame({"x": range(LARGEST)}).to_csv(tmp_path / "large.csv")
    with pytest.raises(ValueError, match=f"over {LARGEST}; narrow them"):
        keep(MeasuredConfig("large", (tmp_path / "large.csv",)))


def test_the_commands_and_files_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^)make ([\w-]+)", README, flags=re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_number_of_methods_named_is_that_of_the_registry():
    assert abs(len(ode.METHODS) - int(re.search(r"some (\d+) methods", README)[1])) <= 5
