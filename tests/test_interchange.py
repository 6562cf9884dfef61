"""GGUF control vectors: what a file holds byte for byte, which block it steers, and what is refused."""

import struct
import sys
from dataclasses import replace

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

import odesteer_tl as ode

TOKENS = torch.arange(7, 14)[None]
ALPHAS = st.floats(1e-3, 50) | st.floats(-50, -1e-3)


def additive(direction, layer, alpha=1.0, **flow):
    """Contrastive activation addition with the multiplier alpha."""
    field = ode.ConstantField(direction, median_norm=4.0)
    flow = flow or {"T": alpha * field.length, "steps": 1, "solver": "euler"}
    return ode.Steerer(field, ode.Flow(**flow), layer, positions="all")


def parse(path):
    """GGUF by its specification: header, key-values (strings and u32 only), tensor infos, aligned data."""
    data, at = path.read_bytes(), 0

    def take(form):
        nonlocal at
        (value,) = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize(form)
        return value

    def text():
        nonlocal at
        n = take("Q")
        at += n
        return data[at - n : at].decode()

    assert data[:4] == b"GGUF"
    at = 4
    version, n_tensors, n_pairs = take("I"), take("Q"), take("Q")
    assert version == 3
    pairs = {}
    for _ in range(n_pairs):
        key, kind = text(), take("I")
        pairs[key] = text() if kind == 8 else take({4: "I"}[kind])
    infos = [(text(), [take("Q") for _ in range(take("I"))], take("I"), take("Q")) for _ in range(n_tensors)]
    start = -(-at // 32) * 32
    tensors = {}
    for name, shape, kind, offset in infos:
        assert kind == 0  # float32
        assert len(shape) == 1
        tensors[name] = np.frombuffer(data, "<f4", shape[0], start + offset)
    return pairs, tensors


def llama_cpp_layers(tensors, n_layer):
    """What llama.cpp adds after each block: a buffer that starts at direction.1, read at (il − 1)·n_embd."""
    assert "direction.0" not in tensors
    width = len(next(iter(tensors.values())))
    last = max(int(name.split(".")[1]) for name in tensors)
    buffer = np.zeros(width * last, dtype=np.float32)
    for il in range(1, last + 1):
        if f"direction.{il}" in tensors:
            buffer[width * (il - 1) : width * il] = tensors[f"direction.{il}"]
    at = lambda il: buffer[width * (il - 1) : width * il]  # noqa: E731
    return {il: at(il) for il in range(1, n_layer) if width * il <= len(buffer)}


def test_a_file_says_what_its_specification_asks_for(tmp_path):
    pushes = {4: torch.randn(6), 2: torch.randn(6)}
    ode.write_control_vector(tmp_path / "v.gguf", [additive(x, layer) for layer, x in pushes.items()], "llama")
    pairs, tensors = parse(tmp_path / "v.gguf")
    assert pairs == {
        "general.architecture": "controlvector",
        "controlvector.model_hint": "llama",
        "controlvector.layer_count": 2,
    }
    assert list(tensors) == ["direction.2", "direction.4"]
    for layer, x in pushes.items():
        assert np.array_equal(tensors[f"direction.{layer}"], x.numpy())
    assert [p.name for p in tmp_path.iterdir()] == ["v.gguf"]


@given(
    seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-6, 1e6), alpha=st.floats(-50, 50).filter(lambda x: abs(x) > 1e-3)
)
@settings(max_examples=40, deadline=None)
def test_the_round_trip_keeps_every_bit(tmp_path_factory, seed, scale, alpha):
    path = tmp_path_factory.mktemp("gguf")
    direction = scale * torch.randn(12, generator=torch.Generator().manual_seed(seed))
    ode.write_control_vector(path / "1.gguf", [additive(direction, 3)], "llama")
    (field,) = ode.read_control_vector(path / "1.gguf").values()
    assert torch.equal(field.given.float(), direction)
    assert field.length == pytest.approx(float(direction.double().norm()), rel=1e-12)
    # T = α · length, whatever α: the file then holds α · direction
    ode.write_control_vector(path / "2.gguf", [additive(direction, 3, alpha)], "llama")
    (scaled,) = ode.read_control_vector(path / "2.gguf").values()
    torch.testing.assert_close(scaled.given.float(), (alpha * direction.double()).float(), rtol=2**-23, atol=0)
    assert scaled.length == pytest.approx(abs(alpha) * field.length, rel=1e-6)
    ode.write_control_vector(path / "3.gguf", [additive(scaled.given, 3)], "llama")
    assert (path / "3.gguf").read_bytes() == (path / "2.gguf").read_bytes()


@pytest.mark.parametrize("name", ["organism", "gpt2"])
def test_a_file_steers_the_block_that_repeng_and_llama_cpp_steer(name, request, gpt2_directory, tmp_path):
    model = request.getfixturevalue(name)
    plain = AutoModelForCausalLM.from_pretrained(ode.organism.PATH if name == "organism" else gpt2_directory).eval()
    blocks = plain.model.layers if name == "organism" else plain.transformer.h
    _, cache = model.run_with_cache(TOKENS)
    norm = cache["blocks.1.hook_out"].norm(dim=-1).median()
    random = torch.Generator().manual_seed(0)
    pushes = {i: torch.randn(model.cfg.d_model, generator=random) for i in (1, 2)}
    pushes = {i: norm * x / x.norm() for i, x in pushes.items()}
    steerers = [additive(x, layer, 0.5) for layer, x in pushes.items()]
    ode.write_control_vector(tmp_path / "v.gguf", steerers, plain.config.model_type)

    def adds(x):
        return lambda _, args, out: (out[0] + x, *out[1:]) if isinstance(out, tuple) else out + x

    with torch.no_grad():
        unsteered = plain(TOKENS, output_hidden_states=True)
        for layer, x in llama_cpp_layers(parse(tmp_path / "v.gguf")[1], len(blocks)).items():
            blocks[layer].register_forward_hook(adds(torch.from_numpy(x.copy())))
        expected = plain(TOKENS).logits
    read = ode.read_control_vector(tmp_path / "v.gguf")
    assert list(read) == [1, 2]

    def error(shift):
        with ode.compose([additive(field.given, layer + shift) for layer, field in read.items()]).on(model):
            return (model(TOKENS) - expected).abs().max()

    # float32 rounding is 5e-6 of these logits; a numbering one off is 0.1 or more
    tolerance = 1e-4
    assert error(0) < tolerance
    assert error(-1) > 100 * tolerance
    assert (expected - unsteered.logits).abs().max() > 100 * tolerance
    # what repeng learns direction.N from is what direction.N steers
    torch.testing.assert_close(unsteered.hidden_states[1 + 1], cache["blocks.1.hook_out"], rtol=1e-4, atol=1e-4)


def written_elsewhere(path, tensors, architecture="controlvector", **fields):
    """A file as repeng and EasySteer write it: any order of layers, layer 0 too, further fields."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in fields.items():
        writer.add_string(f"controlvector.{key}", value)
    for name, x in tensors.items():
        writer.add_tensor(name, np.asarray(x))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_files_of_other_writers_are_read(tmp_path):
    x = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    tensors = {"direction.7": x[0], "direction.0": x[1], "direction.3": 0 * x[2]}
    path = written_elsewhere(tmp_path / "v.gguf", tensors, model_hint="qwen2", method="diffmean")
    fields = ode.read_control_vector(path)
    assert list(fields) == [0, 7]  # a zero direction steers nothing
    assert np.array_equal(fields[0].given.numpy(), x[1].astype(np.float64))
    assert np.array_equal(fields[7].given.numpy(), x[0].astype(np.float64))


def test_a_relative_strength_and_several_straight_steps_are_the_same_push(tmp_path):
    x = torch.randn(5)
    same = [{"T": 2.0}, {"relative": 0.5}, {"T": 2.0, "steps": 4, "solver": "rk4"}]
    for i, flow in enumerate(same):
        steerer = additive(x, 1, **{"steps": 1, "solver": "euler", **flow})
        ode.write_control_vector(tmp_path / f"{i}.gguf", [steerer], "llama")
        a = torch.randn(3, 5)
        push = ode.read_control_vector(tmp_path / f"{i}.gguf")[1].given.float()
        torch.testing.assert_close(
            steerer.flow.solve(steerer.field, a).end - a, push.expand(3, 5), rtol=1e-5, atol=1e-6
        )
    assert (tmp_path / "0.gguf").read_bytes() == (tmp_path / "1.gguf").read_bytes()


@pytest.mark.parametrize(
    ("steerers", "hint", "word"),
    [
        (lambda x: [additive(x, 0)], "llama", "layer=0"),
        (lambda x: [additive(x, 2), additive(x, 2)], "llama", "layer=2 is steered twice"),
        (lambda x: [additive(x, 2), additive(torch.ones(9), 3)], "llama", r"widths \[6, 9\]"),
        (lambda x: [], "llama", "steerers is empty"),
        (lambda x: [additive(x, 2)], "", "model_hint is empty"),
        (lambda x: [additive(x, 2, angle=0.5, solver="euler")], "llama", "depends on the activation"),
        (lambda x: [additive(x, 2, T=0.5, solver="geodesic")], "llama", "depends on the activation"),
        (lambda x: [additive(x, 2, T=0.0, solver="euler")], "llama", "direction of 0"),
        (lambda x: [additive(x, 2, relative=3e38, solver="euler")], "llama", "beyond float32"),
        (
            lambda x: [ode.Steerer(ode.BarrierField(ode.LinearBarrier().fit(x[None], -x[None])), ode.Flow(T=1.0), 2)],
            "llama",
            "field=BarrierField of layer 2",
        ),
        (lambda x: [replace(additive(x, 2), site="attn.hook_z")], "llama", "site='attn.hook_z' of layer 2"),
    ],
)
def test_what_is_no_control_vector_is_not_written(steerers, hint, word, tmp_path):
    with pytest.raises(ValueError, match=word):
        ode.write_control_vector(tmp_path / "v.gguf", steerers(torch.randn(6)), hint)
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_whole_or_not_at_all_and_never_over_another(tmp_path, monkeypatch):
    path = tmp_path / "v.gguf"
    with monkeypatch.context() as patch:
        patch.setattr(
            gguf.GGUFWriter, "write_tensors_to_file", lambda self: (_ for _ in ()).throw(OSError("disk full"))
        )
        with pytest.raises(OSError, match="disk full"):
            ode.write_control_vector(path, [additive(torch.ones(4), 1)], "llama")
    assert not list(tmp_path.iterdir())
    ode.write_control_vector(path, [additive(torch.ones(4), 1)], "llama")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not overwritten"):
        ode.write_control_vector(path, [additive(torch.zeros(4) + 2, 1)], "llama")
    assert path.read_bytes() == before


def test_every_truncation_is_refused(tmp_path):
    ode.write_control_vector(tmp_path / "v.gguf", [additive(torch.ones(8), layer) for layer in (1, 2)], "llama")
    whole = (tmp_path / "v.gguf").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a readable control vector"):
            ode.read_control_vector(tmp_path / "cut.gguf")


@pytest.mark.parametrize(
    ("tensors", "architecture", "word"),
    [
        ({"direction.1": np.ones(4, np.float16)}, "controlvector", "F16"),
        ({"direction.1": np.ones((2, 4), np.float32)}, "controlvector", "2 dimensions"),
        ({"direction.1": np.ones(4, np.float32), "direction.2": np.ones(5, np.float32)}, "controlvector", "widths"),
        ({"direction.1": np.full(4, np.nan, np.float32)}, "controlvector", "NaN"),
        ({"direction.one": np.ones(4, np.float32)}, "controlvector", "direction.one"),
        ({"output.weight": np.ones(4, np.float32)}, "controlvector", "output.weight"),
        ({}, "controlvector", "widths"),
        ({"direction.1": np.ones(4, np.float32)}, "llama", "'llama', not 'controlvector'"),
    ],
)
def test_a_file_of_another_kind_is_refused(tensors, architecture, word, tmp_path):
    path = written_elsewhere(tmp_path / "v.gguf", tensors, architecture)
    with pytest.raises(ValueError, match=word):
        ode.read_control_vector(path)


def test_a_missing_file_and_a_missing_package_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="not a readable control vector"):
        ode.read_control_vector(tmp_path / "nowhere.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ImportError, match=r"odesteer_tl\[gguf\]"):
        ode.read_control_vector(tmp_path / "v.gguf")
    with pytest.raises(ImportError, match=r"odesteer_tl\[gguf\]"):
        ode.write_control_vector(tmp_path / "v.gguf", [additive(torch.ones(4), 1)], "llama")
