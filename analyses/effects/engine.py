"""Texts of an effect study drawn by an inference engine, each prompt at its own strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor

import odesteer_tl as ode
from analyses.effects.sampling import Sampling, Steering
from odesteer_tl.generation import stops
from odesteer_tl.serving.engine import Engine, vllm
from odesteer_tl.serving.hook import at_strength
from odesteer_tl.serving.texts import continued_vllm

#: prompts that are handed to the engine at once; it batches them itself
ASKED = 1024


def draw(prompt: ode.Prefix, steering: Steering | None, sampling: Sampling) -> Int[Tensor, "n tokens"]:
    """The tokens behind every prompt, with the first end token behind the last of a text up to the longest.

    Greedy ones are those that the model itself draws; at a temperature every prompt has a seed of its own.

    Raises:
        ValueError: the engine cannot run what steers, such as one on heads.
        NotSteered: see `odesteer_tl.serving`.
    """
    engine = _engine(str(prompt.model.cfg.model_name), str(prompt.residuals[0].dtype).removeprefix("torch."))
    rows = [row[mask.bool()].cpu() for row, mask in zip(prompt.tokens, prompt.attention_mask, strict=True)]
    how = [_params(sampling, i) for i in range(len(rows))]
    steerer, strengths = (None, None) if steering is None else _one_for_all(steering.steerer_for(slice(None)))
    found = [
        text.tokens
        for start in range(0, len(rows), ASKED)
        for text in continued_vllm(
            engine, rows[start : start + ASKED], steerer, how[start : start + ASKED],
            strength=None if strengths is None else strengths[start : start + ASKED],
        )
    ]  # fmt: skip
    end = stops(prompt.model)[0][0]
    width = min(sampling.max_new_tokens, max(len(tokens) for tokens in found) + 1)
    out = torch.full((len(rows), width), end)
    for row, tokens in zip(out, found, strict=True):
        row[: len(tokens)] = tokens
    return out.to(prompt.tokens.device)


def _one_for_all(
    steers: ode.Steerer | ode.Composition,
) -> tuple[ode.Steerer | ode.Composition, Sequence[float]]:
    """What steers prompts at a strength each, as one steerer and the strengths."""
    members = steers.steerers if isinstance(steers, ode.Composition) else (steers,)
    strengths = cast(Tensor, members[0].flow.strength).flatten().tolist()
    whole = [replace(member, flow=at_strength(member.flow, 1.0)) for member in members]
    return (whole[0] if isinstance(steers, ode.Steerer) else ode.compose(whole)), strengths


def _params(sampling: Sampling, i: int) -> Any:
    # a seed makes an engine draw a request by itself, which takes longer; greedy texts have no need of it
    seed = None if sampling.temperature == 0 else (sampling.seed << 32) + i
    return vllm().SamplingParams(temperature=sampling.temperature, max_tokens=sampling.max_new_tokens, seed=seed)


@lru_cache(maxsize=1)
def _engine(model: str, dtype: str) -> Engine:
    """The engine of a study, which its process starts once."""
    return Engine(vllm().LLM(model, dtype=dtype, enforce_eager=True))
