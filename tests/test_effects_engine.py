"""An effect study whose texts an engine draws: the same cells and the same tables."""

import sys
from dataclasses import replace

import pandas as pd
import pytest

from analyses.effects import EffectSettings, Material, Plan, measure
from tests.engine_face import modules

SETTINGS = EffectSettings(
    pairs=60, select=2, test=3, temperature=0.0, max_new_tokens=6, measures=("text",), cross_fit=True
)
CELLS = [
    {"layer": 2, "label": "unsteered", "method": "", "solver": "", "steps": 1, "budget": "angle", "level": 0.0},
    {"layer": 2, "label": "caa", "method": "caa", "solver": "geodesic", "steps": 1, "budget": "angle", "level": 0.3},
    {"layer": 1, "label": "odesteer_kernel", "method": "odesteer_kernel", "solver": "geodesic", "steps": 4,
     "budget": "kl", "level": 0.03},
]  # fmt: skip


@pytest.fixture(autouse=True)
def engine_modules(monkeypatch):
    from analyses.effects import engine

    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    engine._engine.cache_clear()
    yield
    engine._engine.cache_clear()


@pytest.fixture(scope="module")
def materials():
    return Material(SETTINGS), Material(replace(SETTINGS, engine="vllm"))


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell["label"])
def test_greedy_cells_are_those_of_the_model_itself(materials, cell):
    own, engine = (measure(material, cell) for material in materials)
    assert len(own) == 5
    pd.testing.assert_frame_equal(own, engine, rtol=1e-4, atol=1e-5)


def test_at_a_temperature_an_engine_draws_by_the_studys_seed():
    warm = replace(SETTINGS, temperature=1.0, engine="vllm")
    first, again = (measure(Material(warm), CELLS[0])["text"].tolist() for _ in range(2))
    assert first == again
    assert measure(Material(replace(warm, seed=1)), CELLS[0])["text"].tolist() != first


def test_an_engine_makes_another_study_and_its_absence_none():
    plain, engine = (Plan.of(x).described() for x in (SETTINGS, replace(SETTINGS, engine="vllm")))
    assert "engine" not in plain
    assert engine.pop("engine") == "vllm"
    assert engine == plain
    with pytest.raises(ValueError, match="engine='sglang'"):
        EffectSettings(engine="sglang")
