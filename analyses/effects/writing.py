"""Texts written under steering with a strength for every prompt, and the next-token distributions along them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from odesteer_tl import _tokens
from odesteer_tl.generation import decode, generate_tokens
from odesteer_tl.indicators import branching_factor, divergence

#: prompts a generated batch, and numbers of logits held at once when texts are read again
BATCH, LOGITS = 250, 2**25

#: what steers some of the prompts, with a strength a row
SteererFor = Callable[[slice | list[int]], ode.Steerer | ode.Composition]


class Sampling(Protocol):
    """How texts are sampled."""

    @property
    def temperature(self) -> float: ...
    @property
    def max_new_tokens(self) -> int: ...
    @property
    def seed(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Written:
    """What was written behind every prompt.

    Attributes:
        texts: prompt and continuation.
        tokens: the generated ones, 0 behind the last.
        kept: which generated tokens belong to the text (its end token and what follows do not).
        kl: KL of the steered next-token distribution to the unsteered one, at every generated token, nats.
        branching, normalised: BF of the steered distribution, and NBF.
        log_likelihood: of every generated token under the unsteered model, nats.
    """

    texts: list[str]
    tokens: Int[Tensor, "n tokens"]
    kept: Bool[Tensor, "n tokens"]
    kl: Float[Tensor, "n tokens"]
    branching: Float[Tensor, "n tokens"]
    normalised: Float[Tensor, "n tokens"]
    log_likelihood: Float[Tensor, "n tokens"]

    @property
    def perplexity(self) -> Float[np.ndarray, " n"]:
        """Of each continuation under the unsteered model; NaN where it is empty."""
        length = self.kept.sum(1)
        mean = torch.where(self.kept, self.log_likelihood, 0.0).sum(1) / length
        return torch.where(length > 0, (-mean).exp(), torch.nan).numpy()


def left_padded(model: TransformerBridge, prompts: Sequence[str]) -> tuple[Int[Tensor, "n pos"], Int[Tensor, "n pos"]]:
    """Tokens padded on the left, and 1 where one is real."""
    return _tokens.left_padded(model, _tokens.tokens_of(model, "prompts", prompts))


def write(
    model: TransformerBridge, prompts: Sequence[str], steerer_for: SteererFor | None, sampling: Sampling
) -> Written:
    """Continue every prompt, then read the texts again, steered and not, for the distributions along them.

    Args:
        steerer_for: the steerer of a slice of the prompts, whose flow may hold a strength a row; None does not steer.
    """
    starts = count(0, BATCH)

    def hooks_for(length: int) -> list[tuple[str, ode.hooks.HookFn]]:
        first = next(starts)
        assert steerer_for is not None
        return steerer_for(slice(first, first + BATCH)).hooks(length)

    batches = generate_tokens(
        model, prompts, None if steerer_for is None else hooks_for, batch_size=BATCH, temperature=sampling.temperature,
        max_new_tokens=sampling.max_new_tokens, seed=sampling.seed,
    )  # fmt: skip
    rows = max(1, LOGITS // (int(model.cfg.d_vocab) * (batches[0].tokens.shape[1] + 1)))
    texts: list[str] = []
    generated: list[Tensor] = []
    parts: list[tuple[Tensor, ...]] = []
    done = 0
    for batch in batches:
        texts += decode(model, batch)
        generated.append(_padded(batch.tokens[:, batch.prompt_length :].cpu(), sampling.max_new_tokens))
        real = (torch.arange(batch.prompt_length) >= torch.tensor(batch.starts)[:, None]).long()
        for first in range(0, len(batch.tokens), rows):
            at = slice(first, first + rows)
            of = slice(done + first, done + min(first + rows, len(batch.tokens)))
            hooks = [] if steerer_for is None else steerer_for(of).hooks(batch.prompt_length)
            parts.append(_read(model, batch.tokens[at], real[at], batch.prompt_length, hooks, sampling.max_new_tokens))
        done += len(batch.tokens)
    kept = torch.zeros(len(texts), sampling.max_new_tokens, dtype=torch.bool)
    ends = [end - batch.prompt_length for batch in batches for end in batch.ends]
    for i, end in enumerate(ends):
        kept[i, :end] = True
    return Written(texts, torch.cat(generated), kept, *(torch.cat(series) for series in zip(*parts, strict=True)))


@torch.no_grad()
def _read(
    model: TransformerBridge, tokens: Tensor, real: Tensor, length: int, hooks: list[tuple[str, ode.hooks.HookFn]],
    width: int,
) -> tuple[Float[Tensor, "n tokens"], ...]:  # fmt: skip
    """KL, BF, NBF and unsteered log-likelihood at every generated token, zeros up to `width`."""
    mask = torch.cat([real, torch.ones(len(tokens), tokens.shape[1] - length, dtype=real.dtype)], dim=1)
    mask = mask.to(tokens.device)
    plain = model(tokens, attention_mask=mask)[:, length - 1 : -1].float().cpu()
    if hooks:
        with model.hooks(fwd_hooks=hooks):
            steered = model(tokens, attention_mask=mask)[:, length - 1 : -1].float().cpu()
    else:
        steered = plain
    branching = branching_factor(steered)
    chosen = plain.double().log_softmax(-1).gather(-1, tokens[:, length:, None].cpu()).squeeze(-1)
    series = (divergence(steered, plain), branching, branching / branching_factor(plain), chosen)
    return tuple(_padded(x, width) for x in series)


def _padded(x: Shaped[Tensor, "n tokens"], width: int) -> Shaped[Tensor, "n width"]:
    """Zeros up to `width`, since a batch whose texts all end early is narrower."""
    return torch.nn.functional.pad(x, (0, width - x.shape[1]))
