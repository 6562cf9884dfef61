"""Texts of the grammar as the trainer sees them: token ids in batches, and how well they could be predicted."""

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .grammar import Text
from .judge import text_log_probability
from .tokenizer import CONTEXT, EOS_ID, PAD_ID

IGNORED = -100  # the label that transformers leaves out of the loss


def encode(texts: list[Text], tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    """Token ids of complete texts, `<bos>` and `<eos>` included; texts longer than the context lose their end."""
    rows = cast(list[list[int]], tokenizer([text.text for text in texts])["input_ids"])
    return [[*row, EOS_ID][:CONTEXT] for row in rows]


def batches(
    rows: list[list[int]], batch_size: int, rng: np.random.Generator
) -> Iterator[tuple[Int[Tensor, "batch sequence"], Int[Tensor, "batch sequence"]]]:
    """Yields (ids, labels) once over `rows`, in random order, texts of like length together to save padding."""
    order = rng.permutation(len(rows))
    pool = batch_size * 32  # sorting within pools keeps the order random; a multiple of the batch, so none is broken
    grouped: list[np.ndarray] = []
    for start in range(0, len(order), pool):
        by_length = sorted(order[start : start + pool].tolist(), key=lambda index: len(rows[index]))
        groups = [np.array(by_length[at : at + batch_size]) for at in range(0, len(by_length), batch_size)]
        grouped.extend(groups[index] for index in rng.permutation(len(groups)))
    for group in grouped:
        # padding stands on the right, where a causal model cannot see it: no attention mask is needed
        width = max(len(rows[index]) for index in group)
        ids = torch.full((len(group), width), PAD_ID)
        labels = torch.full((len(group), width), IGNORED)
        for at, index in enumerate(group):
            row = torch.tensor(rows[index])
            ids[at, : len(row)] = row
            labels[at, : len(row)] = row
        yield ids, labels


def entropy_rate(texts: list[Text]) -> float:
    """The grammar's entropy estimated on `texts`: minus true log-probability over tokens (words and the end), nats."""
    return -sum(text_log_probability(text.words) for text in texts) / sum(len(text.words) + 1 for text in texts)
