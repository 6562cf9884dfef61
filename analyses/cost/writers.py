"""Processes that write the same texts by different means, each in the environment it needs, and say what that took.

`main(NAME, FOLDER)` writes a line a line it reads; `analyses.cost.engines` starts them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from odesteer_tl.steerer import Steerer

#: of an engine on one thread of a CPU
ENGINE = {
    "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR",
}  # fmt: skip
#: `steerer, or None → the tokens behind every prompt`
Write = Callable[[Steerer | None], list[list[int]]]


def bridge(told: dict[str, Any]) -> Write:
    """TransformerLens's own generation, under `steerer.on`."""
    import odesteer_tl as ode

    model: Any = ode.load_model("smollm2")
    length = max(map(len, told["rows"]))
    how = {"max_new_tokens": told["new"], "do_sample": False, "verbose": False, "return_type": "tokens"}

    def write(steerer: Steerer | None) -> list[list[int]]:
        if steerer is None:
            return model.generate(told["prompts"], **how)[:, length:].tolist()
        with steerer.on(model, prompt_length=length):
            return model.generate(told["prompts"], **how)[:, length:].tolist()

    return write


def odesteer_tl(told: dict[str, Any]) -> Write:
    """This package's generation, which runs the transformers model inside the bridge."""
    import odesteer_tl as ode
    from odesteer_tl.generation import generate_tokens

    model = ode.load_model("smollm2")

    def write(steerer: Steerer | None) -> list[list[int]]:
        hooks = None if steerer is None else steerer.hooks
        (batch,) = generate_tokens(model, told["prompts"], hooks, max_new_tokens=told["new"], temperature=0.0)
        return batch.tokens[:, batch.prompt_length :].tolist()

    return write


def transformers(told: dict[str, Any]) -> Write:
    """The plain model, with the flow in a forward hook of its block."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(told["model"], dtype=torch.float32).eval()
    length = max(map(len, told["rows"]))
    tokens = torch.tensor([[0] * (length - len(row)) + row for row in told["rows"]])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in told["rows"]])

    @torch.no_grad()
    def write(steerer: Steerer | None) -> list[list[int]]:
        def hook(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
            assert steerer is not None
            end = steerer.flow.solve(steerer.field, output[:, -1]).end
            return torch.cat([output[:, :-1], end[:, None]], dim=1)

        layer = model.model.layers[told["layer"]]
        handle = None if steerer is None else layer.register_forward_hook(hook)
        found = model.generate(tokens, attention_mask=mask, max_new_tokens=told["new"], do_sample=False)
        if handle is not None:
            handle.remove()
        return found[:, length:].tolist()

    return write


def engine(told: dict[str, Any]) -> Write:
    """vLLM with the plugin vllm-lens."""
    from odesteer_tl.serving import generate_vllm
    from odesteer_tl.serving.engine import vllm

    llm = vllm().LLM(told["model"], dtype="float32", max_model_len=256, max_num_seqs=16, enforce_eager=True)
    how = vllm().SamplingParams(temperature=0.0, max_tokens=told["new"])

    def write(steerer: Steerer | None) -> list[list[int]]:
        return [x.tokens.tolist() for x in generate_vllm(llm, steerer, told["prompts"], how, prepend_bos=True)]

    return write


WRITERS = {"bridge": bridge, "odesteer_tl": odesteer_tl, "transformers": transformers, "vLLM": engine}


def main(name: str, path: str) -> None:
    """Load, say so, and write as often as asked."""
    torch.set_num_threads(1)
    folder = Path(path)
    told = json.loads((folder / "told.json").read_text())
    write = WRITERS[name](told)
    print("answer {}", flush=True)
    for line in sys.stdin:
        steerer = None if line.strip() == "unsteered" else Steerer.load(folder / line.strip())
        start = time.process_time()
        rows = write(steerer)
        seconds = time.process_time() - start
        kept = [row[: row.index(told["end"])] if told["end"] in row else row for row in rows]
        print(f"answer {json.dumps({'seconds': seconds, 'tokens': kept})}", flush=True)
