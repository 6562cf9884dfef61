"""Texts that fit a model's context: what is too long loses its beginning, never the end we ask about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from odesteer_tl._tokens import text_tokens


def clip_left(model: TransformerBridge, text: str, reserve: int = 0) -> str:
    """The longest end of `text`, cut between words, that leaves `reserve` tokens of the model's context free.

    Raises:
        ValueError: `reserve` alone fills the context.
    """
    room = int(model.cfg.n_ctx) - reserve
    if room < 2:
        raise ValueError(f"reserve={reserve} leaves {room} tokens of the context of {model.cfg.n_ctx}; ask for fewer")
    words = text.split(" ")
    while (length := len(text_tokens(model, text))) > room:
        if len(words) == 1:
            raise ValueError(f"text={text[:40]!r}… is one word of {length} tokens in a context of {room}; shorten it")
        # in proportion, so that few rounds are needed, and at least one word
        words = words[max(1, math.floor(len(words) * (length - room) / length * 0.9)) :]
        text = " ".join(words)
    return text


def clipped(model: TransformerBridge, contrast: ode.ContrastSet) -> ode.ContrastSet:
    """The contrast with over-long texts clipped, so that their last token is what it was."""

    def clip(texts: Sequence[str]) -> tuple[str, ...]:
        return tuple(clip_left(model, text) for text in texts)

    positive, negative = clip(contrast.positive), clip(contrast.negative)
    changed = sum(a != b for a, b in zip([*positive, *negative], [*contrast.positive, *contrast.negative], strict=True))
    provenance = {**contrast.provenance, "clipped": changed}
    return replace(contrast, positive=positive, negative=negative, provenance=provenance)
