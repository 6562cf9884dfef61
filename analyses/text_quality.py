"""How good a continuation is: repetition, distinct n-grams, likelihood under the unsteered model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from odesteer_tl._tokens import text_tokens
from odesteer_tl._words import require_texts

BATCH = 64


def text_quality(model: TransformerBridge, prompts: Sequence[str], continuations: Sequence[str]) -> pd.DataFrame:
    """One row a text.

    Returns:
        `repetition` (share of 4-grams of words that stood in the continuation before, seq-rep-4 of Welleck et al.
        2020), `distinct_1` to `distinct_3` (distinct over all n-grams, Li et al. 2016), `log_likelihood` (nats a token
        of the continuation given its prompt, under the unsteered model) and `perplexity` (its exp(−·)). NaN where a
        continuation is too short to say.
    """
    # whole sequences, not a cut at the prompt's tokens: a token may span the seam
    whole = [p + c for p, c in zip(prompts, continuations, strict=True)]
    which, distinct_texts = pd.factorize(pd.Series([*whole, *prompts]))
    sums, counts = (x[which].reshape(2, -1) for x in sequence_log_likelihood(model, list(distinct_texts)))
    length = (counts[0] - counts[1]).clamp_min(0).numpy()
    nothing = np.full(len(whole), np.nan)
    log_likelihood = np.divide((sums[0] - sums[1]).numpy(), length, out=nothing, where=length > 0)
    return pd.DataFrame(
        {
            "repetition": [1 - distinct(text, 4) for text in continuations],
            **{f"distinct_{n}": [distinct(text, n) for text in continuations] for n in (1, 2, 3)},
            "log_likelihood": log_likelihood,
            "perplexity": np.exp(-log_likelihood),
        }
    )


def distinct(text: str, n: int) -> float:
    """Distinct n-grams of words over all of them; NaN for fewer than n words."""
    words = text.split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else float("nan")


@torch.no_grad()
def sequence_log_likelihood(
    model: TransformerBridge, texts: Sequence[str]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Log-probability of every text's tokens behind the first (nats), and how many these are."""
    sums, counts = torch.zeros(len(texts), dtype=torch.float64), torch.zeros(len(texts), dtype=torch.float64)
    tokens = [text_tokens(model, text) for text in require_texts("texts", texts)]
    order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        ids = torch.nn.utils.rnn.pad_sequence([tokens[i] for i in rows], batch_first=True)
        lengths = torch.tensor([len(tokens[i]) for i in rows])
        real = torch.arange(ids.shape[1]) < lengths[:, None]
        logits = model(ids.to(model.cfg.device), attention_mask=real.long().to(model.cfg.device)).cpu().float()
        found = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
        sums[rows] = (found * real[:, 1:]).sum(1).double()
        counts[rows] = (lengths - 1).double()
    return sums, counts
