"""A real language model, SmolLM2-135M-Instruct: loaded from its GGUF, and what that file says of it."""

import sys

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM

import odesteer_tl as ode
from odesteer_tl.packaged import PACKAGED

TEXT = "The capital of France is"


@pytest.fixture(scope="module")
def file(smollm2):
    (path,) = PACKAGED["smollm2"].locate("smollm2").parts
    return path


def test_it_knows_the_capital_of_france(smollm2):
    assert smollm2.generate(TEXT, max_new_tokens=1, do_sample=False, verbose=False) == f"{TEXT} Paris"


def test_the_kept_weights_are_those_dequantised_from_the_file(smollm2, file):
    plain = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, attn_implementation="eager"
    )
    ids = smollm2.to_tokens(TEXT)
    with torch.no_grad():
        torch.testing.assert_close(smollm2(ids), plain(ids).logits, rtol=1e-5, atol=1e-5)


def test_the_second_load_needs_no_gguf_package(smollm2, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    again = ode.load_model("smollm2")
    assert ode.models.ModelIdentity.of(again) == ode.models.ModelIdentity.of(smollm2)


def test_the_tokenizer_is_the_files(smollm2, file):
    fields = gguf.GGUFReader(file).fields
    tokenizer, generation = smollm2.tokenizer, smollm2.original_model.generation_config
    assert tokenizer.chat_template == fields["tokenizer.chat_template"].contents()
    for kind, token in {"bos": "<|im_start|>", "eos": "<|im_end|>", "pad": "<|im_end|>"}.items():
        key = "padding" if kind == "pad" else kind
        said = fields[f"tokenizer.ggml.{key}_token_id"].contents()
        assert getattr(tokenizer, f"{kind}_token_id") == said == getattr(generation, f"{kind}_token_id")
        assert tokenizer.convert_ids_to_tokens(said) == token
    assert len(tokenizer) == len(fields["tokenizer.ggml.tokens"].contents())


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello world! 123", [19556, 905, 17, 216, 33, 34, 35]),
        ("Café déjà vu.", [51, 1939, 2756, 32564, 90, 16739, 386, 101, 30]),
        ("  multiple   spaces", [216, 2701, 256, 5600]),
        ("a  2", [81, 256, 34]),  # the two spaces stay together: digits are cut off first
    ],
)
def test_texts_are_cut_as_smollm2s_own_tokenizer_cuts_them(smollm2, text, ids):
    assert smollm2.tokenizer(text, add_special_tokens=False).input_ids == ids
