"""Texts written under steering with a strength for every prompt, and the next-token distributions along them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.utilities.logits_utils import sample_logits

import odesteer_tl as ode
from analyses.effects.engine import draw
from analyses.effects.sampling import Drawing, Sampling, Steering
from odesteer_tl import _tokens
from odesteer_tl.blocks import unembed
from odesteer_tl.generation import Generated, decode, stops
from odesteer_tl.indicators import branching_factor, divergence
from odesteer_tl.plain import hooked

#: prompts a generated batch, and numbers of next-token logits held at once
BATCH, LOGITS = 250, 2**24


@dataclass(frozen=True, eq=False)
class Written:
    """What was written behind every prompt.

    Attributes:
        texts: prompt and continuation. continuations: what was written alone.
        tokens: the generated ones, 0 behind the last.
        kept: which generated tokens belong to the text (its end token and what follows do not).
        kl: KL of the steered next-token distribution to the unsteered one, at every generated token, nats.
        branching, normalised: BF of the steered distribution, and NBF.
        log_likelihood: of every generated token under the unsteered model, nats.
    """

    texts: list[str]
    continuations: list[str]
    tokens: Int[Tensor, "n tokens"]
    kept: Bool[Tensor, "n tokens"]
    kl: Float[Tensor, "n tokens"]
    branching: Float[Tensor, "n tokens"]
    normalised: Float[Tensor, "n tokens"]
    log_likelihood: Float[Tensor, "n tokens"]

    @property
    def counted(self) -> Bool[Tensor, "n tokens"]:
        """The tokens of a text, and of one that is empty the token that ended it, so that all have some."""
        first = torch.zeros_like(self.kept)
        first[:, 0] = True
        return torch.where(self.kept.any(1, keepdim=True), self.kept, first)

    @property
    def mean_log_likelihood(self) -> Float[np.ndarray, " n"]:
        """Of each continuation under the unsteered model, nats a counted token."""
        return (torch.where(self.counted, self.log_likelihood, 0.0).sum(1) / self.counted.sum(1)).numpy()


def left_padded(model: TransformerBridge, prompts: Sequence[str]) -> tuple[Int[Tensor, "n pos"], Int[Tensor, "n pos"]]:
    """Tokens padded on the left, and 1 where one is real."""
    return _tokens.left_padded(model, _tokens.tokens_of(model, "prompts", prompts))


@torch.no_grad()
def write(prompt: ode.Prefix, steering: Steering | None, sampling: Drawing) -> Written:
    """Continue every prompt from its keys and values, recording the distributions as each token is drawn.

    The tokens are those of `ode.generate`, draw for draw. At each of them the unsteered distribution is that of the
    blocks behind the steered one, run on the stream before the steer: the text is the same, and so is what lies before.

    Args:
        prompt: of all prompts, from their last token on.
        steering: None does not steer.
    """
    n = len(prompt.tokens)
    drawn = draw(prompt, steering, sampling) if sampling.engine else None
    size = min(BATCH, max(1, LOGITS // int(prompt.model.cfg.d_vocab)))
    parts: list[Written] = []
    with torch.random.fork_rng():
        torch.manual_seed(sampling.seed)
        for start in range(0, n, size):
            rows = slice(start, min(start + size, n))
            batch = prompt if size >= n else prompt.rows(rows)
            steerer = None if steering is None else steering.steerer_for(rows)
            hooks = [] if steerer is None else steerer.hooks(prompt.tokens.shape[1])
            if steerer is not None and looks_back(steerer):
                show(batch, hooks)
            untouched = -1 if steering is None else steering.untouched
            parts.append(write_batch(batch, hooks, untouched, sampling, known=None if drawn is None else drawn[rows]))
    texts = [text for part in parts for text in part.texts]
    continuations = [text for part in parts for text in part.continuations]
    series = [torch.cat([getattr(part, name) for part in parts])
              for name in ("tokens", "kept", "kl", "branching", "normalised", "log_likelihood")]  # fmt: skip
    return Written(texts, continuations, *series)


def looks_back(steerer: ode.Steerer | ode.Composition) -> bool:
    """Whether a field depends on the tokens before its own."""
    members = steerer.steerers if isinstance(steerer, ode.Composition) else (steerer,)
    return any(each.field.context for each in members)


def show(prompt: ode.Prefix, hooks: list[tuple[str, ode.hooks.HookFn]]) -> None:
    """Have hooks see the prompt's tokens before the last, whose keys and values are cached already."""
    if prompt.tokens.shape[1] > 1:
        with prompt.model.hooks(fwd_hooks=hooks):
            prompt.model(prompt.tokens[:, :-1], attention_mask=prompt.attention_mask[:, :-1])


@torch.no_grad()
def write_batch(
    prompt: ode.Prefix,
    hooks: list[tuple[str, ode.hooks.HookFn]],
    untouched: int,
    sampling: Sampling,
    compared: bool = True,
    known: Int[Tensor, "n tokens"] | None = None,
) -> Written:
    """`write` of prompts that fit one pass; under `hooks`, in front of which block `untouched` is as unsteered.

    Draws from the random state as it stands.

    Args:
        compared: whether the unsteered model is asked beside the steered one; otherwise what it would say is NaN.
        known: the tokens, where an engine has drawn them; the distributions are then those at these tokens.
    """
    model, n = prompt.model, len(prompt.tokens)
    ends = torch.tensor(stops(model)[0], device=prompt.tokens.device)
    ended = torch.zeros(n, dtype=torch.bool, device=prompt.tokens.device)
    last, plain, indicators = prompt.decoder(), prompt.decoder(), "text" in sampling.measures
    token, drawn, recorded = prompt.tokens[:, -1:], list[Tensor](), list[tuple[Tensor, ...]]()
    asked, streams = bool(hooks) and compared, list[Tensor]()
    for i in range(sampling.max_new_tokens if known is None else known.shape[1]):
        before: list[Tensor] = []
        watch = [(f"blocks.{untouched}.hook_out", lambda x, hook=None, found=before: found.append(x))]
        with hooked(model, [*(watch if hooks and untouched >= 0 else []), *hooks]):
            logits = last.step(token)
        streams += before
        # the distributions are compared token by token; a text's likelihood alone is asked once it is written
        each = asked and indicators
        reference = plain.step(token, untouched, before[0] if before else None) if each else logits
        found = sample_logits(logits, temperature=sampling.temperature) if known is None else known[:, i].clone()
        found[ended] = ends[0]
        ended |= torch.isin(found, ends)
        found_here = _statistics(logits, reference, found, indicators)
        # without its own opinion the unsteered model has none of a steered text
        recorded.append(found_here if compared or not hooks else tuple(x * torch.nan for x in found_here))
        token = found[:, None]
        drawn.append(found)
        if bool(ended.all()):
            break
    tokens, series = torch.stack(drawn, dim=1), [torch.stack(x, dim=1) for x in zip(*recorded, strict=True)]
    if asked and not indicators:
        passed_on = torch.cat([prompt.tokens[:, -1:], tokens[:, :-1]], dim=1)
        stream = plain.stream(
            passed_on, torch.ones_like(passed_on), untouched, torch.cat(streams, 1) if streams else None
        )
        series[-1] = _log_likelihood(prompt, stream, tokens)
    return _written(prompt, tokens, series, ends, sampling.max_new_tokens)


def _log_likelihood(prompt: ode.Prefix, stream: Float[Tensor, "n tokens d"], drawn: Int[Tensor, "n tokens"]) -> Tensor:
    """Of every drawn token behind its stream; logits of one place at a time, which is what the steered pass holds."""
    logits = (unembed(prompt.model, stream[:, i : i + 1])[:, 0] for i in range(drawn.shape[1]))
    return torch.stack([_chosen(x, token).cpu() for x, token in zip(logits, drawn.unbind(1), strict=True)], dim=1)


def _chosen(logits: Float[Tensor, "n vocab"], drawn: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Log-probability of the drawn tokens, nats."""
    return (logits.gather(-1, drawn[:, None]).squeeze(-1) - logits.logsumexp(-1)).double()


def _statistics(steered: Tensor, plain: Tensor, drawn: Tensor, indicators: bool) -> tuple[Tensor, ...]:
    """KL, BF, NBF (zeros unless asked for) and the drawn token's unsteered log-likelihood, one a row, on the CPU."""
    chosen = _chosen(plain, drawn)
    if not indicators:
        nothing = torch.zeros_like(chosen)
        return tuple(x.cpu() for x in (nothing, nothing, nothing, chosen))
    branching = branching_factor(steered)
    if plain is steered:
        return tuple(x.cpu() for x in (torch.zeros_like(chosen), branching, torch.ones_like(branching), chosen))
    kl, before = divergence(steered, plain), branching_factor(plain)
    return tuple(x.cpu() for x in (kl, branching, branching / before, chosen))


def _written(prompt: ode.Prefix, drawn: Tensor, series: list[Tensor], ends_at: Tensor, width: int) -> Written:
    """What a batch wrote, zeros up to `width`, since a batch whose texts all end early is narrower."""
    length = prompt.tokens.shape[1]
    over = torch.isin(drawn, ends_at).int()
    ends = torch.where(over.any(1), over.argmax(1), drawn.shape[1])
    starts = (prompt.attention_mask == 0).sum(1)
    batch = Generated(torch.cat([prompt.tokens, drawn], dim=1), length, starts.tolist(), (ends + length).tolist())
    kept = torch.arange(width) < ends.cpu()[:, None]
    padded = [torch.nn.functional.pad(x, (0, width - x.shape[1])) for x in (drawn.cpu(), *series)]
    texts, heads = decode(prompt.model, batch), decode(prompt.model, replace(batch, ends=[length] * len(ends)))
    # what follows the prompt in the whole text: decoded alone, a text loses the space that it begins with
    behind = [text[len(head) :] if text.startswith(head) else own for text, head, own in
              zip(texts, heads, decode(prompt.model, batch, completions_only=True), strict=True)]  # fmt: skip
    return Written(texts, behind, padded[0], kept, *padded[1:])
