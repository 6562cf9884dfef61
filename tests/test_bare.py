"""Steerers where there is neither TransformerLens nor transformers nor pandas: loaded, solved, certified, the same."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import odesteer_tl as ode
from odesteer_tl.fields import FIELDS

ROOT = Path(__file__).parents[1]
BARE = """
import sys
from tests.bare import go_bare
go_bare()
import torch
from safetensors.torch import load_file
import odesteer_tl as ode
from odesteer_tl.fields import FIELDS
import odesteer_tl.hooks, odesteer_tl.positions, odesteer_tl.levels
import odesteer_tl.serving.hook, odesteer_tl.serving.checks
folder = sys.argv[1]
given = load_file(f"{folder}/given.safetensors")
for name in sys.argv[2:]:
    steerer = ode.Steerer.load(f"{folder}/{name}")
    path = steerer.flow.solve(steerer.field, given["a"], record=True)
    assert torch.equal(path.end, given[name]), name
    barrier = getattr(steerer.field, "barrier", None)
    if barrier is not None:
        assert bool(ode.certify_path(barrier, path).certified.all())
        assert bool(ode.certify_written(barrier, given["a"], path.end).proved.all())
    steerer.at(ode.Flow(angle=0.1)).save(f"{folder}/{name}-again")
barrier = ode.KernelBarrier(gamma=1.0, C=1.0).fit(given["a"] + 1, given["a"] - 1)
assert ode.ceiling(barrier.quadratic).value > 0
ode.Composition.load(f"{folder}/both")
print(sorted({"pandas", "tqdm", "transformer_lens", "transformers"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Saved steerers of several kinds, and what they make of the same activations here."""
    folder = tmp_path_factory.mktemp("steerers")
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(16, 24, generator=generator)
    shift = torch.randn(24, generator=generator)
    positive, negative = (torch.randn(60, 24, generator=generator) + s * shift for s in (0.5, -0.5))
    kernel = ode.KernelBarrier(gamma=1.0, C=1.0).fit(positive, negative)
    sketch = ode.SketchBarrier(n_components=512, C=1.0).fit(positive, negative)
    steerers = {
        "constant": ode.Steerer(ode.ConstantField(shift), ode.Flow(angle=0.3), layer=1),
        "published": ode.Steerer(ode.BarrierField(sketch), ode.Flow(angle=0.2, solver="euler"), layer=1),
        "kernel": ode.Steerer(ode.BarrierField(kernel), ode.Flow(angle=0.2), layer=1),
        "certified": ode.Steerer(ode.BarrierField(kernel), ode.Flow(angle=0.2, solver="certified"), layer=1),
        "optimal": ode.Steerer(ode.BarrierField(kernel), ode.Flow(angle=0.2, solver="optimal"), layer=1),
    }
    given = {"a": a}
    for name, steerer in steerers.items():
        steerer.save(folder / name)
        given[name] = steerer.flow.solve(steerer.field, a, record=True).end
    ode.compose([steerers["constant"], steerers["kernel"]]).save(folder / "both")
    save_file(given, folder / "given.safetensors")
    return folder, list(steerers)


def test_a_saved_steerer_loads_solves_and_is_certified_without_transformer_lens_and_pandas(saved):
    folder, names = saved
    env = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "", "HOME": str(folder)}
    command = [sys.executable, "-c", BARE, str(folder), *names]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    # what was saved there says that there was no TransformerLens
    versions = (folder / "kernel-again" / "steerer.json").read_text()
    assert "transformer-lens" not in versions
    assert '"torch"' in versions
    assert len(FIELDS) > 10


def test_what_is_lazy_is_what_the_stub_says():
    assert ode.Flow is ode.flow.Flow
    assert "Steerer" in dir(ode)
    with pytest.raises(AttributeError, match="no attribute 'Sterer'"):
        ode.Sterer  # noqa: B018
