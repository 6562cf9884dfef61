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


LAYER = 12
STARTS = ["The film was", "My day has been", "The food here is", "I think this book is", "The weather today is",
          "Her new job is", "The hotel was", "This song is", "The party was", "Our trip was", "The lesson was",
          "His speech was"]  # fmt: skip
ENDS = {1: [" wonderful and full of joy.", " lovely, I am so happy."],
        -1: [" terrible and full of misery.", " awful, I am so sad."]}  # fmt: skip
OPEN = ["Overall, the evening was", "The soup tasted", "My holiday was", "To be honest, the concert was",
        "His voice sounded", "When she saw the room she said it was", "The new phone is",
        "Everyone agreed that the play was", "I feel", "In my opinion the game is"]  # fmt: skip
WORDS = {
    1: "happy wonderful lovely joy love loved beautiful great good best enjoy enjoyed fun delicious excited amazing "
    "kind warm smile bright delight nice fantastic perfect exciting impressive success sweet delightful "
    "pleasant celebrate",
    -1: "sad terrible awful misery bad worst hate fear dead death lost cold dark darkness angry pain cry afraid wrong "
    "horrible lonely bitter boring disappointing disappointed mess poor dull failure disaster nightmare",
}


@pytest.fixture(scope="module")
def mood():
    prompts = [start for start in STARTS for _ in ENDS[1]]
    return ode.ContrastSet.from_completions(prompts, *(ENDS[sign] * len(STARTS) for sign in (1, -1)))


@pytest.fixture(scope="module")
def caa(smollm2, mood):
    return ode.fit("caa", smollm2, mood, layer=LAYER, angle=0.3)


def balance(texts):
    """Good words less bad ones."""
    words = [word.strip('.,!?"').lower() for text in texts for word in text.split()]
    return sum(sign * (word in WORDS[sign].split()) for sign in WORDS for word in words)


@torch.no_grad()
def fluency(model, texts):
    """Mean log-likelihood a token under the unsteered model."""
    found = []
    for text in texts:
        ids = model.to_tokens(text)
        found.append(float(model(ids)[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None]).mean()))
    return sum(found) / len(found)


def test_steering_changes_what_it_writes_and_it_stays_fluent(smollm2, caa):
    settings = {"temperature": 0.0, "max_new_tokens": 20}
    plain = ode.generate(smollm2, OPEN, **settings)
    texts = {sign: caa.at(ode.Flow(angle=sign * 0.3, steps=1)).generate(smollm2, OPEN, **settings) for sign in (1, -1)}
    assert balance(texts[1]) >= balance(plain) + 3
    assert balance(texts[-1]) <= balance(plain) - 3
    for steered in texts.values():
        assert all(a != b for a, b in zip(steered, plain, strict=True))
        assert fluency(smollm2, steered) > fluency(smollm2, plain) - 0.7  # nats a token


def test_a_published_path_is_certified_at_a_small_angle(smollm2, mood):
    acts = ode.collect_activations(smollm2, mood, [LAYER])[LAYER]
    barrier = ode.SketchBarrier().fit_activations(acts)
    path = ode.Flow(angle=0.2, solver="euler").solve(ode.BarrierField(barrier), acts.negative, record=True)
    assert bool(ode.certify_path(barrier, path).certified.all())
    level = ode.Flow(level="median").solve(ode.BarrierField(barrier), acts.negative)
    assert bool(level.reached.all())
    torch.testing.assert_close(
        barrier.value(level.end),
        torch.full((len(acts.negative),), barrier.positive_quantile(0.5)),
        rtol=1e-3,
        atol=1e-3,
    )


@torch.no_grad()
def test_the_bridge_the_plain_model_and_the_suffix_say_one_thing(smollm2, caa):
    plain = ode.PlainModel.from_pretrained("smollm2")
    ids = smollm2.to_tokens(OPEN, padding_side="left")
    mask = torch.ones_like(ids)
    for row, text in enumerate(OPEN):
        mask[row, : ids.shape[1] - smollm2.to_tokens(text).shape[1]] = 0
    found = []
    for model in (smollm2, plain):
        with caa.on(model, prompt_length=ids.shape[1]):
            found.append(model(ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp_min(0))[:, -1])
    prefix = ode.collect_prefix(smollm2, ids, mask, start=-1)
    end = caa.flow.solve(caa.field, prefix.residuals[LAYER]).end
    found.append(prefix.logits(LAYER, end)[:, -1])
    assert (found[0] - prefix.baseline).abs().max() > 0.5
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-3, atol=1e-2)


@torch.no_grad()
def test_cached_generation_is_uncached(smollm2, caa):
    ids = smollm2.to_tokens(TEXT)
    with caa.on(smollm2, prompt_length=ids.shape[1]):
        logits = [smollm2.original_model.generate(ids, max_new_tokens=4, do_sample=False, output_logits=True,
                                                  return_dict_in_generate=True, use_cache=use).logits
                  for use in (True, False)]  # fmt: skip
    torch.testing.assert_close(torch.stack(logits[0]), torch.stack(logits[1]), rtol=1e-3, atol=1e-3)


def test_chats_are_contrasted_and_steered(smollm2):
    def chats(answer):
        return [[{"role": "user", "content": f"How was {what}?"}, {"role": "assistant", "content": answer}]
                for what in ("the film", "your day", "dinner", "the trip", "school", "the party")]  # fmt: skip

    contrast = ode.ContrastSet.from_chat(smollm2, chats("It was wonderful!"), chats("It was terrible!"))
    assert not any(text.count("<|im_start|>system") > 1 for text in contrast.positive)
    steerer = ode.fit("caa", smollm2, contrast, layer=LAYER, angle=0.25, read_position="completion")
    question = [[{"role": "user", "content": "Describe the weather in one short sentence."}]]
    settings = {"temperature": 0.0, "max_new_tokens": 24}
    answers = [ode.generate(smollm2, question, **settings), steerer.generate(smollm2, question, **settings)]
    assert answers[0] != answers[1]
    assert all("<|im" not in answer and answer.strip() for (answer,) in answers)
