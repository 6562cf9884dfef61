"""What steering does to the organism's texts, one row a prompt, judged exactly by its grammar."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from odesteer_tl import organism, stats


def behaviour(
    model: TransformerBridge,
    prompts: Sequence[str],
    steerer: ode.Steerer | None,
    *,
    concept: str = "valence",
    temperature: float = 0.7,
    max_new_tokens: int = 25,
    seed: int = 0,
) -> pd.DataFrame:
    """Generate from every prompt and judge the whole text.

    Returns:
        A row a prompt: `text`, `success` (posterior of the concept above ½; exactly ½ is no success), `posterior`,
        `parses`, `log_likelihood` (nats a word), and `seconds` (of the whole run, the same in every row).
    """
    start = time.perf_counter()
    texts = ode.generate(
        model, prompts, None if steerer is None else steerer.hooks, temperature=temperature,
        max_new_tokens=max_new_tokens, seed=seed, batch_size=250,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    judged = organism.judge(texts)
    return pd.DataFrame(
        {
            "prompt": list(prompts),
            "text": texts,
            "posterior": judged[concept],
            "success": judged[concept] > 0.5,
            "parses": judged["parses"],
            "log_likelihood": judged["log_likelihood"],
            "seconds": seconds,
        }
    )


def geometry(steerer: ode.Steerer, barrier: ode.Barrier, a: torch.Tensor) -> pd.DataFrame:
    """How far a steerer moves activations, and which of its steps are proved to raise a given h; one row a prompt.

    Returns:
        `angle` (radians between start and end), `norm_ratio` (‖end‖/‖start‖), `certified` (share of the path's steps
        on which h is proved to rise), `gain` (h at the end minus h at the start).

    Raises:
        ValueError: the steerer has a condition, which activations alone cannot answer.
    """
    if steerer.condition is not None:
        raise ValueError("condition is asked of prompts, which are not here; use replace(steerer, condition=None)")
    path = steerer.flow.solve(steerer.field, a, record=True)
    assert path.points is not None
    certificate = ode.certify_path(barrier, path.points)
    start, end = path.points[0].double(), path.points[-1].double()
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=-1).clamp(-1, 1)
    columns = {
        "angle": cosine.arccos(),
        "norm_ratio": end.norm(dim=-1) / start.norm(dim=-1),
        "certified": certificate.certified.double().mean(0),
        "gain": barrier.value(end) - barrier.value(start),
    }
    return pd.DataFrame({name: x.numpy() for name, x in columns.items()})


def last_activations(model: TransformerBridge, prompts: Sequence[str], layer: int) -> torch.Tensor:
    """The residual stream after block `layer` at the last token of every prompt, float32 [n, d_model]."""
    both = ode.ContrastSet.from_texts(prompts, prompts[:1])
    return ode.collect_activations(model, both, [layer])[layer].positive


def summary(rows: pd.DataFrame) -> dict[str, Any]:
    """Shares with exact intervals over prompts, and medians."""
    success, parses = stats.share(rows["success"]), stats.share(rows["parses"])
    return {
        "success": success.value,
        "success_low": success.low,
        "success_high": success.high,
        "parses": parses.value,
        "parses_low": parses.low,
        "parses_high": parses.high,
        "log_likelihood": float(rows["log_likelihood"].to_numpy().mean()),
        "seconds": float(rows["seconds"].iloc[0]),
        "n": len(rows),
    }
