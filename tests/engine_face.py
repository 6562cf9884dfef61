"""An engine with the face of `vllm.LLM` around a real model, for what of serving does not need vLLM to be tested.

It reads prompts in pieces, keeps each request's cache and calls hooks as vllm-lens does, an exception logged and the
pass left as it was; `tests/vllm` runs the same on vLLM itself.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache


@dataclass
class SamplingParams:
    """The fields of vLLM's that this package reads or sets."""

    temperature: float = 1.0
    max_tokens: int = 16
    n: int = 1
    seed: int | None = None
    stop: list[str] = field(default_factory=list)
    stop_token_ids: list[int] = field(default_factory=list)
    ignore_eos: bool = False
    extra_args: dict[str, Any] | None = None
    skip_reading_prefix_cache: bool | None = None

    def clone(self):
        return copy.deepcopy(self)


@dataclass
class Hook:
    """vllm-lens's."""

    fn: Any
    layer_indices: list[int]
    pre: bool = False


class LLM:
    """Requests one by one, each in passes of at most `chunk` tokens.

    Args:
        dropped: passes that are lost with a request's cache, so that it is computed again.
    """

    def __init__(self, model: str | Path, *, dtype: str = "float32", chunk: int = 3, dropped: int = 0, **_: Any):
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
        self.tokenizer, self.chunk, self.dropped = AutoTokenizer.from_pretrained(model), chunk, dropped
        config = self.model.config
        made = SimpleNamespace(
            model=str(model), hf_config=config, hf_text_config=config, max_model_len=config.max_position_embeddings,
            dtype=getattr(torch, dtype), try_get_generation_config=self.model.generation_config.to_diff_dict,
        )  # fmt: skip
        self.llm_engine = SimpleNamespace(vllm_config=SimpleNamespace(
            model_config=made, speculative_config=None,
            parallel_config=SimpleNamespace(worker_extension_cls="vllm_lens._worker_ext.HiddenStatesExtension"),
        ))  # fmt: skip

    def collective_rpc(self, *args: Any) -> None:
        """What an engine is told by."""

    def get_tokenizer(self) -> Any:
        return self.tokenizer

    def generate(self, asked, params, use_tqdm=True):
        return [self._one(each["prompt_token_ids"], how) for each, how in zip(asked, params, strict=True)]

    @torch.no_grad()
    def _one(self, ids: list[int], how: SamplingParams) -> Any:
        extra = how.extra_args or {}
        hooks = extra.get("apply_hooks", [])
        contexts = [SimpleNamespace(saved={}) for _ in hooks]
        blocks, kept = extra.get("output_residual_stream", []), {}
        handles = [
            block.register_forward_hook(self._at(i, hooks, contexts, kept if i in blocks else None))
            for i, block in enumerate(self.model.model.layers)
        ]
        random = torch.Generator().manual_seed(how.seed or 0)
        try:
            for _ in range(self.dropped):
                self.model(torch.tensor([ids[: self.chunk]]))
            cache, logits = DynamicCache(), None
            for piece in torch.tensor([ids]).split(self.chunk, 1):
                logits = self.model(piece, past_key_values=cache).logits[0, -1]
            written: list[int] = []
            while len(written) < how.max_tokens:
                greedy = how.temperature == 0
                token = int(logits.argmax() if greedy else torch.multinomial(
                    (logits / how.temperature).softmax(-1), 1, generator=random))  # fmt: skip
                written.append(token)
                if token in how.stop_token_ids or any(x in self.tokenizer.decode(written) for x in how.stop):
                    break
                if len(written) < how.max_tokens:
                    logits = self.model(torch.tensor([[token]]), past_key_values=cache).logits[0, -1]
        finally:
            for handle in handles:
                handle.remove()
        output = SimpleNamespace(
            token_ids=written, finish_reason="length" if len(written) == how.max_tokens else "stop"
        )
        found = SimpleNamespace(prompt_token_ids=list(ids), outputs=[output], request_id="0")
        if hooks:
            found.hook_results = {str(i): context.saved for i, context in enumerate(contexts)}
        if blocks:
            found.activations = {"residual_stream": torch.stack([torch.cat(kept[i]) for i in sorted(blocks)])}
        return found

    @staticmethod
    def _at(layer, hooks, contexts, kept):
        def hook(module, args, output):
            x = output[0]
            if kept is not None:
                kept.setdefault(layer, []).append(x.clone())
            try:
                stream = x.clone()
                for each, context in zip(hooks, contexts, strict=True):
                    if layer in each.layer_indices:
                        result = each.fn(context, stream)
                        stream = stream if result is None else result
            except Exception:
                return None
            return stream[None]

        return hook


def modules() -> dict[str, ModuleType]:
    """What `import vllm` and `import vllm_lens` are to find."""
    engine, plugin = ModuleType("vllm"), ModuleType("vllm_lens")
    engine.LLM, engine.SamplingParams, plugin.Hook = LLM, SamplingParams, Hook
    return {"vllm": engine, "vllm_lens": plugin}
