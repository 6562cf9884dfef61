"""How good a continuation is: repetition, distinct n-grams, likelihood under the unsteered model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from odesteer_tl._tokens import text_tokens
from odesteer_tl._words import require_texts
from odesteer_tl.blocks import passed, recording, unembed

#: texts a pass, and numbers of logits held at once
BATCH, LOGITS = 64, 2**24


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
    sums, counts = (
        rearrange(x[which], "(kind text) -> kind text", kind=2)
        for x in sequence_log_likelihood(model, list(distinct_texts))
    )
    length = (counts[0] - counts[1]).clamp_min(0).numpy()
    nothing = np.full(len(whole), np.nan)
    log_likelihood = np.divide((sums[0] - sums[1]).numpy(), length, out=nothing, where=length > 0)
    return diversity(continuations).assign(log_likelihood=log_likelihood, perplexity=np.exp(-log_likelihood))


def diversity(continuations: Sequence[str]) -> pd.DataFrame:
    """What of `text_quality` needs no model: `repetition`, and `distinct_1` to `distinct_3`."""
    return pd.DataFrame(
        {
            "repetition": [1 - distinct(text, 4) for text in continuations],
            **{f"distinct_{n}": [distinct(text, n) for text in continuations] for n in (1, 2, 3)},
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
        sums[rows] = _of_next(model, ids, real).sum(1).double()
        counts[rows] = (lengths - 1).double()
    return sums, counts


def _of_next(
    model: TransformerBridge, ids: Int[Tensor, "n pos"], real: Bool[Tensor, "n pos"]
) -> Float[Tensor, "n pos_minus_1"]:
    """Log-probability of every real token behind the first, 0 at padding; logits of a few positions at a time."""
    top, found = int(model.cfg.n_layers) - 1, dict[int, Tensor]()
    device = model.cfg.device
    mask = real.long().to(device)
    passed(model, {top: recording(model, found, top)}, 0, ids.to(device), mask, None, until=top)
    wanted = real[:, 1:]
    states, drawn = found[top][:, :-1][wanted.to(device)], ids[:, 1:][wanted].to(device)
    size = max(1, LOGITS // int(model.cfg.d_vocab))
    parts: list[Tensor] = []
    for some, tokens in zip(states.split(size), drawn.split(size), strict=True):
        logits = unembed(model, some[:, None])[:, 0].float()
        parts.append((logits.gather(-1, tokens[:, None]).squeeze(-1) - logits.logsumexp(-1)).cpu())
    out = torch.zeros(wanted.shape)
    out[wanted] = torch.cat(parts) if parts else torch.zeros(0)
    return out
