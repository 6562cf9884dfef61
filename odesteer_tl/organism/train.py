"""Trains the organism: `python -m odesteer_tl.organism.train --out DIR [--seed S]`.

A small Llama learns texts of the grammar, one text a sequence, `<bos>` to `<eos>`, in one pass over a corpus that is
drawn once. The corpus leaves the held-out openings to the prompts. The same seed on the same machine and library
versions gives the same weights.
"""

import json
import logging
import math
import platform
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import tyro
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from odesteer_tl._folder import new_folder, require_free

from .corpus import IGNORED, batches, encode, entropy_rate
from .grammar import sample
from .tokenizer import BOS_ID, CONTEXT, EOS_ID, PAD_ID, build_tokenizer

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig:
    """What decides the weights. Sizes in texts, tokens or dimensions; `learning_rate` is the peak of a cosine."""

    seed: int = 0
    n_texts: int = 60_000
    n_held_out: int = 1_000
    n_layers: int = 5
    d_model: int = 128
    d_mlp: int = 352
    n_heads: int = 4
    batch_size: int = 24
    learning_rate: float = 3e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    # one: how sums are split over threads decides their last bits, and a busy machine stalls two
    threads: int = 1


def build_model(config: TrainConfig, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Builds the untrained Llama in float32; the weights follow torch's global seed."""
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.d_model,
            intermediate_size=config.d_mlp,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            num_key_value_heads=config.n_heads,
            max_position_embeddings=CONTEXT,
            bos_token_id=BOS_ID,
            eos_token_id=EOS_ID,
            pad_token_id=PAD_ID,
            tie_word_embeddings=False,
        )
    )
    model.set_attn_implementation("eager")
    return model


def fit(model: LlamaForCausalLM, rows: list[list[int]], config: TrainConfig) -> float:
    """One pass of AdamW over `rows`; returns the mean training loss of the last tenth, in nats per token."""
    n_steps = math.ceil(len(rows) / config.batch_size)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=config.weight_decay
    )

    def schedule(step: int) -> float:
        warm = min(1.0, (step + 1) / config.warmup_steps)
        return warm * 0.5 * (1 + math.cos(math.pi * step / n_steps))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    rng = np.random.default_rng(config.seed)
    losses: list[float] = []
    model.train()
    progress = tqdm(batches(rows, config.batch_size, rng), total=n_steps, unit="step", mininterval=2)
    for ids, labels in progress:
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        progress.set_postfix(loss=f"{losses[-1]:.3f}")
    return float(np.mean(losses[-max(1, n_steps // 10) :]))


@contextmanager
def reproducible(config: TrainConfig) -> Generator[None]:
    """Seeds torch, fixes its threads and its algorithms, and puts everything back afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic)


@torch.no_grad()
def evaluate(model: LlamaForCausalLM, rows: list[list[int]], batch_size: int) -> float:
    """Mean loss over all tokens behind `<bos>`, `<eos>` included, in nats per token."""
    model.eval()
    total, count = 0.0, 0
    for ids, labels in batches(rows, batch_size, np.random.default_rng(0)):
        predicted = int((labels[:, 1:] != IGNORED).sum())
        total += model(input_ids=ids, labels=labels).loss.item() * predicted
        count += predicted
    return total / count


def train(out: Path, config: TrainConfig) -> dict[str, object]:
    """Trains a model and writes it, its tokenizer and `provenance.json` to `out`; returns the provenance.

    Nothing stands at `out` until everything does. Raises ValueError if `out` is a file, or a folder that is not empty.
    """
    require_free("out", out)
    started = time.perf_counter()
    tokenizer = build_tokenizer()
    LOGGER.info("drawing %d texts", config.n_texts)
    rows = encode(sample(config.n_texts, seed=config.seed, openings="train"), tokenizer)
    held_out = sample(config.n_held_out, seed=config.seed + 1_000_003)
    with reproducible(config):
        model = build_model(config, tokenizer)
        train_loss = fit(model, rows, config)
        held_out_loss = evaluate(model, encode(held_out, tokenizer), config.batch_size)
    provenance: dict[str, object] = {
        "config": asdict(config),
        "corpus_texts": len(rows),
        "corpus_tokens": sum(len(row) - 1 for row in rows),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "train_loss_nats_per_token": train_loss,
        "held_out_loss_nats_per_token": held_out_loss,
        "grammar_entropy_nats_per_token": entropy_rate(held_out),
        "wall_seconds": round(time.perf_counter() - started, 1),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "transformers", "tokenizers", "safetensors", "numpy")},
    }
    write(out, model, tokenizer, provenance)
    return provenance


def write(
    out: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, provenance: dict[str, object]
) -> None:
    """Writes the folder, all of it or none."""
    with new_folder(out) as part:
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        (part / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n")
        for path in part.iterdir():
            path.chmod(0o644)  # safetensors are written for their owner alone


def main(out: Path, config: tyro.conf.OmitArgPrefixes[TrainConfig]) -> None:
    """Trains the embedded model and writes it to a new folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    LOGGER.info(json.dumps(train(out, config), indent=2))


if __name__ == "__main__":
    tyro.cli(main)
