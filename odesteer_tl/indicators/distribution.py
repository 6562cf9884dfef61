"""Measures of next-token distributions, from logits, in float64: a KL of 1e-6 nats is real and float32 cannot tell."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

#: tokens that a branching factor is of (arXiv 2602.01716)
TOP = 1000


def entropy(logits: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch"]:
    """Entropy of the softmax.

    Args:
        logits: of any distribution; −∞ is a token that cannot come.

    Returns:
        nats, float64.
    """
    log_p = logits.double().log_softmax(-1)
    return -torch.xlogy(log_p.exp(), log_p.exp()).sum(-1)


def branching_factor(logits: Float[Tensor, "*batch vocab"], top: int = TOP) -> Float[Tensor, "*batch"]:
    """BF: exp of the entropy of the `top` likeliest tokens, renormalised; how many tokens are in play, from 1 to `top`.

    The normalised factor NBF of a steer is the steered BF over the unsteered one (arXiv 2602.01716).

    Args:
        logits: of the next token.
        top: of a smaller vocabulary, all tokens.

    Returns:
        tokens, float64.

    Raises:
        ValueError: `top` is below 1.
    """
    kept = _at_most(top, logits.shape[-1])
    return entropy(logits if kept == logits.shape[-1] else logits.topk(kept, dim=-1, sorted=False).values).exp()


def divergence(
    logits: Float[Tensor, "*batch vocab"], reference: Float[Tensor, "*batch vocab"]
) -> Float[Tensor, "*batch"]:
    """KL(softmax(logits) ‖ softmax(reference)).

    Args:
        logits: of the distribution that is averaged over, the steered one.
        reference: of the other, the unsteered one.

    Returns:
        nats, float64; at least 0.
    """
    log_p, log_q = logits.double().log_softmax(-1), reference.double().log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).clamp_min(0)


def restricted_divergence(
    logits: Float[Tensor, "*batch vocab"], reference: Float[Tensor, "*batch vocab"], top: int = TOP
) -> Float[Tensor, "*batch"]:
    """`divergence` over the `top` likeliest tokens of `logits` alone, both renormalised there, nats.

    With the unembedded steered state as `logits` and the unembedded direction as `reference` this is the alignment
    indicator of arXiv 2602.01716. Reconstructed: whose top tokens are meant (the steered state's).

    Args:
        logits: of the distribution whose top tokens are meant.
        reference: of the other; broadcast against `logits`.
        top: of a smaller vocabulary, all tokens.

    Returns:
        nats, float64; at least 0.

    Raises:
        ValueError: `top` is below 1.
    """
    kept = logits.topk(_at_most(top, logits.shape[-1]), dim=-1).indices
    return divergence(logits.gather(-1, kept), reference.expand_as(logits).gather(-1, kept))


def _at_most(top: int, vocabulary: int) -> int:
    if top < 1:
        raise ValueError(f"top={top} must be at least 1 token")
    return min(top, vocabulary)
