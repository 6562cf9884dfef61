"""Log-probabilities of whole answers given their prompt, with and without a steerer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.benchmarks.context import clip_left
from odesteer_tl._tokens import text_tokens
from odesteer_tl._words import require_texts
from odesteer_tl.hooks import HookFn

#: what steers the prompts of these indices, with a strength a row
SteererFor = Callable[[list[int]], ode.Steerer | ode.Composition]


@torch.no_grad()
def option_scores(
    model: TransformerBridge,
    prompts: Sequence[str],
    options: Sequence[Sequence[str]],
    steerer: ode.Steerer | SteererFor | None = None,
    batch_size: int = 64,
) -> pd.DataFrame:
    """Score every prompt's options: all tokens of each, none normalised by length.

    The prompt ends where its tokens and those of prompt + option part, at the earliest of its options: where no token
    spans the seam that is the prompt's last token, and always all options of a prompt are given the same tokens.
    Steered, with `positions="generated"`, are that last token and every token of the option behind it, which are the
    positions that would be steered if the model generated the option. Rows of a pass share the prompt's length and
    are padded on the right, so scores do not depend on the batch. A prompt too long for the context loses its
    beginning.

    Args:
        steerer: for all prompts, or a function from prompts' indices to what steers those, a row each.

    Returns:
        A row an option: `prompt` and `option` (indices), `log_likelihood` (nats), `tokens` (scored).

    Raises:
        ValueError: a prompt without options, or an option of which the tokenizer makes nothing.
    """
    if isinstance(steerer, ode.Steerer):
        steerer.check(model)
    prompts = require_texts("prompts", prompts)
    options = [require_texts(f"options[{i}]", each) for i, each in enumerate(options)]
    rows = [row for i, (p, o) in enumerate(zip(prompts, options, strict=True)) for row in tokenised(model, i, p, o)]
    order = sorted(range(len(rows)), key=lambda k: (rows[k][2], len(rows[k][3])))
    sums = torch.zeros(len(rows), dtype=torch.float64)
    with tqdm(total=len(rows), desc="scoring answers", disable=len(rows) < 1000, leave=False) as bar:
        for start, same in groupby(order, key=lambda k: rows[k][2]):
            chosen = list(same)
            for first in range(0, len(chosen), batch_size):
                batch = chosen[first : first + batch_size]
                with model.hooks(fwd_hooks=_hooks(steerer, [rows[k][0] for k in batch], start)):
                    sums[batch] = _log_likelihoods(model, [rows[k][3] for k in batch], start)
                bar.update(len(batch))
    return pd.DataFrame(
        {
            "prompt": [row[0] for row in rows],
            "option": [row[1] for row in rows],
            "log_likelihood": sums.numpy(),
            "tokens": [len(row[3]) - row[2] for row in rows],
        }
    )


def _hooks(steerer: ode.Steerer | SteererFor | None, prompts: list[int], start: int) -> list[tuple[str, HookFn]]:
    """The hooks of a batch whose rows continue these prompts, all of one length."""
    if steerer is None:
        return []
    return (steerer if isinstance(steerer, ode.Steerer) else steerer(prompts)).hooks(start)


def tokenised(
    model: TransformerBridge, i: int, prompt: str, options: Sequence[str]
) -> list[tuple[int, int, int, Int[Tensor, " pos"]]]:
    """(prompt, option, length of the prompt, all tokens) of every option of a prompt."""
    if not options:
        raise ValueError(f"options[{i}] is empty; a prompt needs at least one option to score")
    fitting = clip_left(model, prompt, reserve=max(len(text_tokens(model, option)) for option in options))
    own = text_tokens(model, fitting)
    whole = [text_tokens(model, fitting + option) for option in options]
    start = max(1, min(_common(own, tokens) for tokens in whole))
    for option, tokens in zip(options, whole, strict=True):
        if len(tokens) <= start:
            raise ValueError(f"options[{i}] has {option!r}, of which this tokenizer makes no token behind the prompt; "
                             "reword it")  # fmt: skip
    return [(i, j, start, tokens) for j, tokens in enumerate(whole)]


def _common(first: Int[Tensor, " a"], second: Int[Tensor, " b"]) -> int:
    """How many tokens two rows begin with alike."""
    n = min(len(first), len(second))
    return int((first[:n] == second[:n]).long().cumprod(0).sum())


def _log_likelihoods(model: TransformerBridge, tokens: list[Tensor], start: int) -> Float[Tensor, " n"]:
    """Σ log p of each row's tokens from `start` on."""
    ids = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
    lengths = torch.tensor([len(row) for row in tokens])
    real = torch.arange(ids.shape[1]) < lengths[:, None]
    logits = model(ids.to(model.cfg.device), attention_mask=real.long().to(model.cfg.device))
    found = logits[:, start - 1 : -1].float().log_softmax(-1).cpu().gather(-1, ids[:, start:, None]).squeeze(-1)
    return (found.double() * real[:, start:]).sum(1)
