"""Judges by local directory: tiny random classifiers against one text at a time, and what their verdicts come to."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import odesteer_tl as ode
from analyses.benchmarks.__main__ import ToxicityConfig, main
from analyses.benchmarks.judges import INFO, TRUTH, RewardModel, ToxicityClassifier, YesNoJudge
from analyses.benchmarks.presets import PRESETS, Sampling, preset
from analyses.benchmarks.published import METRICS, all_published
from analyses.benchmarks.questions import Question
from analyses.benchmarks.study import Settings, run_benchmark
from analyses.benchmarks.toxicity import RealToxicityPrompts, load_prompts
from analyses.benchmarks.truthfulqa import INSTRUCTION, TruthfulQAGeneration, product_of_shares
from analyses.benchmarks.ultrafeedback import UltraFeedback, load_preferences
from tests.problems import on_disk

SHORT = Sampling(max_new_tokens=5)
TEXTS = ["mona met leo .", "soon the dry cabin was near the sea .", "leo"]


def classifier(path, pad_token_id=0, **config):
    """A Llama with a random classification head and the organism's tokenizer, on disk."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    shape = LlamaConfig(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=128, pad_token_id=pad_token_id, **config,
    )  # fmt: skip
    return on_disk(lambda: LlamaForSequenceClassification(shape), path)


@pytest.fixture(scope="module")
def toxic_directory(tmp_path_factory):
    return classifier(
        tmp_path_factory.mktemp("toxic"), id2label={0: "neutral", 1: "Toxic"}, label2id={"neutral": 0, "Toxic": 1}
    )


@pytest.fixture(scope="module")
def reward(tmp_path_factory):
    return RewardModel(classifier(tmp_path_factory.mktemp("reward"), num_labels=1))


@pytest.fixture
def preferences(tmp_path):
    words = ["near", "sea", "wet", "dry", "cabin", "soon", "was", "the", "met", "mona", "leo", "."]
    rows = [{"prompt": f"mona met the {word}", "chosen": [{"role": "assistant", "content": f"soon {word}"}],
             "rejected": f"leo was {word} ."} for word in words]  # fmt: skip
    path = tmp_path / "prefs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_preferences(path)


@torch.no_grad()
def alone(judge, *texts):
    return judge.model(
        **{k: v for k, v in judge.tokenizer(*texts, return_tensors="pt").items() if "type" not in k}
    ).logits[0]


def test_toxicity_does_not_depend_on_the_batch(toxic_directory):
    judge = ToxicityClassifier(toxic_directory, "toxic")
    wanted = [float(alone(judge, text).softmax(-1)[1]) for text in TEXTS]
    np.testing.assert_allclose(judge.toxicity(TEXTS), wanted, rtol=1e-4)
    neutral = ToxicityClassifier(toxic_directory, "neutral")
    np.testing.assert_allclose(neutral.toxicity(TEXTS) + judge.toxicity(TEXTS), 1, rtol=1e-5)
    judge.model.config.problem_type = "multi_label_classification"
    np.testing.assert_allclose(judge.toxicity(TEXTS[:1]), float(alone(judge, TEXTS[0]).sigmoid()[1]), rtol=1e-4)


def test_rewards_are_of_the_pair(reward):
    responses = ["soon .", "leo", "the wet sea ."]
    wanted = [float(alone(reward, p, r)[0]) for p, r in zip(TEXTS, responses, strict=True)]
    np.testing.assert_allclose(reward.rewards(TEXTS, responses), wanted, rtol=1e-4, atol=1e-6)
    reward.tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} . {% endfor %}"
    try:
        wanted = [float(alone(reward, f"{p} . {r} . ")[0]) for p, r in zip(TEXTS, responses, strict=True)]
        np.testing.assert_allclose(reward.rewards(TEXTS, responses), wanted, rtol=1e-4, atol=1e-6)
    finally:
        reward.tokenizer.chat_template = None


def test_a_reward_is_the_texts_own_whatever_it_is_batched_with(tmp_path):
    """Without a padding token in its configuration; the template ends a text with <eos>, as Llama 3.1's does."""
    judge = RewardModel(classifier(tmp_path, pad_token_id=None, num_labels=1))
    judge.tokenizer.pad_token = judge.tokenizer.eos_token  # a common stand-in, which the head would read over
    judge.tokenizer.chat_template = "{{ bos_token }}{% for m in messages %}{{ m['content'] }} . {% endfor %}<eos>"
    found = judge.rewards(TEXTS, ["soon .", "leo", "the wet sea ."])
    whole = [f"{p} . {r} . <eos>" for p, r in zip(TEXTS, ["soon .", "leo", "the wet sea ."], strict=True)]
    np.testing.assert_allclose(found, [float(alone(judge, text)[0]) for text in whole], rtol=1e-4, atol=1e-6)
    ids = judge.tokenizer(whole[0])["input_ids"]
    assert (ids.count(judge.tokenizer.bos_token_id), ids[-1]) == (1, judge.tokenizer.eos_token_id)


def test_roberta_toxicity_classifiers_are_read_as_their_configuration_says(tmp_path):
    """The configuration of s-nlp/roberta_toxicity_classifier, smaller; texts longer than its positions are cut."""
    from transformers import RobertaConfig, RobertaForSequenceClassification

    shape = RobertaConfig(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=34, type_vocab_size=1, bos_token_id=0, pad_token_id=1, eos_token_id=2,
        problem_type="single_label_classification", id2label={0: "neutral", 1: "toxic"},
        label2id={"neutral": 0, "toxic": 1},
    )  # fmt: skip
    judge = ToxicityClassifier(on_disk(lambda: RobertaForSequenceClassification(shape), tmp_path))
    texts = [TEXTS[1], "the wet sea was near . " * 20]
    cut = judge.tokenizer(texts[1], truncation=True, max_length=32, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = torch.stack([alone(judge, texts[0]), judge.model(input_ids=cut).logits[0]])
    np.testing.assert_allclose(judge.toxicity(texts), logits.softmax(-1)[:, 1], rtol=1e-4)


def test_judges_that_cannot_judge_are_refused(toxic_directory, tmp_path):
    with pytest.raises(ValueError, match=r"label='rude'.*neutral"):
        ToxicityClassifier(toxic_directory, "rude")
    with pytest.raises(ValueError, match="has 2 outputs"):
        RewardModel(toxic_directory)
    with pytest.raises(ValueError, match=r"without config\.json"):
        RewardModel(tmp_path)


def test_a_causal_judge_weighs_yes_against_no(organism):
    judge = YesNoJudge(organism, TRUTH)
    found = judge.yes(["was leo wet ?", "was leo dry ?"], ["leo was wet", "soon ."])
    prompt = TRUTH.format(question="was leo dry ?", answer="soon .")
    tokens = [organism.to_tokens(prompt + word) for word in (" yes", " no")]
    P = organism.to_tokens(prompt).shape[1]
    with torch.no_grad():
        scores = [organism(t).log_softmax(-1)[0, P - 1 : -1].gather(-1, t[0, P:, None]).sum() for t in tokens]
    assert found[1] == pytest.approx(float(torch.stack(scores).softmax(0)[0]), rel=1e-4)


def test_an_empty_answer_is_neither_true_nor_informative(tinystories):
    questions = [
        Question(f"Who is {n}?", ("A boy.", "A dog."), (True, False), (0, 1), (0, 1)) for n in ("Tom", "Ben", "Sam")
    ]
    task = TruthfulQAGeneration(questions, YesNoJudge(tinystories, TRUTH), YesNoJudge(tinystories, INFO), SHORT)
    texts = [" A boy.", " He was a dog.", " A friend."]
    full, none = task.score(range(3), texts, None), task.score(range(3), [" ", "...", ""], None)
    assert not none[["true", "info", "true_and_info"]].to_numpy().any()
    np.testing.assert_array_equal(full["true"], full["p_true"] > 0.5)
    np.testing.assert_array_equal(full["true_and_info"], full["true"] & full["info"])
    assert task.answer(" A boy.\nQ: Who is Ben?\nA: A dog.") == " A boy."
    # the instruction is for the model that answers: fields are fitted without it, judges asked without it
    assert task.prompts([0]) == [INSTRUCTION + "Q: Who is Tom?\nA:"]
    assert task.contrast([0]).positive == ("Q: Who is Tom?\nA: A boy.",)


@pytest.mark.parametrize("template", [TRUTH, INFO])
def test_judges_are_asked_as_they_were_tuned(template):
    """A row of the judges' own data (yizhongw/truthfulqa_reeval, data/finetune_*_dev.jsonl): prompt and completion."""
    name = {TRUTH: "True", INFO: "Helpful"}[template]
    question, answer = "What is underneath the Denver Airport?", "I have no comment."
    assert template.format(question=question, answer=answer) == f"Q: {question}\nA: {answer}\n{name}:"


def test_true_times_info_is_the_product_of_the_shares():
    rng = np.random.default_rng(0)
    true, info = rng.random(400) < 0.6, rng.random(400) < 0.8
    found = product_of_shares(true.astype(float), info.astype(float))
    assert found.value == pytest.approx(true.mean() * info.mean())
    # delta method, the two shares being independent
    spread = np.sqrt(info.mean() ** 2 * true.var() / 400 + true.mean() ** 2 * info.var() / 400)
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.15)


def test_wins_losses_and_ties(preferences, reward):
    task, units = UltraFeedback(preferences, reward, SHORT), range(6)
    mine, other = [" soon ."] * 6, [" the wet sea ."] * 6
    first, second = task.score(units, mine, other), task.score(units, other, mine)
    np.testing.assert_allclose(first["win_rate"] + second["win_rate"], 1)
    assert (task.score(units, mine, mine)["win_rate"] == 0.5).all()
    assert (task.score(units, mine, None)["win_rate"] == 0.5).all()
    # an empty response loses, to whatever, and something wins against nothing
    empty = [" ", *mine[1:]]
    assert task.score(units, empty, mine)["win_rate"][0] == 0
    assert task.score(units, empty, empty)["win_rate"][0] == 0
    assert task.score(units, mine, empty)["win_rate"][0] == 1
    # as published: the bare prompt is continued, a field fitted on the response in a line of its own
    assert task.prompts([1]) == ["mona met the sea"]
    assert task.contrast([1]).positive == ("mona met the sea\nsoon sea",)
    assert task.contrast([1]).negative == ("mona met the sea\nleo was sea .",)


def test_win_rates_end_to_end(organism, preferences, reward):
    task = UltraFeedback(preferences, reward, SHORT)
    settings = Settings(methods=("caa",), layers=(2,), strengths=(0.4,))
    result = run_benchmark(task, organism, settings)
    summary = result.summary.set_index(["method", "metric"])
    assert summary.loc[("unsteered", "win_rate"), "value"] == 0.5
    assert 0 <= summary.loc[("caa", "win_rate"), "value"] <= 1
    assert (result.outcomes.groupby("method")["unit"].nunique() == 12).all()


@pytest.fixture
def prompts(tmp_path):
    rows = [{"prompt": {"text": f"mona met {i}"}, "continuation": {"text": " leo ." if i % 2 else " soon .",
             "toxicity": 0.9 if i % 2 else 0.1}} for i in range(12)]  # fmt: skip
    rows.append({"prompt": {"text": "leo"}, "continuation": {"text": " .", "toxicity": None}})
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_silence_is_no_detoxification(organism, toxic_directory, prompts):
    known = load_prompts(prompts)
    assert len(known) == 12
    task = RealToxicityPrompts(known, ToxicityClassifier(toxic_directory), SHORT)
    said, silent = task.score(range(2), [" soon .", " leo ."], None), task.score(range(2), ["", " leo ."], None)
    assert silent["toxicity"][0] == 1 > said["toxicity"][0]
    assert silent["toxicity"][1] == said["toxicity"][1]
    contrast = task.contrast(range(12))
    assert all(text.endswith(" soon .") for text in contrast.positive)
    assert all(text.endswith(" leo .") for text in contrast.negative)
    with pytest.raises(ValueError, match="to fit on"):
        task.contrast([i for i in range(12) if known[i]["toxicity"] < 0.5])
    result = run_benchmark(task, organism, Settings(methods=("caa",), layers=(2,), strengths=(0.3, 0.6)))
    chosen = result.selection.query("chosen")
    best = result.selection.groupby("fold")["toxicity"].transform("min")  # lower is better
    assert (chosen["toxicity"] == best[chosen.index]).all()
    assert ode.METHODS["caa"].T is None


def test_published_figures_stand_beside_the_metric_they_are():
    assert {task.name: task.criterion for task in (UltraFeedback, TruthfulQAGeneration, RealToxicityPrompts)} == METRICS
    assert all_published()["differs"].str.len().gt(20).all()


def test_published_figures_are_printed_beside_ours_where_the_model_is_the_presets(
    organism, toxic_directory, prompts, tmp_path, monkeypatch, capsys
):
    """A preset made of the embedded model: the published figures of the preset's name then stand below ours."""
    own = ode.ModelIdentity.of(organism)
    known = replace(preset("odesteer-llama3.1-8b"), model=f"someone/{own.name}", n_layers=own.n_layers,
                    d_model=own.d_model, layer=2, strengths=(1.0,))  # fmt: skip
    monkeypatch.setitem(PRESETS, "odesteer-llama3.1-8b", known)
    config = ToxicityConfig(data=str(prompts), out=tmp_path / "out", preset="odesteer-llama3.1-8b", model="organism",
                            classifier=str(toxic_directory), methods=("caa",), sampling=SHORT)  # fmt: skip
    main(config)
    ours, published = capsys.readouterr().out.split("Published, same model:")
    assert all(figure in published for figure in ("0.116", "0.226", "0.155", "0.046", "Perspective API"))
    assert "toxicity" in ours
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert {row["metric"] for row in run["published"]} == {"toxicity"}
    assert len(run["published"]) == 3 + 4
    limited = replace(config, limit=8)  # other data than was published on
    assert limited.beside(organism, "toxicity").empty
