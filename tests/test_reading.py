"""Reading positions: equal to the transformers model's hidden states, cut by hand at the tokens of the parts."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import odesteer_tl as ode

PROMPTS = ["leo noticed", "anna met our old doctor and", "this clear beach"]
GOOD = [" our sweet raincoat", " luck", " was sunny before their clear heat"]
BAD = [" our bitter old raincoat", " misery", " was bitter"]
#: position → rows of a text from the hidden states of its own tokens, and the column of its completion's first one
BY_HAND = {
    "completion": lambda x, start: x[start:].mean(0),
    "completion_last": lambda x, start: x[-1],
    "first": lambda x, start: x[start],
    "answer": lambda x, start: x[start],
    -1: lambda x, start: x[-1],
    -2: lambda x, start: x[-2],
    0: lambda x, start: x[0],
    1: lambda x, start: x[1],
}
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>\n{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)


def train_byte_level(folder: Path) -> None:
    """A byte-level BPE of 300 tokens on these words, and a random Llama for it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        show_progress=False,
        initial_alphabet=alphabet,
    )
    tokenizer.train_from_iterator([p + end for ends in (GOOD, BAD) for p, end in zip(PROMPTS, ends, strict=True)] * 3,
                                  trainer)  # fmt: skip
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=128, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory):
    folder = tmp_path_factory.mktemp("byte_level")
    train_byte_level(folder)
    return ode.load_model(folder)


@pytest.fixture(params=["organism", "byte_level"])
def any_model(request):
    return request.getfixturevalue(request.param)


def hidden(model, ids, layer):
    """The block's output of a text's tokens, by the transformers model alone."""
    with torch.no_grad():
        return model.original_model(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer + 1][0]


def parts_by_hand(model, prompt, end, bos):
    """Hidden states of a text from the ids of its parts, without its BOS, and where the completion begins."""
    tokenizer = model.tokenizer
    first, second = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in (prompt, end))
    x = hidden(model, [tokenizer.bos_token_id] * bos + first + second, 1)
    return x[int(bos) :], len(first)


@pytest.mark.parametrize("bos", [True, False])
def test_positions_of_completions_are_the_hidden_states_cut_by_hand(any_model, bos):
    contrast = ode.ContrastSet.from_completions(PROMPTS, GOOD, BAD)
    for position, cut in BY_HAND.items():
        acts = ode.collect_activations(any_model, contrast, [1], position, prepend_bos=bos, batch_size=2)
        for found, ends in ((acts[1].positive, GOOD), (acts[1].negative, BAD)):
            for row, prompt, end in zip(found, PROMPTS, ends, strict=True):
                torch.testing.assert_close(row, cut(*parts_by_hand(any_model, prompt, end, bos)), rtol=1e-4, atol=1e-4)
        assert acts.provenance["position"] == {"answer": "first"}.get(position, position)
        assert acts[1].groups == (contrast.positive_groups, contrast.negative_groups)


def test_positions_of_chats_and_files(byte_level, tmp_path):
    def turns(ends):
        return [[{"role": "user", "content": p}, {"role": "assistant", "content": e.strip()}]
                for p, e in zip(PROMPTS, ends, strict=True)]  # fmt: skip

    chats = ode.ContrastSet.from_chat(byte_level, turns(GOOD), turns(BAD))
    for position in ("first", "completion", "completion_last", 0, -2):
        acts = ode.collect_activations(byte_level, chats, [1], position)
        for row, prompt, end in zip(acts[1].positive, PROMPTS, GOOD, strict=True):
            asked = f"<user>\n{prompt}</s><assistant>\n"
            expected = BY_HAND[position](*parts_by_hand(byte_level, asked, end.strip(), True))
            torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-4)
    lines = ["prompt,positive,negative", *(",".join(x) for x in zip(PROMPTS, GOOD, BAD, strict=True))]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    file = ode.ContrastSet.from_file(tmp_path / "rows.csv")
    by_hand = ode.ContrastSet.from_completions(PROMPTS, GOOD, BAD)
    found, expected = (ode.collect_activations(byte_level, x, [1], "completion") for x in (file, by_hand))
    assert torch.equal(found[1].negative, expected[1].negative)


def test_special_tokens_of_a_completion_are_counted_only_if_asked_for(byte_level):
    contrast = ode.ContrastSet.from_completions(
        ["leo noticed"], [" our sweet raincoat</s>"], [" our bitter raincoat</s>"]
    )
    x, start = parts_by_hand(byte_level, "leo noticed", " our sweet raincoat</s>", True)
    for special, expected in ((False, x[start:-1].mean(0)), (True, x[start:].mean(0))):
        acts = ode.collect_activations(byte_level, contrast, [1], "completion", special_tokens=special)
        torch.testing.assert_close(acts[1].positive[0], expected, rtol=1e-4, atol=1e-4)
    last = ode.collect_activations(byte_level, contrast, [1], "completion_last")
    torch.testing.assert_close(last[1].positive[0], x[-1], rtol=1e-4, atol=1e-4)
    nothing = ode.ContrastSet.from_completions(["leo noticed"], ["</s>"], ["</s></s>"])
    with pytest.raises(ValueError, match=r"position='completion': positive\[0\]=.* has special tokens only"):
        ode.collect_activations(byte_level, nothing, [1], "completion")


def test_a_bos_that_the_text_carries_is_no_token_of_it(organism):
    bos = organism.tokenizer.bos_token
    plain = ode.ContrastSet.from_texts(PROMPTS, BAD)
    own = ode.ContrastSet.from_texts([f"{bos}{x}" for x in PROMPTS], [f"{bos}{x}" for x in BAD])
    found, expected = (ode.collect_activations(organism, x, [1], 0) for x in (own, plain))
    torch.testing.assert_close(found[1].positive, expected[1].positive)


def test_positions_are_told_apart_by_the_cache(organism, tmp_path):
    contrast = ode.ContrastSet.from_completions(PROMPTS, GOOD, BAD)
    # "answer" is "first" by another name
    for position in ("first", "answer", "completion", "completion_last", "last", -2, 1):
        plain = ode.collect_activations(organism, contrast, [1], position)
        for _ in range(2):
            kept = ode.collect_activations(organism, contrast, [1], position, cache=tmp_path)
            assert torch.equal(kept[1].positive, plain[1].positive)
            assert kept.provenance == plain.provenance
    assert len(list(tmp_path.iterdir())) == 6


def test_one_row_a_text_needs_no_groups_and_keeps_those_there_are(organism):
    contrast = ode.ContrastSet.from_completions(PROMPTS, GOOD, BAD)
    for position in ("first", "completion", "completion_last", -2):
        acts = ode.collect_activations(organism, contrast, [1], position)
        ode.KernelBarrier(folds=3).fit(acts[1].positive, acts[1].negative)

    def last(x, mask):  # a function of a position's name is still a function
        return x[mask]

    acts = ode.collect_activations(organism, contrast, [1], last)
    assert acts.provenance["position"] == "callable last"
    with pytest.raises(ValueError, match="groups=None"):
        ode.KernelBarrier(folds=3).fit(acts[1].positive, acts[1].negative)


def test_a_method_is_fitted_at_a_position(organism):
    contrast = ode.ContrastSet.from_completions(PROMPTS, GOOD, BAD)
    for position in ("answer", "completion", -2):
        steerer = ode.fit("caa", organism, contrast, 1, read_position=position, prepend_bos=False, multiplier=1.0)
        acts = ode.collect_activations(organism, contrast, [1], position, prepend_bos=False)
        expected = (acts[1].positive - acts[1].negative).double().mean(0)
        torch.testing.assert_close(steerer.field.given, expected, rtol=1e-5, atol=1e-5)
        assert steerer.provenance["prepend_bos"] is False
        assert steerer.provenance["position"] == acts.provenance["position"]


@pytest.mark.parametrize(
    ("contrast", "position", "word"),
    [
        (ode.ContrastSet.from_texts(GOOD, BAD), "first", "position='first': contrast does not know where its"),
        (ode.ContrastSet.from_texts(GOOD, BAD), "answer", "position='first': contrast does not know where its"),
        (ode.ContrastSet.from_texts(GOOD, BAD), "completion", "position='completion': contrast does not know"),
        (ode.ContrastSet.from_texts(GOOD, BAD), 3, r"position=3: positive\[0\]=.* has 3 tokens behind its BOS"),
        (ode.ContrastSet.from_texts(GOOD, BAD), -4, r"position=-4: positive\[0\]=.*-3 to 2 can be read"),
        (ode.ContrastSet.from_texts(GOOD, BAD), 1.5, "position=1.5 is not an integer"),
        (ode.ContrastSet.from_texts(GOOD, BAD), True, "position=True is not an integer"),
        (
            ode.ContrastSet.from_completions(["leo noti"], ["ced luck"], ["ced misery"]), "first",
            r"position='first': text 'leo noti' \+ 'ced luck': the token '.*noticed' holds the prompt's end",
        ),
    ],
)  # fmt: skip
def test_positions_that_are_not_there_are_named(organism, contrast, position, word, unchecked):
    with pytest.raises(ValueError, match=word):
        ode.collect_activations(organism, contrast, [1], position)


def test_how_activations_were_read_is_not_asked_for_in_vain(organism):
    contrast = ode.ContrastSet.from_completions(PROMPTS, GOOD, BAD)
    acts = ode.collect_activations(organism, contrast, [1], "completion")
    ode.fit("caa", organism, acts, 1, multiplier=1.0)
    ode.fit("caa", organism, acts, 1, read_position="completion", multiplier=1.0)
    for asked in ({"read_position": "first"}, {"special_tokens": True}, {"prepend_bos": False}):
        with pytest.raises(ValueError, match=f"{next(iter(asked))}=.* were read at"):
            ode.fit("caa", organism, acts, 1, multiplier=1.0, **asked)
