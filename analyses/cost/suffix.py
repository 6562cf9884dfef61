"""What suffix evaluation costs against the naive loop of full forward passes with steering hooks, cell for cell."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.cost.material import Row, row
from analyses.cost.timing import peak_memory
from odesteer_tl.suffix import Prefix, collect_prefix

#: a layer sweep: every layer × strengths × prompts of so many tokens, scored by the logits at the last position
PROMPTS, LENGTH, STRENGTHS = 64, 32, 8


def suffix_rows(model: TransformerBridge) -> Iterator[Row]:
    """Rows for edits of the last position and of all, against full passes that unembed all positions or the last.

    Every layer is timed at one strength, naive and suffix in turn, and counted `STRENGTHS` times: a cell's cost does
    not depend on the strength. Collecting the prefix is counted once. Both ways give the same logits (asserted).
    """
    tokens = torch.randint(5, 180, (PROMPTS, LENGTH), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(tokens)
    mask[1::2, : LENGTH // 4] = 0
    field = ode.ConstantField(torch.randn(int(model.cfg.d_model), generator=torch.Generator().manual_seed(1)))
    flow = ode.Flow(angle=0.3, steps=1)
    starts = {"last position": LENGTH - 1, "all positions": 0}
    seconds: defaultdict[str, float] = defaultdict(float)
    with torch.no_grad():
        model(tokens[:1], attention_mask=mask[:1])  # warm-up
    prefixes: dict[str, Prefix] = {}
    for name, start in starts.items():
        prefixes[name] = timed(seconds, name, 1, lambda: collect_prefix(model, tokens, mask, start))  # noqa: B023
    for layer in tqdm(range(int(model.cfg.n_layers)), desc="suffix cost", leave=False):
        for name, start in starts.items():
            prefix = prefixes[name]

            def steer(x: Tensor, hook: Any, start: int = start) -> Tensor:
                x = x.clone()
                x[:, start:] = flow.solve(field, x[:, start:]).end
                return x

            @torch.no_grad()
            def full(keep: int, layer: int = layer, steer: Callable[..., Tensor] = steer) -> Tensor:
                with model.hooks(fwd_hooks=[(f"blocks.{layer}.hook_out", steer)]):
                    return model(tokens, attention_mask=mask, logits_to_keep=keep)[:, -1]

            def ours(layer: int = layer, prefix: Prefix = prefix) -> Tensor:
                return prefix.logits(layer, flow.solve(field, prefix.residuals[layer]).end)[:, 0]

            expected = timed(seconds, f"{name} all logits", STRENGTHS, lambda: full(0))
            timed(seconds, f"{name} last logits", STRENGTHS, lambda: full(1))
            found = timed(seconds, name, STRENGTHS, ours)
            error = float((found - expected).abs().max())
            assert error <= 1e-3, f"layer {layer}, {name}: logits differ by {error:.1e}"
    sizes = f"{model.cfg.n_layers} layers × {STRENGTHS} strengths × {PROMPTS} prompts of {LENGTH}"
    for name in starts:
        for kept in ("all logits", "last logits"):
            what = f"suffix evaluation, {name} edited, against full passes with {kept}; {sizes}"
            yield row(what, "≥ 4×" if kept == "all logits" else "", seconds[f"{name} {kept}"], seconds[name])
    prefix, layer = prefixes["all positions"], int(model.cfg.n_layers) // 2

    def sweep(strengths: int) -> None:
        for i in range(strengths):
            prefix.logits(layer, ode.Flow(angle=0.1 * (i + 1), steps=1).solve(field, prefix.residuals[layer]).end)

    peaks = [peak_memory(lambda n=n: sweep(n)) / 2**20 for n in (STRENGTHS, 1)]
    yield row(f"peak extra memory, {STRENGTHS} strengths against one", "1×", *peaks, unit="MiB")


def timed(seconds: defaultdict[str, float], name: str, times: int, call: Callable[[], Any]) -> Any:
    """Run a call and add its seconds, counted `times` times, to `seconds[name]`."""
    start = time.perf_counter()
    out = call()
    seconds[name] += times * (time.perf_counter() - start)
    return out
