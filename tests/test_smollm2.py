"""A real language model, SmolLM2-135M-Instruct: loaded from its GGUF, and what that file says of it."""

import sys

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM

import odesteer_tl as ode
from odesteer_tl.generation import generate_tokens
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


# --- chats and completions

CHATS = [
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "system", "content": "You answer in one word."}, {"role": "user", "content": "Is water wet, yes or no?"}],
    [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hello, how can I help you?"},
     {"role": "user", "content": "Name three colours and say which of them you like best."}],
]  # fmt: skip


def test_greedy_answers_to_chats_are_those_of_transformers(smollm2):
    tokenizer, plain = smollm2.tokenizer, smollm2.original_model
    inputs = tokenizer.apply_chat_template(
        CHATS, add_generation_prompt=True, padding=True, return_dict=True, return_tensors="pt",
        tokenizer_kwargs={"padding_side": "left"},
    )  # fmt: skip
    length = inputs["input_ids"].shape[1]
    assert len(set(inputs["attention_mask"].sum(1).tolist())) == 3
    with torch.no_grad():
        expected = plain.generate(**inputs, max_new_tokens=12, do_sample=False)
    (batch,) = generate_tokens(smollm2, CHATS, max_new_tokens=12, temperature=0.0)
    assert batch.prompt_length == length
    assert batch.starts == (length - inputs["attention_mask"].sum(1)).tolist()
    for row, start, own in zip(batch.tokens, batch.starts, expected, strict=True):
        assert row[start:].tolist() == own[start:].tolist()
    answers = ode.generate(smollm2, CHATS, max_new_tokens=8, temperature=0.0)
    assert answers == tokenizer.batch_decode(expected[:, length : length + 8], skip_special_tokens=True)
    assert "Paris" in answers[0]


@pytest.mark.parametrize("bos", [True, False])
def test_positions_of_completions_are_hidden_states_cut_by_hand(smollm2, bos):
    tokenizer, layer = smollm2.tokenizer, 12
    prompts, good, bad = ["The film was", "Is it? Answer: ("], [" really good fun.", "A)"], [" dull", "B) no"]
    contrast = ode.ContrastSet.from_completions(prompts, good, bad)
    cuts = {
        "completion": lambda x, n: x[n:].mean(0), "completion_last": lambda x, n: x[-1], "answer": lambda x, n: x[n],
        0: lambda x, n: x[0], -2: lambda x, n: x[-2],
    }  # fmt: skip
    states = []
    for prompt, end in zip(prompts * 2, good + bad, strict=True):
        first, second = (tokenizer(part, add_special_tokens=False).input_ids for part in (prompt, end))
        ids = torch.tensor([[tokenizer.bos_token_id] * bos + first + second])
        with torch.no_grad():
            x = smollm2.original_model(ids, output_hidden_states=True).hidden_states[layer + 1][0]
        states.append((x[int(bos) :], len(first)))
    for position, cut in cuts.items():
        acts = ode.collect_activations(smollm2, contrast, [layer], position, prepend_bos=bos)[layer]
        expected = torch.stack([cut(*each) for each in states])
        torch.testing.assert_close(torch.cat([acts.positive, acts.negative]), expected, rtol=1e-3, atol=1e-3)


def test_the_letter_of_a_chats_answer_is_read(smollm2):
    asked = {"role": "user", "content": "Is the sky blue? (A) Yes (B) No"}
    good, bad = ([asked, {"role": "assistant", "content": f"({letter})"}] for letter in "AB")
    contrast = ode.ContrastSet.from_chat(smollm2, [good], [bad])
    acts = ode.collect_activations(smollm2, contrast, [12], "answer")[12]
    # "(" is the answer's first token and alike in both; the letter is the one behind it
    torch.testing.assert_close(acts.positive, acts.negative)
    letters = ode.collect_activations(smollm2, contrast, [12], -2)[12]
    assert (letters.positive - letters.negative).norm() > 1
