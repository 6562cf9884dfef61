"""What is saved can be read by whom the umask lets, and is there whole or not at all."""

import os

import pandas as pd
import pytest

import odesteer_tl as ode
from odesteer_tl._folder import new_file, new_folder
from odesteer_tl.interchange import write_control_vector


@pytest.fixture(params=[0o022, 0o002, 0o027], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(path):
    return {x: x.stat().st_mode & 0o777 for x in (path, *path.rglob("*"))}


def test_everything_that_is_saved_follows_the_umask(organism, umask, tmp_path):
    from analyses.runs import save_run
    from analyses.sweep import run
    from tests import sweep_cells

    contrast = ode.organism.contrast("valence", n=5)
    steerer = ode.fit("caa", organism, contrast, layer=1, T=1.0, solver="euler", steps=1)
    out = tmp_path / "out"
    out.mkdir()
    steerer.save(out / "steerer")
    ode.compose([steerer]).save(out / "composition")
    ode.collect_activations(organism, contrast, [1], cache=out / "cache")
    write_control_vector(out / "vector.gguf", [steerer], "llama")
    save_run(out / "run", {"table": pd.DataFrame({"x": [1]})}, {"seed": 0})
    run(sweep_cells.study(), out / "sweep", progress=False)
    found = modes(out)
    assert {path.suffix for path in found} >= {".safetensors", ".json", ".gguf", ".parquet"}
    for path, mode in found.items():
        assert mode == (0o777 if path.is_dir() else 0o666) & ~umask, path.name


def half(opened, name):
    with opened as part:
        (part / name if name else part).write_text("half")
        raise RuntimeError


def test_a_file_is_whole_or_what_it_was(tmp_path):
    file = tmp_path / "x"
    file.write_text("before")
    with pytest.raises(RuntimeError):
        half(new_file(file), "")
    assert file.read_text() == "before"
    with new_file(file) as part:
        part.write_text("after")
    assert [x.read_text() for x in tmp_path.iterdir()] == ["after"]


def test_a_folder_is_whole_or_not_there(tmp_path):
    with pytest.raises(RuntimeError):
        half(new_folder(tmp_path / "x"), "y")
    assert not list(tmp_path.iterdir())
