"""What a stranger gets: the wheel's contents, an import outside the checkout, and lazy names that all resolve."""

import ast
import itertools
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import odesteer_tl as ode
from tests import dist_check

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """Wheel and sdist, built without a network."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def wheel(dist) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(dist.glob("*.whl")))


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = {n for n in wheel.namelist() if ".dist-info/" not in n}
    files = (p for p in (ROOT / "odesteer_tl").rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    assert names == {p.relative_to(ROOT).as_posix() for p in files}
    assert {"odesteer_tl/py.typed", "odesteer_tl/organism/weights/model.safetensors"} <= names
    info = next(n for n in wheel.namelist() if n.endswith("/METADATA"))
    assert "licenses/LICENSE" in " ".join(wheel.namelist())
    assert b"Requires-Python: >=3.11" in wheel.read(info)


def test_one_version_stands_in_package_citation_and_changelog():
    version = ode.__version__
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert next(line for line in changes.splitlines() if line.startswith("## [")).startswith(f"## [{version}] - 20")


def test_the_extras_are_those_promised(wheel):
    info = wheel.read(next(n for n in wheel.namelist() if n.endswith("/METADATA"))).decode()
    extras = {line.removeprefix("Provides-Extra: ") for line in info.splitlines() if line.startswith("Provides-Extra")}
    assert {"analysis", "dask", "dev", "docs", "figures", "gguf", "notebooks", "slurm"} <= extras


def test_the_sdist_can_be_tested(dist):
    (file,) = dist.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {n.split("/", 1)[1] for n in archive.getnames() if "/" in n}
    wanted = {"Makefile", "constraints.txt", "constraints-floors.txt", "tests/conftest.py", "analyses/demo.py",
              "docs/conf.py", "CITATION.cff", "LICENSE", "README.md"}  # fmt: skip
    assert wanted <= names
    assert not any(n.startswith(("results/", ".venv/", ".git/")) for n in names)


def imported(*folders: Path) -> set[str]:
    """The top-level modules that the files of these folders import, wherever in them."""
    found = set()
    for file in itertools.chain.from_iterable(folder.rglob("*.py") for folder in folders):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - {"odesteer_tl", "analyses", "figures"}


def declared(*extras: str) -> set[str]:
    """The distributions that these extras ask for, with those every installation has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = sum((project["optional-dependencies"][extra] for extra in extras), project["dependencies"])
    return {canonicalize_name(Requirement(line).name) for line in asked}


@pytest.mark.parametrize(
    ("folders", "extras"),
    [
        (("odesteer_tl",), ("analysis", "figures", "gguf")),
        (("analyses", "figures"), ("analysis", "figures", "dask", "slurm")),
    ],
)
def test_what_is_imported_is_asked_for(folders, extras):
    """Not only brought along by another package, whose next release may drop it."""
    distributions = packages_distributions()
    for name in imported(*(ROOT / folder for folder in folders)):
        assert {canonicalize_name(d) for d in distributions[name]} & declared(*extras), name


def test_the_base_imports_without_any_extra():
    """Modules that need an extra import it when it is used, `jupyter` (which says so) apart."""
    optional = {name for name, asked in packages_distributions().items()
                if not {canonicalize_name(d) for d in asked} & declared()}  # fmt: skip
    for file in (ROOT / "odesteer_tl").rglob("*.py"):
        if "jupyter" not in file.parts:
            top = [n for n in ast.parse(file.read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)]
            names = {n.module or "" if isinstance(n, ast.ImportFrom) else n.names[0].name for n in top}
            assert not {name.split(".")[0] for name in names} & (optional - sys.stdlib_module_names), file


def test_every_floor_that_is_asked_for_is_the_one_tried():
    """`constraints-floors.txt` is what was run, so the metadata may not promise less or more."""
    lines = (ROOT / "constraints-floors.txt").read_text().splitlines()
    tried = {r.name: r for r in map(Requirement, (line for line in lines if line and not line.startswith("#")))}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for wanted in map(Requirement, project["dependencies"]):
        (floor,) = (Version(s.version) for s in wanted.specifier if s.operator == ">=")
        (pinned,) = (Version(s.version) for s in tried[wanted.name].specifier)
        assert pinned == floor, wanted


def test_the_wheel_runs_outside_the_checkout(dist, tmp_path):
    """Installed beside nothing of the checkout: the model is in the wheel, and one line fits and steers."""
    target = tmp_path / "site"
    zipfile.ZipFile(next(dist.glob("*.whl"))).extractall(target)
    code = (
        "import odesteer_tl as ode\n"
        f"assert ode.__file__.startswith({str(target)!r}), ode.__file__\n"
        "model, contrast = ode.load_model(), ode.organism.contrast('valence', n=20)\n"
        "steerer = ode.fit('caa', model, contrast, layer=2, angle=0.3)\n"
        "assert len(steerer.generate(model, ode.organism.prompts(2), max_new_tokens=4)) == 2\n"
    )
    env = {"PYTHONPATH": str(target), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, odesteer_tl; print({'torch', 'scipy', 'sklearn', 'pandas', 'transformer_lens'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_check_of_what_is_built_fails_where_a_python_is_missing(tmp_path, monkeypatch, capsys):
    called = []
    monkeypatch.setattr(dist_check, "interpreter", lambda version: called.append(version))
    monkeypatch.setattr(dist_check.subprocess, "run", lambda *_, **__: None)  # nothing is built
    assert dist_check.main(["3.12"]) == 1
    assert called == ["3.12"]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("FAILED: Python 3.12, whl, constraints.txt: no python3.12 on the path or in pyenv")
