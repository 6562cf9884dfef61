"""Capture: the residual stream of prompts behind some blocks, by the plugin's own means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from jaxtyping import Float, Int
from torch import Tensor

from odesteer_tl.serving.engine import Engine, vllm


def captured(
    engine: Engine, rows: Sequence[Int[Tensor, " _"]], blocks: Sequence[int]
) -> list[dict[int, Float[Tensor, "pos d"]]]:
    """Of every prompt, by block, in the model's precision on the CPU.

    Args:
        rows: the tokens of the prompts.
        blocks: in rising order.

    Raises:
        RuntimeError: what came back is not one activation a token and block.
    """
    # one token is written, since an engine writes at least one; it is not read, and so not captured
    how = [vllm().SamplingParams(max_tokens=1, temperature=0.0, extra_args={"output_residual_stream": list(blocks)},
                          skip_reading_prefix_cache=True) for _ in rows]  # fmt: skip
    asked = [{"prompt_token_ids": row.tolist(), "cache_salt": uuid4().hex} for row in rows]
    outputs = engine.llm.generate(asked, how, use_tqdm=False)
    found: list[dict[int, Any]] = []
    for i, (row, output) in enumerate(zip(rows, outputs, strict=True)):
        stream = (getattr(output, "activations", None) or {}).get("residual_stream")
        if stream is None or stream.shape[:2] != (len(blocks), len(row)):
            shape = None if stream is None else tuple(stream.shape)
            raise RuntimeError(
                f"text {i}: the engine captured {shape} where {len(blocks)} blocks × {len(row)} tokens were asked for; "
                "look into its log, and see that its cache has room for a batch of texts (batch_size=)"
            )
        found.append(dict(zip(blocks, stream, strict=True)))
    return found
