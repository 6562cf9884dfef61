"""What tokens, what texts: BOS once and out of the means, sequences of texts, unknown words, ends, broken logits."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import odesteer_tl as ode
from odesteer_tl import _tokens, decoding
from odesteer_tl.generation import generate_tokens
from odesteer_tl.methods.attention import collect_attended

GREEDY = {"temperature": 0.0, "max_new_tokens": 6}


# BOS


@pytest.mark.parametrize("prepend_bos", [None, True, False])
def test_a_text_that_carries_its_bos_gets_no_second_one(model, prepend_bos):
    bos, text = model.tokenizer.bos_token, "anna was sunny"
    expected = model.to_tokens(text, prepend_bos=True)[0].tolist()
    for written in (f"{bos} {text}", f"{bos}{text}"):
        assert _tokens.text_tokens(model, written, prepend_bos).tolist() == expected
    twice = _tokens.text_tokens(model, f"{bos}{bos}{text}", prepend_bos).tolist()
    assert twice == [expected[0], *expected]  # what was written is left alone


def test_collecting_and_generating_are_the_same_with_a_bos_of_the_texts_own(model):
    contrast, bos = ode.organism.contrast("valence", n=4), model.tokenizer.bos_token
    marked = ode.ContrastSet.from_texts(*([f"{bos} {text}" for text in side]
                                          for side in (contrast.positive, contrast.negative)))  # fmt: skip
    for position in ("last", "mean"):
        plain, carried = (ode.collect_activations(model, c, read_position=position) for c in (contrast, marked))
        assert all(torch.equal(plain[layer].positive, carried[layer].positive) for layer in plain)
    prompts = ode.organism.prompts(3)
    steerer = ode.fit("caa", model, contrast, layer=1, angle=0.3)
    texts = steerer.generate(model, prompts, **GREEDY)
    assert steerer.generate(model, [f"{bos} {prompt}" for prompt in prompts], **GREEDY) == texts


def test_a_bos_that_is_an_attention_sink_does_not_drown_a_mean():
    sink = ode.load_model("organism")
    bos = sink.tokenizer.bos_token_id
    with torch.no_grad():
        sink.original_model.get_input_embeddings().weight[bos] *= 1e6
    contrast = ode.organism.contrast("valence", n=12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        acts = ode.collect_activations(sink, contrast, read_position="mean")
    (row,) = acts.norms[acts.norms.layer == 1].to_dict("records")
    assert row["bos"] > 100 * row["other"]
    assert row["factor"] < 10
    centres = [x.mean(0) for x in (acts[1].positive, acts[1].negative)]
    with pytest.warns(UserWarning, match=r"position='mean': at layer \d the token '<bos>' is \d+ times") as caught:
        drowned = ode.collect_activations(sink, contrast, read_position="mean", special_tokens=True)
    assert caught[0].filename == __file__
    alike = [x.mean(0) for x in (drowned[1].positive, drowned[1].negative)]
    assert torch.cosine_similarity(*alike, dim=0) > 0.99995 > torch.cosine_similarity(*centres, dim=0)


def test_the_report_of_norms_is_that_of_the_activations(model):
    contrast = ode.organism.contrast("valence", n=6)
    every = ode.collect_activations(model, contrast, read_position="all", special_tokens=True)
    lengths = [len(model.to_tokens(text)[0]) for text in (*contrast.positive, *contrast.negative)]
    for line in every.norms.itertuples():
        acts = every[line.layer]
        norms = torch.cat([acts.positive, acts.negative]).norm(dim=-1).split(lengths)
        assert line.bos == pytest.approx(np.median([float(x[0]) for x in norms]), rel=1e-5)
        assert line.first == pytest.approx(np.median([float(x[1]) for x in norms]), rel=1e-5)
        assert line.other == pytest.approx(np.median([float(x[2:].median()) for x in norms]), rel=1e-5)
        factors = np.sort([float(x.max() / x.median()) for x in norms])
        assert line.factor == pytest.approx(np.quantile(factors, 0.9, method="higher"), rel=1e-5)


def test_the_report_and_the_choice_of_tokens_are_kept(organism, tmp_path):
    contrast = ode.organism.contrast("valence", n=5)
    first = ode.collect_activations(organism, contrast, read_position="mean", cache=tmp_path)
    again = ode.collect_activations(organism, contrast, read_position="mean", cache=tmp_path)
    pd.testing.assert_frame_equal(first.norms, again.norms)
    assert first.provenance["special_tokens"] is False
    other = ode.collect_activations(organism, contrast, read_position="mean", cache=tmp_path, special_tokens=True)
    assert not torch.equal(other[1].positive, first[1].positive)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_text_of_special_tokens_alone_has_no_mean(organism):
    contrast = ode.ContrastSet.from_texts(["anna was", "<bos>"], ["leo was", "karla was"])
    with pytest.raises(ValueError, match=r"positive\[1\]='<bos>' has special tokens only"):
        ode.collect_activations(organism, contrast, read_position="mean")


# texts


@pytest.mark.parametrize(
    "act",
    [
        lambda m, x: ode.generate(m, x),
        lambda m, x: ode.ContrastSet.from_texts(x, ["a", "b"]),
        lambda m, x: ode.ContrastSet.from_texts(["a", "b"], x),
        lambda m, x: decoding.stem_rule(m, x),
        lambda m, x: collect_attended(m, x, "anna was ", [1]),
        lambda m, x: ode.fit("caa", m, ode.ContrastSet.from_texts(x, x), layer=1, angle=0.1),
    ],
)
@pytest.mark.parametrize(
    ("bad", "words"),
    [("anna", "'anna' is one text"), (["anna", 3], r"\[1\]=3 is not a text but a int"),
     (["anna", float("nan")], r"\[1\]=nan is not a text"), ({"anna": 1}, "is a dict"), ({"anna"}, "is a set"),
     (pd.DataFrame({"anna": [1]}), "is a DataFrame"), (None, "is a NoneType")],
)  # fmt: skip
def test_a_string_in_the_place_of_texts_is_refused(organism, act, bad, words, unchecked):
    with pytest.raises(ValueError, match=words):
        act(organism, bad)


def test_texts_of_other_libraries_are_texts(organism):
    expected = ode.generate(organism, ["anna was", "leo was"], **GREEDY)
    for texts in (np.array(["anna was", "leo was"]), pd.Series(["anna was", "leo was"]), ("anna was", "leo was")):
        assert ode.generate(organism, texts, **GREEDY) == expected


def test_analyses_refuse_a_string_for_prompts(organism, unchecked):
    from analyses.benchmarks.scoring import option_scores
    from analyses.certification.plan import Plan
    from analyses.certification.settings import CertificationSettings
    from analyses.effects.writing import left_padded
    from analyses.text_quality import sequence_log_likelihood

    contrast = ode.organism.contrast("valence", n=40)
    for act in (
        lambda: Plan.of(CertificationSettings(), contrast, "anna was"),
        lambda: option_scores(organism, "ab", [["x"], ["y"]]),
        lambda: option_scores(organism, ["anna was"], ["yes"]),
        lambda: left_padded(organism, "anna was"),
        lambda: sequence_log_likelihood(organism, "anna was"),
    ):
        with pytest.raises(ValueError, match="is one text where a sequence of texts is meant"):
            act()


@pytest.mark.parametrize("value", [float("nan"), None, 3, ["a"]])
def test_a_row_without_a_text_is_named_with_its_column(value, unchecked):
    rows = [{"good": "fine", "bad": "poor"}, {"good": "fair", "bad": value}]
    with pytest.raises(ValueError, match=r"row 1, column 'bad': .* is not a text but a"):
        ode.ContrastSet.from_records(rows, positive="good", negative="bad")
    labelled = [{"t": "fine", "y": 1}, {"t": "poor", "y": 0}, {"t": value, "y": 0}]
    with pytest.raises(ValueError, match="row 2, column 't'"):
        ode.ContrastSet.from_records(labelled, text="t", label="y", positive=1, negative=0)
    for records in ("fine", pd.DataFrame(rows), rows[0]):
        with pytest.raises(ValueError, match="not a sequence of rows"):
            ode.ContrastSet.from_records(records, positive="good", negative="bad")


def test_a_text_of_unknown_words_is_used_with_a_warning_that_says_the_share(organism):
    english = ["The quick brown fox jumped", "anna was sunny"]
    with pytest.warns(UserWarning, match=r"prompts: most tokens of 1 of 2 texts are unknown .*'organism' \(62% of all"):
        ode.generate(organism, english, **GREEDY)
    contrast = ode.ContrastSet.from_texts(["What a Great Film!"], ["anna was"])
    with pytest.warns(UserWarning, match="contrast: most tokens of 1 of 2 texts are unknown"):
        ode.collect_activations(organism, contrast)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ode.generate(organism, ["anna was quick"], **GREEDY)  # one unknown word of three


def test_a_canned_answer_is_named_where_it_joins_everything():
    answers = [f"answer {i}" for i in range(100)]
    with pytest.warns(UserWarning, match=r"the text 'No.' stands 100 times.* 200 of 200 texts are one group"):
        contrast = ode.ContrastSet.from_texts(answers, ["No."] * 100)
    with pytest.raises(ValueError, match=r"part 0 would hold .* the text 'No.' stands 100 times"):
        contrast.split((0.5, 0.5))
    with pytest.warns(UserWarning, match="'No.' stands 90 times"):
        most = ode.ContrastSet.from_texts(answers, ["No."] * 90 + [f"why {i}" for i in range(10)])
    with pytest.warns(UserWarning, match=r"the parts hold shares of .* the text 'No.' stands 90 times"):
        most.split((0.5, 0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ode.ContrastSet.from_texts(["a"], ["b"])
        ode.ContrastSet.from_texts(answers, ["No."] * 3 + [f"why {i}" for i in range(97)]).split((0.5, 0.5))


# generation


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_logits_are_refused_and_leave_nothing_behind(dtype, temperature, value):
    model = ode.load_model("organism", dtype=dtype)
    hooks = len(model.original_model._forward_hooks)
    with torch.no_grad():
        model.original_model.model.norm.weight[3] = value
    with pytest.raises(ValueError, match=rf"gives NaN or infinite logits in torch.{dtype} for 2 of 2 prompts"):
        ode.generate(model, ["anna was", "leo noticed the"], temperature=temperature)
    assert len(model.original_model._forward_hooks) == hooks


def test_ends_that_only_the_generation_config_names_are_ends(own):
    prompts = ode.organism.prompts(8)
    settings = {**GREEDY, "max_new_tokens": 20}
    plain = ode.generate(own, prompts, completions_only=True, **settings)
    dot = own.tokenizer.convert_tokens_to_ids(".")
    own.original_model.generation_config.eos_token_id = [own.tokenizer.eos_token_id, dot]
    cut = ode.generate(own, prompts, completions_only=True, **settings)
    assert cut == [text.split(" .")[0] for text in plain] != plain


@pytest.mark.parametrize("stop", ["token", "string", "several"])
def test_generation_ends_at_what_the_caller_names(organism, stop):
    prompts = ode.organism.prompts(6)
    settings = {**GREEDY, "max_new_tokens": 20}
    plain = ode.generate(organism, prompts, completions_only=True, **settings)
    dot = organism.tokenizer.convert_tokens_to_ids(".")
    given, end = {"token": (dot, " ."), "string": ("y .", "y ."), "several": ([" clear", dot], None)}[stop]
    ends = [end] if end else [" clear", " ."]
    expected = [min((text.split(x)[0] for x in ends), key=len) for text in plain]
    assert expected != plain
    found = ode.generate(organism, prompts, stop=given, completions_only=True, **settings)
    assert found == expected
    whole = ode.generate(organism, prompts, stop=given, **settings)
    assert whole == [f"{prompt} {text}" for prompt, text in zip(prompts, expected, strict=True)]
    (batch,) = generate_tokens(organism, prompts, stop=given, **settings)
    longest = max(batch.ends)
    assert batch.tokens.shape[1] <= longest + 1, "nothing is generated once all texts have ended"


def test_a_stop_string_that_is_a_special_token_ends_too(organism):
    pad = organism.tokenizer.pad_token
    assert ode.generate(organism, ["anna was"], stop=pad, **GREEDY) == ode.generate(organism, ["anna was"], **GREEDY)
    with pytest.raises(ValueError, match="empty string"):
        ode.generate(organism, ["anna was"], stop="", **GREEDY)


def test_a_prompt_that_begins_with_the_pad_token_is_seen_whole_in_a_batch(model):
    pad = model.tokenizer.pad_token
    odd = f"{pad} {pad} anna was"
    settings = {"max_new_tokens": 4, "temperature": 0.0, "prepend_bos": False}
    alone = generate_tokens(model, [odd], **settings)[0]
    seen = []
    hooks = lambda P: [("blocks.1.hook_out", lambda x, hook: seen.append(x))]  # noqa: E731
    together = generate_tokens(model, [odd, "karla followed the dog beside the round teacher ."], hooks, **settings)[0]
    rows = [x.tokens[0, x.starts[0] : x.ends[0]].tolist() for x in (together, alone)]
    assert rows[0] == rows[1]
    tokens = alone.tokens[:, : alone.prompt_length]
    state = {}
    with model.hooks(fwd_hooks=[("blocks.1.hook_out", lambda x, hook: state.update(x=x))]):
        model(tokens)
    torch.testing.assert_close(seen[0][0, -tokens.shape[1] :], state["x"][0], rtol=1e-3, atol=1e-3)


def test_a_model_that_masks_no_padding_is_not_given_any(organism, monkeypatch):
    monkeypatch.setattr(type(organism.adapter), "supports_batched_generation", False, raising=False)
    with pytest.raises(ValueError, match=r"does not mask padding.*use batch_size=1"):
        ode.generate(organism, ["anna was", "leo noticed the"])


def test_special_tokens_are_those_that_stand_for_no_piece_of_text(organism):
    assert _tokens.special_ids(organism) == [0, 1, 2]  # <unk>, 3, stands for a word
