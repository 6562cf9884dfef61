"""The shipped organism is what its provenance says, boots offline, and the trainer makes directories like it."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from odesteer_tl.organism import PATH, judge, prompts
from odesteer_tl.organism.corpus import batches, encode, entropy_rate
from odesteer_tl.organism.grammar import sample
from odesteer_tl.organism.lexicon import VOCABULARY
from odesteer_tl.organism.train import TrainConfig, evaluate, train

TINY = TrainConfig(n_texts=40, n_held_out=10, n_layers=1, d_model=16, d_mlp=16, n_heads=2, batch_size=8, threads=2)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(PATH)


@pytest.fixture(scope="module")
def model():
    return LlamaForCausalLM.from_pretrained(PATH).eval()


@pytest.fixture(scope="module")
def provenance():
    return json.loads((PATH / "provenance.json").read_text())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "tiny"
    train(out, TINY)
    return out


def test_the_shipped_directory_is_small_and_complete() -> None:
    assert sum(path.stat().st_size for path in PATH.iterdir()) <= 5_000_000
    names = {path.name for path in PATH.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "provenance.json"} <= names


def test_the_tokenizer_gives_back_every_text_and_keeps_its_special_tokens_apart(tokenizer) -> None:
    for text in sample(50, seed=0):
        ids = tokenizer(text.text)["input_ids"]
        assert ids[0] == tokenizer.bos_token_id
        assert len(ids) == len(text.words) + 1
        assert tokenizer.decode(ids, skip_special_tokens=True) == text.text
    assert len({tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id}) == 4
    assert len(tokenizer) == len(VOCABULARY) + 4
    assert tokenizer.unk_token_id not in tokenizer(" ".join(VOCABULARY))["input_ids"]


def test_the_provenance_matches_the_shipped_weights(model, tokenizer, provenance) -> None:
    """Loss on the first texts of the recorded held-out set, and entropy on all of it: config, grammar and weights."""
    config = TrainConfig(**provenance["config"])
    held_out = sample(config.n_held_out, seed=config.seed + 1_000_003)
    assert entropy_rate(held_out) == pytest.approx(provenance["grammar_entropy_nats_per_token"], rel=1e-9)
    loss = evaluate(model, encode(held_out[:100], tokenizer), batch_size=50)
    assert loss == pytest.approx(provenance["held_out_loss_nats_per_token"], abs=0.04)
    assert provenance["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert "/" not in json.dumps(provenance)


def test_the_organism_models_its_grammar_nearly_as_well_as_possible(provenance) -> None:
    gap = provenance["held_out_loss_nats_per_token"] - provenance["grammar_entropy_nats_per_token"]
    assert 0 < gap < 0.05


def test_the_organism_boots_offline_as_a_bridge_and_generates_parsing_text(monkeypatch) -> None:
    from transformer_lens.model_bridge import TransformerBridge

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    bridge = TransformerBridge.boot_transformers(str(PATH))
    assert bridge.tokenizer.padding_side == "left"
    openings = prompts(20, seed=3)
    assert bridge.to_tokens(openings[0])[0].tolist() == bridge.tokenizer(openings[0])["input_ids"]
    torch.manual_seed(0)
    texts = bridge.generate(openings, max_new_tokens=20, do_sample=True, temperature=0.7, verbose=False)
    verdict = judge(texts)
    assert (verdict["n_words"] > judge(openings)["n_words"] + 15).mean() > 0.8
    assert verdict["parses"].mean() >= 0.9


def test_batches_hold_every_text_once_with_padding_left_out_of_the_loss(tokenizer) -> None:
    import numpy as np

    rows = encode(sample(50, seed=1), tokenizer)
    seen = []
    for ids, labels in batches(rows, 8, np.random.default_rng(0)):
        assert ids.shape[0] <= 8
        assert torch.equal(labels == -100, ids == tokenizer.pad_token_id)
        seen += [[i for i in row if i != tokenizer.pad_token_id] for row in ids.tolist()]
    assert sorted(seen) == sorted(rows)


def test_training_is_deterministic_and_records_itself(tiny: Path, tmp_path: Path) -> None:
    again = train(tmp_path / "again", TINY)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tiny / name).read_bytes(), name
    assert again["config"] == asdict(TINY)
    loss, entropy = again["held_out_loss_nats_per_token"], again["grammar_entropy_nats_per_token"]
    assert isinstance(loss, float)
    assert isinstance(entropy, float)
    assert entropy < loss < math.log(len(VOCABULARY) + 4) + 0.5
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_training_refuses_a_folder_with_files_in_it(tiny: Path) -> None:
    before = (tiny / "provenance.json").read_bytes()
    with pytest.raises(ValueError, match=r"out='.*tiny' exists and is not overwritten; remove it or choose"):
        train(tiny, TINY)
    assert (tiny / "provenance.json").read_bytes() == before


def test_a_failed_training_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(LlamaForCausalLM, "save_pretrained", fail)
    with pytest.raises(OSError, match="disk full"):
        train(tmp_path / "out", TINY)
    assert list(tmp_path.iterdir()) == []
