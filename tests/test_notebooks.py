"""The notebooks: source and notebook are one, they run from end to end, and what is committed was run."""

import json
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import pytest

from notebooks import build

SOURCES = build.sources()
NAMES = [source.stem for source in SOURCES]


def committed(source):
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def outputs(notebook):
    return [x for cell in notebook.cells if cell.cell_type == "code" for x in cell.outputs]


def kinds(notebook):
    """What each code cell shows, by type."""
    return [[(x.output_type, *sorted(x.get("data", {}))) for x in cell.outputs]
            for cell in notebook.cells if cell.cell_type == "code"]  # fmt: skip


def check_outputs(notebook):
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert not [x for x in outputs(notebook) if x.output_type == "error" or x.get("name") == "stderr"]
    assert sum("image/png" in x.get("data", {}) for x in outputs(notebook)) >= 3
    assert sum("text/html" in x.get("data", {}) for x in outputs(notebook)) >= 1


def test_there_are_three():
    assert [name[:2] for name in NAMES] == ["01", "02", "03"]


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_source_and_notebook_are_in_step(source):
    pair, notebook = build.read(source), committed(source)
    nbformat.validate(notebook)
    assert notebook.metadata["jupytext"]["formats"] == "ipynb,py:percent"
    assert [(c.cell_type, c.source, c.id) for c in notebook.cells] == [
        (c.cell_type, c.source, c.id) for c in pair.cells
    ]


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_what_is_committed_was_run_and_names_no_machine(source):
    notebook = committed(source)
    check_outputs(notebook)
    for output in outputs(notebook):
        for key in [k for k in output.get("data", {}) if k.startswith("image/")]:
            del output["data"][key]
    text = json.dumps(notebook)
    assert not re.search(r"/(home|root|work|tmp|Users|opt)/", text)
    assert len(text) < 100_000
    assert f"blob/main/notebooks/{source.stem}.ipynb" in text


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_it_runs_from_end_to_end(source, tmp_path):
    found = build.execute(build.read(source), tmp_path)
    check_outputs(found)
    assert kinds(found) == kinds(committed(source))
    assert list(tmp_path.iterdir()) == []  # a reader's folder is left as it was


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_one_variable_switches_the_model(source, shared):
    path = str(shared / "models" / "TinyStories-656K")
    cells = [cell.source for cell in build.read(source).cells if cell.cell_type == "code"]
    script = "\n".join(cells)
    assert script.count('MODEL = "organism"') == 1
    mpl.use("agg")
    names = {"display": lambda shown: shown._repr_html_(), "__name__": "__main__"}
    exec(compile(script.replace('MODEL = "organism"', f"MODEL = {path!r}"), source.name, "exec"), names)
    assert names["model"].cfg.d_model == 128
    assert len(plt.get_fignums()) >= 3
    plt.close("all")
