"""Installs wheel and sdist where a stranger would, in fresh environments outside the checkout, and steers there.

`make dist-check`, or `python -m tests.dist_check 3.12` for some of it. Every environment downloads torch: some GB, and
minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: the newest versions tested with, and the oldest that the package allows: TransformerLens 4 and 3.9
NEWEST, FLOORS = "constraints.txt", "constraints-floors.txt"
#: on the embedded model, which is part of the package
SMOKE = """
import sys
from importlib.metadata import version
from pathlib import Path
import odesteer_tl as ode
assert Path(ode.__file__).is_relative_to(sys.prefix), ode.__file__
model = ode.load_model("organism")
contrast = ode.organism.contrast("valence", 60, 0)
steerer = ode.fit("odesteer_kernel", model, contrast, layer=2, angle=0.3)
(text,) = steerer.generate(model, ["the old cat"], max_new_tokens=5, temperature=0.0)
assert text.startswith("the old cat ") and len(text.split()) > 3, text
print(f"odesteer_tl {ode.__version__}, transformer-lens {version('transformer-lens')}: {text}")
"""


@dataclass(frozen=True)
class Variant:
    """What is installed, and where.

    Attributes:
        python: its version.
        built: "whl" or "tar.gz".
        constraints: file of pinned versions.
    """

    python: str
    built: str = "whl"
    constraints: str = NEWEST

    def __str__(self) -> str:
        return f"Python {self.python}, {self.built}, {self.constraints}"


VARIANTS = (
    Variant("3.11"),
    Variant("3.11", "tar.gz"),
    Variant("3.11", constraints=FLOORS),
    Variant("3.12"),
    Variant("3.13"),
)


def interpreter(version: str) -> str | None:
    """A Python of that version: of the path, or of pyenv; None where there is none that starts."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"{version}.*/bin/python{version}")))]
    for name in filter(None, found):
        told = subprocess.run([name, "--version"], capture_output=True, text=True)
        if told.returncode == 0 and told.stdout.startswith(f"Python {version}."):
            return name
    return None


def tried(variant: Variant, dist: Path, at: Path) -> bool:
    """Whether the installed package steers; its environment is in `at`. Without the Python it does not."""
    name = interpreter(variant.python)
    if name is None:
        print(f"FAILED: {variant}: no python{variant.python} on the path or in pyenv; install it", flush=True)
        return False
    (file,) = dist.glob(f"*.{variant.built}")
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    own, limits = str(at / "env" / "bin" / "python"), ["--constraint", str(ROOT / variant.constraints)]
    pip = [own, "-m", "pip", "install", "--quiet"]
    for command in (
        [name, "-m", "venv", str(at / "env")],
        [*pip, "--upgrade", "pip>=25"],
        [*pip, *limits, "torch"],
        [*pip, *limits, str(file)],
        [own, "-c", SMOKE],
    ):
        if subprocess.run(command, cwd=at, env=env).returncode:
            print(f"FAILED: {variant}: {' '.join(command[1:4])}", flush=True)
            return False
    print(f"passed: {variant}", flush=True)
    return True


def main(named: list[str]) -> int:
    """Build, and try every variant whose description holds one of these words; 1 if any fails."""
    chosen = [variant for variant in VARIANTS if not named or any(word in str(variant) for word in named)]
    if not chosen:
        print(f"{named} names none of: {'; '.join(map(str, VARIANTS))}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        dist, passed = Path(folder) / "dist", True
        subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(ROOT)], check=True)
        for variant in chosen:
            with tempfile.TemporaryDirectory(dir=folder) as at:  # an environment at a time: each takes some GB
                passed &= tried(variant, dist, Path(at))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
