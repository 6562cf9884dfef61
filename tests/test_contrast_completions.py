"""Contrasts of completions and of chats: what is remembered of them, files, and where a completion's tokens begin."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import odesteer_tl as ode
from analyses.sources import load_contrast
from odesteer_tl.spans import completion_start, completion_starts

ROWS = [{"prompt": f"question {i}?", "positive": f" yes {i}", "negative": f" no\u2028{i}"} for i in range(6)]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>\n{{ m['content'] | trim }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)


@pytest.fixture
def chatty(organism, monkeypatch):
    monkeypatch.setattr(organism.tokenizer, "chat_template", TEMPLATE, raising=False)
    return organism


def ask(question, answer):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def completions(contrast):
    sides = ((contrast.positive, contrast.positive_prompts), (contrast.negative, contrast.negative_prompts))
    return [[text[n:] for text, n in zip(texts, lengths, strict=True)] for texts, lengths in sides]


def write(folder, rows):
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    frame = pd.DataFrame(rows)
    frame.to_parquet(folder / "rows.parquet")
    frame.map(lambda x: x if isinstance(x, str) else json.dumps(x)).to_csv(folder / "rows.csv", index=False)
    return [folder / f"rows.{kind}" for kind in ("jsonl", "parquet", "csv")]


def test_completions_remember_their_prompts_through_splits():
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    contrast = ode.ContrastSet.from_completions(columns["prompt"], columns["positive"], columns["negative"])
    assert contrast.positive[2] == "question 2? yes 2"
    assert contrast.paired
    for part in (contrast, *contrast.split((0.5, 0.5), seed=1)):
        good, bad = completions(part)
        assert all(end.startswith(" yes") for end in good)
        assert all(end.startswith(" no") for end in bad)
        assert len(good) == len(part.positive)
    plain = ode.ContrastSet.from_texts(contrast.positive, contrast.negative)
    assert plain.positive_prompts is None
    assert plain.digest != contrast.digest  # a cache of activations must tell them apart


def test_equal_prompts_are_one_group_unless_all_are_equal():
    def groups(prompts):
        return ode.ContrastSet.from_completions(prompts, [" a", " b", " c"], [" d", " e", " f"]).positive_groups

    assert len(set(groups(["x", "y", "x"]))) == 2
    assert len(set(groups("x"))) == len(set(groups(["x", "x", "x"]))) == 3


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda c: c.from_completions(["a"], [" b", " c"], [" d"]), "1, 2 and 1 rows"),
        (lambda c: c.from_completions(["a", "b"], [" b", " "], [" d", " e"]), r"positive\[1\]=' ' is not a text"),
        (lambda c: c(("ab",), ("cd",), (0,), (0,), {}, (2,), (1,)), r"positive_prompts\[0\]=2 leaves no completion"),
        (lambda c: c(("ab",), ("cd",), (0,), (0,), {}, (1, 1), (1,)), "2 lengths for 1 texts"),
        (lambda c: c.from_records(ROWS, prompt="ask"), "column 'ask' is missing"),
        (lambda c: c.from_records(ROWS, prompt="prompt", template="Q: {text}"), "without text, label or template"),
        (lambda c: c.from_file("rows.xlsx"), "'.xlsx' is unknown"),
    ],
)
def test_bad_completions_are_named(make, word, unchecked):
    with pytest.raises(ValueError, match=word):
        make(ode.ContrastSet)


def test_files_have_default_columns(tmp_path):
    paths = write(tmp_path, ROWS)
    sets = [ode.ContrastSet.from_file(path) for path in paths]
    sets += [ode.ContrastSet.from_jsonl(paths[0]), ode.ContrastSet.from_parquet(paths[1]),
             ode.ContrastSet.from_csv(paths[2])]  # fmt: skip
    for contrast in sets:
        assert completions(contrast) == [[row[side] for row in ROWS] for side in ("positive", "negative")]
        assert "sha256" in contrast.provenance
    # who names the columns gets those columns and no more
    named = ode.ContrastSet.from_parquet(paths[1], positive="positive", negative="negative")
    assert named.positive[0] == " yes 0"
    assert named.positive_prompts is None


WRITTEN = {
    "texts": ode.ContrastSet.from_texts(["a é", "b", "a é"], ["c", "d", "e"]),
    "groups": ode.ContrastSet.from_texts(["a", "b", "c"], ["d", "e", "f"], groups=([0, 1, 0], [0, 1, 0])),
    "one prompt": ode.ContrastSet.from_completions("It was", [" a", " b"], [" c", " d"]),
    "prompts": ode.ContrastSet.from_completions(["x", "y", "x"], [" a", " b", " c"], [" d", " e", " f"]),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_pairs_that_are_written_come_back_to_python_and_to_studies(name, tmp_path):
    contrast = WRITTEN[name]
    path = contrast.to_file(tmp_path / "pairs.jsonl")
    for found in (ode.ContrastSet.from_file(path), load_contrast(str(path), 0, 0)):
        assert (found.digest, found.positive_prompts) == (contrast.digest, contrast.positive_prompts)
        assert found.positive_groups == found.negative_groups == contrast.positive_groups
    assert contrast.to_file(path) == path  # replaced
    # who names the columns gets those columns and no more
    named = ode.ContrastSet.from_file(path, positive="positive", negative="negative")
    if name == "groups":
        assert (contrast.positive_groups, named.positive_groups) == ((0, 1, 0), (0, 1, 2))


@pytest.mark.parametrize(("contrast", "name", "says"), [
    (ode.ContrastSet.from_texts(["a", "b"], ["c"]), "p.jsonl", "holds no pairs"),
    (replace(WRITTEN["texts"], prepend_bos=False), "p.jsonl", "holds chats"),
    (replace(WRITTEN["one prompt"], negative_prompts=(1, 1)), "p.jsonl", "completions of different prompts"),
    (replace(WRITTEN["one prompt"], positive_prompts=None), "p.jsonl", "completions of different prompts"),
    (replace(WRITTEN["one prompt"], negative_prompts=None), "p.jsonl", "completions of different prompts"),
    (WRITTEN["texts"], "p.csv", "must end in .jsonl"),
])  # fmt: skip
def test_what_a_file_of_pairs_cannot_say_is_not_written(contrast, name, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        contrast.to_file(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_chats_are_written_as_the_template_writes_them(chatty):
    tokenizer = chatty.tokenizer
    system = {"role": "system", "content": "be brief"}
    good, bad = [[system, *ask("was it good", answer)] for answer in ("yes it was", "no")]
    contrast = ode.ContrastSet.from_chat(chatty, [good], [bad])
    end = tokenizer.eos_token + "\n"
    asked = f"{tokenizer.bos_token}<system>\nbe brief{end}<user>\nwas it good{end}<assistant>\n"
    assert (contrast.positive, contrast.negative) == ((asked + "yes it was",), (asked + "no",))
    assert contrast.positive_prompts == contrast.negative_prompts == (len(asked),)
    users = ode.ContrastSet.from_chat(tokenizer, [good[:2]], [[system, {"role": "user", "content": "was it bad"}]])
    assert users.positive == (asked,)
    assert users.positive_prompts is None


def test_chats_are_read_with_one_bos(chatty):
    contrast = ode.ContrastSet.from_chat(chatty, [ask("good", "yes")], [ask("bad", "no")])
    acts = ode.collect_activations(chatty, contrast, [1])
    tokens = chatty.to_tokens(contrast.positive[0], prepend_bos=False)
    assert (tokens == chatty.tokenizer.bos_token_id).sum() == 1
    with torch.no_grad():
        _, cache = chatty.run_with_cache(tokens)
    torch.testing.assert_close(acts[1].positive[0], cache["blocks.1.hook_out"][0, -1], rtol=1e-4, atol=1e-4)


def test_message_lists_in_files_need_a_model_and_are_its_chats(chatty, tmp_path):
    layouts = [
        [{"positive": ask(f"q {i}", "yes"), "negative": ask(f"q {i}", "no")} for i in range(3)],
        [{"prompt": ask(f"q {i}", "")[:1], "positive": "yes", "negative": "no"} for i in range(3)],
        [{"prompt": f"q {i}", "positive": ask("", "yes")[1:], "negative": ask("", "no")[1:]} for i in range(3)],
    ]
    expected = ode.ContrastSet.from_chat(
        chatty, [row["positive"] for row in layouts[0]], [row["negative"] for row in layouts[0]]
    )
    for k, rows in enumerate(layouts):
        folder = tmp_path / str(k)
        folder.mkdir()
        for path in write(folder, rows):
            found = ode.ContrastSet.from_file(path, model=chatty)
            assert (found.positive, found.negative) == (expected.positive, expected.negative)
            assert found.positive_prompts == expected.positive_prompts
            assert found.prepend_bos is False
            with pytest.raises(ValueError, match="message lists; pass model="):
                ode.ContrastSet.from_file(path)


@pytest.mark.parametrize(
    ("chat", "template", "word"),
    [
        (ask("a", "b"), None, "no chat template"),
        ([], TEMPLATE, "non-empty list"),
        ("a text", TEMPLATE, "non-empty list"),
        ([{"role": "user"}], TEMPLATE, "non-empty list"),
        (ask("a", "b"), TEMPLATE.replace("<assistant>", "<someone else>"), "behind what asks for it"),
    ],
)
def test_chats_that_cannot_be_written_are_refused(organism, monkeypatch, chat, template, word, unchecked):
    monkeypatch.setattr(organism.tokenizer, "chat_template", template, raising=False)
    with pytest.raises(ValueError, match=word):
        ode.ContrastSet.from_chat(organism, [chat], [chat])


# --- where the tokens of a completion begin


WORDS = sorted({word for text in ode.organism.prompts(20) for word in text.split()})


@settings(max_examples=40, deadline=None)
@given(words=st.lists(st.sampled_from(WORDS), min_size=2, max_size=8), cut=st.integers(1, 7), bos=st.booleans(),
       space=st.booleans())  # fmt: skip
def test_a_completion_begins_where_its_words_tokens_do(organism, words, cut, bos, space):
    cut = min(cut, len(words) - 1)
    prompt, end = " ".join(words[:cut]), " ".join(words[cut:])
    tokens = organism.to_tokens(f"{prompt} {end}", prepend_bos=bos)[0]
    # a tokenizer of words has no token for the space, on whichever side it stands
    start = completion_start(organism.tokenizer, f"{prompt} {end}", len(prompt) + space, tokens)
    assert len(tokens) - start == len(organism.to_tokens(end, prepend_bos=False)[0])
    assert tokens[start:].tolist() == organism.to_tokens(end, prepend_bos=False)[0].tolist()


def test_a_completion_begins_where_a_real_vocabulary_says(tinystories):
    tokenizer = tinystories.tokenizer
    for prompt, end in (("Once upon a time ", "there was a dog"), ("She said: ", "yes")):
        tokens = tinystories.to_tokens(prompt + end)[0]
        start = completion_start(tokenizer, prompt + end, len(prompt), tokens)
        assert tokenizer.decode(tokens[start:]).strip() == end.strip()
        assert tokenizer.decode(tokens[:start], skip_special_tokens=True).strip() == prompt.strip()
    text = "Once upon a time there was"
    tokens = tinystories.to_tokens(text)[0]
    with pytest.raises(ValueError, match="holds the prompt's end"):  # here the space belongs to the word before it
        completion_start(tokenizer, text, len("Once upon a time"), tokens)


def test_a_token_across_the_boundary_is_named(organism):
    text = "leo noticed"
    tokens = organism.to_tokens(text)[0]
    with pytest.raises(ValueError, match=r"the token '.*noticed' holds the prompt's end"):
        completion_start(organism.tokenizer, text, len("leo noti"), tokens)
    with pytest.raises(ValueError, match="no token behind its prompt"):
        completion_start(organism.tokenizer, text, len(text), tokens)
    with pytest.raises(ValueError, match="other tokens by the model"):
        completion_start(organism.tokenizer, text, len("leo"), tokens.flip(0))


def test_a_contrast_that_knows_no_completions_says_so(chatty):
    good, bad = WORDS[:2]
    chats = ode.ContrastSet.from_chat(chatty, [ask("leo was", good)], [ask("leo was", bad)])
    rows = [chatty.to_tokens(text, prepend_bos=False)[0] for text in (*chats.positive, *chats.negative)]
    starts = completion_starts(chatty.tokenizer, chats, rows)
    for row, start, answer in zip(rows, starts, (good, bad), strict=True):
        assert chatty.tokenizer.decode(row[start:]).strip() == answer
    plain = ode.ContrastSet.from_texts(chats.positive, chats.negative)
    with pytest.raises(ValueError, match="does not know where its completions begin"):
        completion_starts(chatty.tokenizer, plain, rows)
