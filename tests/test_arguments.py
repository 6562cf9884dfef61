"""Arguments of other libraries: what means something becomes Python's own, the rest is refused at the call."""

import json

import numpy as np
import pytest
import torch

import odesteer_tl as ode
from odesteer_tl.integrators import INTEGRATORS

TEXTS = ode.organism.contrast("valence", n=6)


@pytest.mark.parametrize("number", [np.float32, np.float64, np.array, torch.tensor, int])
@pytest.mark.parametrize("unit", ["angle", "T", "relative"])
def test_a_strength_of_any_library_is_a_number_that_can_be_saved(number, unit, unchecked):
    flow = ode.Flow(**{unit: number(2)}, steps=np.int64(3))
    assert json.loads(json.dumps(flow.config()))[unit] == 2.0
    assert flow == ode.Flow(**{unit: 2.0}, steps=3)


def test_strengths_of_rows_may_be_an_array(unchecked):
    field, a = ode.ConstantField(torch.tensor([0.0, 1.0])), torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    ends = [ode.Flow(angle=x).solve(field, a).end for x in (torch.tensor([0.1, 0.3]), np.array([0.1, 0.3]), [0.1, 0.3])]
    torch.testing.assert_close(ends[1], ends[0])
    torch.testing.assert_close(ends[2], ends[0])


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"angle": "0.1"}, "angle='0.1'"), ({"angle": True}, "angle=True"), ({"T": 1j}, "T=1j"),
     ({"angle": 0.1, "steps": 2.5}, "steps=2.5"), ({"angle": 0.1, "steps": "3"}, "steps='3'"),
     ({"relative": np.array([True])}, "relative="), ({"angle": ["a"]}, r"angle=\['a'\]")],
)  # fmt: skip
def test_a_flow_refuses_what_is_no_number(settings, word, unchecked):
    with pytest.raises(ValueError, match=word):
        ode.Flow(**settings)


def test_layers_angles_and_seeds_of_numpy_fit_steer_and_are_saved(organism, tmp_path, unchecked):
    steerer = ode.fit("random", organism, TEXTS, layer=np.int64(2), angle=np.float32(0.25), seed=np.int64(3))
    plain = ode.fit("random", organism, TEXTS, layer=2, angle=0.25, seed=3)
    steerer.save(tmp_path / "s")
    found = ode.Steerer.load(tmp_path / "s")
    assert (found.layer, found.flow, found.provenance["seed"]) == (2, plain.flow, 3)
    assert torch.equal(found.field.given, plain.field.given)
    several = ode.fit("caa", organism, TEXTS, layer=np.array([1, 2]), angle=0.2)
    several.save(tmp_path / "c")
    assert [x.layer for x in several.steerers] == [1, 2]
    acts = ode.collect_activations(organism, TEXTS, np.array([1, 3]), cache=tmp_path / "cache", batch_size=np.int32(4))
    assert list(acts) == [1, 3] == list(ode.collect_activations(organism, TEXTS, [1, 3], cache=tmp_path / "cache"))
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert list(ode.collect_activations(organism, TEXTS, np.int64(3))) == [3]
    texts = ode.generate(organism, ["anna was"], max_new_tokens=np.int64(3), seed=np.int64(1))
    assert texts == ode.generate(organism, ["anna was"], max_new_tokens=3, seed=1)


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"layer": []}, r"layer=\[\] is empty"), ({"layer": np.array([])}, "layer=.* is empty"),
     ({"layer": 2.0}, "layer=2.0 is not an integer"), ({"layer": "2"}, "layer='2'"), ({"layer": True}, "layer=True"),
     ({"layer": [1, 2.5]}, r"layer\[1\]=2.5"), ({"layer": [1, 1]}, "each layer once"),
     ({"layer": 1, "seed": 1.5}, "seed=1.5"), ({"layer": 1, "seed": None}, "seed=None")],
)  # fmt: skip
def test_fit_refuses_the_rest_before_any_work(settings, word, unchecked):
    with pytest.raises(ValueError, match=word):
        ode.fit("caa", None, TEXTS, angle=0.1, **settings)


@pytest.mark.parametrize(
    ("layers", "word"),
    [([], r"layers=\[\] is empty"), ("1", "layers='1'"), (2.0, "layers=2.0"), ([2.5], r"layers\[0\]=2.5"),
     ([[1]], r"layers\[0\]="), (None, "layers=None"), ([1, 99], "layer=99")],
)  # fmt: skip
def test_collecting_refuses_what_are_no_layers(organism, layers, word, unchecked):
    with pytest.raises(ValueError, match=word):
        ode.collect_activations(organism, TEXTS, layers)


@pytest.mark.parametrize("method", INTEGRATORS)
def test_an_empty_batch_stays_one(method):
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    field = ode.BarrierField(ode.LinearBarrier().fit(x[:6], x[6:]))
    for shape in ((0, 4), (2, 0, 4)):
        path = ode.Flow(angle=0.2, solver=method).solve(field, torch.empty(shape), record=True)
        assert path.end.shape == shape
        assert path.points.shape[1:] == shape


@pytest.mark.parametrize("method", ["geodesic", "geodesic_midpoint", "certified", "optimal", "euler"])
def test_one_dimension_has_nowhere_to_turn(method):
    x = torch.linspace(1, 2, 6)[:, None]
    field = ode.BarrierField(ode.LinearBarrier().fit(x, -x))
    with pytest.raises(ValueError, match="a has width 1"):
        ode.Flow(angle=0.2, solver=method).solve(field, -x)
    moved = ode.Flow(T=0.5, steps=1, solver="euler").solve(ode.ConstantField(torch.ones(1)), -x).end
    torch.testing.assert_close(moved, 0.5 - x)
