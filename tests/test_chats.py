"""Generating from chats: the texts that the template writes, special tokens once, and what is refused."""

import pytest

import odesteer_tl as ode
from odesteer_tl.chats import Prompts, render_chat
from odesteer_tl.generation import generate_tokens
from odesteer_tl.jupyter import color_tokens

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %} {{ m['role'] }} {{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %} assistant {% endif %}"
)
CHATS = [
    [{"role": "user", "content": "anna noticed"}],
    [{"role": "system", "content": "leo"}, {"role": "user", "content": "our sweet raincoat"}],
    [{"role": "user", "content": "leo"}, {"role": "assistant", "content": "leo noticed this"}],
]
GREEDY = {"max_new_tokens": 6, "temperature": 0.0}


@pytest.fixture
def chatty(organism, monkeypatch):
    monkeypatch.setattr(organism.tokenizer, "chat_template", TEMPLATE, raising=False)
    return organism


@pytest.fixture
def steerer(chatty):
    contrast = ode.organism.contrast("valence", n=8)
    return ode.fit("caa", chatty, contrast, layer=2, angle=0.5)


def test_chats_are_continued_as_the_texts_of_their_template(chatty, steerer):
    texts = [render_chat(chatty, chat).text for chat in CHATS]
    assert texts[0] == "<bos> user anna noticed<eos> assistant "
    for generate in (ode.generate, lambda *a, **k: steerer.generate(*a, **k),
                     lambda *a, **k: ode.compose([steerer]).generate(*a, **k)):  # fmt: skip
        expected = generate(chatty, texts, completions_only=True, prepend_bos=False, **GREEDY)
        assert generate(chatty, CHATS, **GREEDY) == expected
        assert generate(chatty, iter(CHATS), **GREEDY) == expected
        whole = generate(chatty, CHATS, completions_only=False, **GREEDY)
        assert whole == generate(chatty, texts, prepend_bos=False, **GREEDY)
        assert all(a.endswith(b) and a != b for a, b in zip(whole, expected, strict=True))


@pytest.mark.parametrize("prepend_bos", [None, True, False])
def test_special_tokens_stand_once(chatty, prepend_bos):
    (batch,) = generate_tokens(chatty, CHATS, prepend_bos=prepend_bos, **GREEDY)
    bos = chatty.tokenizer.bos_token_id
    for row, start in zip(batch.tokens, batch.starts, strict=True):
        assert row[start] == bos
        assert (row[start : batch.prompt_length] == bos).sum() == 1


def test_a_template_without_a_bos_gets_none_unless_it_is_asked_for(chatty, monkeypatch):
    monkeypatch.setattr(chatty.tokenizer, "chat_template", TEMPLATE.replace("{{ bos_token }}", ""))
    for prepend_bos, expected in ((None, False), (False, False), (True, True)):
        (batch,) = generate_tokens(chatty, CHATS[:1], prepend_bos=prepend_bos, **GREEDY)
        assert bool(batch.tokens[0, 0] == chatty.tokenizer.bos_token_id) == expected


def test_texts_are_returned_with_their_continuation_as_before(organism):
    assert Prompts.of(organism, ["leo"]) == Prompts(["leo"], False, None)
    (text,) = ode.generate(organism, ["leo noticed"], **GREEDY)
    assert text.startswith("leo noticed")


def test_tokens_of_chats_are_coloured(chatty):
    contrast = ode.organism.contrast("valence", n=40)
    acts = ode.collect_activations(chatty, contrast, [2])[2]
    barrier = ode.LinearBarrier().fit_activations(acts).calibrate_activations(acts)
    steerer = ode.Steerer(ode.BarrierField(barrier), ode.Flow(angle=0.2), 2)
    shown = color_tokens(chatty, steerer, barrier, CHATS[:2], max_new_tokens=3, temperature=0.0)
    for row in shown.rows:
        (batch,) = generate_tokens(chatty, [CHATS[row.prompt]], max_new_tokens=1)
        assert row.generated_from == batch.prompt_length


@pytest.mark.parametrize(
    ("prompts", "word"),
    [
        ([CHATS[0], "leo"], r"prompts\[0\] is a chat and prompts\[1\]='leo' is none"),
        (["leo", CHATS[0]], r"prompts\[1\] is a chat and prompts\[0\]='leo' is none"),
        (CHATS[0], r"prompts is one chat .* prompts=\[chat\]"),
        ("leo", r"prompts='leo' is one text"),
        ([], "prompts is empty"),
        ([[]], "non-empty list"),
        ([["leo"]], "non-empty list"),
        ([3], r"prompts\[0\]=3 is not a text"),
        ({"role": "user", "content": "leo"}, "prompts is a dict"),
    ],
)
def test_other_prompts_are_refused(chatty, prompts, word, unchecked):
    with pytest.raises(ValueError, match=word):
        ode.generate(chatty, prompts, **GREEDY)


def test_a_model_without_a_template_says_so(organism):
    with pytest.raises(ValueError, match="no chat template"):
        ode.generate(organism, CHATS, **GREEDY)
