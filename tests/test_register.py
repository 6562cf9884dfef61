"""CONTRIBUTING.md keeps its word: its method runs as written, and what it names exists."""

import re
from pathlib import Path

import pytest
import torch

import odesteer_tl as ode
from tests import test_methods_oracles

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()


@pytest.fixture
def registry():
    """The registry, put back as it was."""
    before = dict(ode.METHODS)
    yield ode.METHODS
    ode.METHODS.clear()
    ode.METHODS.update(before)


@pytest.fixture
def example(registry):
    """The name that the guide's code registers."""
    before = set(registry)
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 16
    exec(compile(code, "CONTRIBUTING.md", "exec"), {})
    (name,) = set(registry) - before
    return name


def test_the_guides_method_fits_steers_generates_and_is_saved(example, organism, tmp_path):
    contrast = ode.organism.contrast("valence", n=60)
    steerer = ode.fit(example, organism, contrast, layer=3, angle=0.4)
    assert steerer.provenance["method"] == example
    prompts = ode.organism.prompts(20)
    texts = steerer.generate(organism, prompts, max_new_tokens=20)
    assert all(text.startswith(prompt) for text, prompt in zip(texts, prompts, strict=True))
    success = (ode.organism.judge(texts)["valence"] > 0.5).mean()
    plain = (ode.organism.judge(ode.generate(organism, prompts, max_new_tokens=20))["valence"] > 0.5).mean()
    assert success > plain
    steerer.save(tmp_path / "s")
    assert ode.Steerer.load(tmp_path / "s").generate(organism, prompts, max_new_tokens=20) == texts


def test_the_guides_method_is_the_difference_of_medians(example):
    g = torch.Generator().manual_seed(0)
    positive, negative = (torch.randn(31, 5, generator=g) + shift for shift in (1.0, 0.0))
    outlier = torch.cat([positive, 1e4 * torch.ones(1, 5)])
    fit = ode.METHODS[example].fit
    expected = positive.median(0).values.double() - negative.median(0).values.double()
    torch.testing.assert_close(fit(positive, negative, 0).given, expected, rtol=1e-12, atol=0)
    assert float(torch.cosine_similarity(fit(outlier, negative, 0).given, expected, dim=0)) > 0.9


def test_the_example_is_gone_afterwards():
    assert "median_difference" not in ode.METHODS


def test_a_method_without_an_oracle_is_noticed(example):
    with pytest.raises(AssertionError):
        test_methods_oracles.test_every_method_has_an_oracle_that_exists()


def test_a_name_is_given_once(example, registry):
    with pytest.raises(ValueError, match=f"name='{example}' is already a method"):
        ode.register(example, solver="euler", source="twice")(registry[example].fit)


def test_what_the_guide_names_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make (\w+)`", GUIDE)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    paths = set(re.findall(r"`((?:odesteer_tl|analyses|figures|tests|methods)/[\w/]*(?:\.py)?|\.ci/run)`", GUIDE))
    assert len(paths) > 12
    for path in paths:
        assert (ROOT / path).exists() or (ROOT / "odesteer_tl" / path).exists(), path
    # every room, so that a new one is described
    rooms = {path.name for path in (ROOT / "odesteer_tl").iterdir() if (path / "__init__.py").exists()}
    described = set(re.findall(r"\| `odesteer_tl/(\w+)/` \|", GUIDE))
    assert described == rooms


CELL = """
from odesteer_tl.methods import caa, register

@register("mine", solver="euler", steps={steps}, source="a notebook")
def {name}(positive, negative, seed=0):
    return caa(positive, negative, seed)
"""


def test_a_notebooks_cell_may_be_run_again_and_no_other_methods_name_taken(registry):
    def run(**settings):
        exec(CELL.format(**{"steps": 1, "name": "mine", **settings}), {"__name__": "__main__"})

    run()
    run(steps=2)
    assert registry["mine"].steps == 2
    with pytest.raises(ValueError, match=r"name='mine' is already a method \(__main__\.mine\)"):
        run(name="another")
    before = registry["caa"]
    with pytest.raises(ValueError, match=r"name='caa' is already a method \(odesteer_tl\.methods\.caa\.caa\)"):
        exec(CELL.format(steps=3, name="caa").replace('"mine"', '"caa"'), {"__name__": "__main__"})
    assert registry["caa"] is before
