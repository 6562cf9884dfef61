"""A second real model, Gemma-3-270M: four packages joined, sliding windows. `make test-gemma`; some minutes."""

from importlib.util import find_spec

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM

import odesteer_tl as ode
from odesteer_tl.packaged import PACKAGED

PACKAGE = PACKAGED["gemma-3-270m"]


@pytest.fixture(scope="module")
def gemma():
    if any(find_spec(package.replace("-", "_")) is None for package in PACKAGE.parts):
        pytest.skip(f"Gemma-3 is not installed: {PACKAGE.command} (`make test-gemma` does)")
    return ode.load_model("gemma-3-270m")


@pytest.fixture(scope="module")
def file(gemma, tmp_path_factory):
    return PACKAGE.locate("gemma-3-270m").whole(tmp_path_factory.mktemp("gemma"))


def test_it_has_its_published_shape(gemma):
    config = gemma.original_model.config
    assert (config.num_hidden_layers, config.hidden_size, config.head_dim, config.vocab_size) == (18, 640, 256, 262144)
    assert [i for i, kind in enumerate(config.layer_types) if kind == "full_attention"] == [5, 11, 17]
    assert (config.sliding_window, config.query_pre_attn_scalar) == (512, 256)
    assert {k: v["rope_theta"] for k, v in config.rope_parameters.items()} == {
        "full_attention": 1e6, "sliding_attention": 1e4
    }  # fmt: skip


def test_the_kept_weights_are_those_dequantised_from_the_file(gemma, file):
    plain = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, attn_implementation="eager"
    )
    ids = gemma.to_tokens("The quick brown fox jumps over the lazy dog. " * 60)  # beyond the window
    assert ids.shape[1] > 512
    with torch.no_grad():
        torch.testing.assert_close(gemma(ids), plain(ids).logits, rtol=1e-4, atol=1e-3)


def test_the_tokenizer_is_the_files(gemma, file):
    fields = gguf.GGUFReader(file).fields
    tokenizer = gemma.tokenizer
    for kind, key in {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}.items():
        assert getattr(tokenizer, f"{kind}_token_id") == fields[f"tokenizer.ggml.{key}_token_id"].contents()
    assert len(tokenizer) == 262144
    text = "Years:  1984,\n\n\n  naïve 東京 🙂"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_it_writes_what_it_predicts_best(gemma):
    text = gemma.generate("The quick brown fox jumps over the", max_new_tokens=2, do_sample=False, verbose=False)
    assert text.endswith("lazy dog")
