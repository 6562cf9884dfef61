"""What a stranger gets: the wheel's contents, an import outside the checkout, and lazy names that all resolve."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

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
    package = ROOT / "odesteer_tl"
    kinds = (".py", ".pyi", ".safetensors")
    sources = {str(p.relative_to(ROOT)) for p in package.rglob("*") if p.suffix in kinds}
    assert sources <= names
    assert {"odesteer_tl/py.typed", "odesteer_tl/organism/weights/config.json"} <= names
    assert all(n.startswith("odesteer_tl/") and "__pycache__" not in n for n in names)
    info = next(n for n in wheel.namelist() if n.endswith("/METADATA"))
    assert "licenses/LICENSE" in " ".join(wheel.namelist())
    assert b"Requires-Python: >=3.11" in wheel.read(info)


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
