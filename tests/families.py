"""Tiny random models of the families people ask for, with the organism's tokenizer: `family_directory(name, folder)`.

They have what sets each family apart (grouped or multi-query heads, sliding windows, norms after the block, parallel
blocks, experts, partial rotary, tied embeddings) at width 32 to 64 and two to four layers.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from odesteer_tl.organism import PATH

VOCABULARY = 192
CONTEXT = 128
_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
#: most families' configurations name their sizes alike
_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    **_IDS,
}
_GROUPED = {**_COMMON, "num_key_value_heads": 2}
#: a window shorter than the organism's sentences, so that it matters
_WINDOW = {"sliding_window": 8}
_GEMMA = {**_GROUPED, "num_hidden_layers": 4, "head_dim": 16, "query_pre_attn_scalar": 16, **_WINDOW}

_LLAMA3_ROTARY = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

#: family → (the model's class, its configuration's settings)
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2LMHeadModel",
        {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": CONTEXT, **_IDS},
    ),
    "pythia": ("GPTNeoXForCausalLM", {**_COMMON, "rotary_pct": 0.25, "use_parallel_residual": True}),
    "llama3": ("LlamaForCausalLM", {**_GROUPED, "tie_word_embeddings": True, "rope_parameters": _LLAMA3_ROTARY}),
    "mistral": ("MistralForCausalLM", {**_GROUPED, **_WINDOW}),
    "qwen2": ("Qwen2ForCausalLM", _GROUPED),
    "qwen3": ("Qwen3ForCausalLM", {**_GROUPED, "head_dim": 16}),
    "gemma2": ("Gemma2ForCausalLM", _GEMMA),
    "gemma3": (
        "Gemma3ForCausalLM",
        {**_GEMMA, "num_key_value_heads": 1, "layer_types": [*["sliding_attention"] * 3, "full_attention"]},
    ),
    "phi3": ("Phi3ForCausalLM", _GROUPED),
    "olmo2": ("Olmo2ForCausalLM", _GROUPED),
    "mixtral": ("MixtralForCausalLM", {**_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "falcon": ("FalconForCausalLM", {**_COMMON, "multi_query": True, "parallel_attn": True, "bias": False}),
}

_LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 6,
    "v_head_dim": 12,
    "n_group": 2,
    "topk_group": 1,
}
_EXPERTS = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "first_k_dense_replace": 1}

#: families that cannot do everything, or that do it in a way of their own; entries as in `FAMILIES`
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "deepseek3": ("DeepseekV3ForCausalLM", {**_COMMON, "num_key_value_heads": 4, **_LATENT, **_EXPERTS}),
    "codegen": ("CodeGenForCausalLM", {**FAMILIES["gpt2"][1], "n_ctx": CONTEXT, "rotary_dim": 4}),
    "mamba": (
        "MambaForCausalLM",
        {"vocab_size": VOCABULARY, "hidden_size": 32, "state_size": 8, "num_hidden_layers": 3, **_IDS},
    ),
    "lfm2": ("Lfm2ForCausalLM", {**_GROUPED, "layer_types": ["conv", "full_attention", "conv"]}),
    "bert": ("BertForMaskedLM", _COMMON),
    "t5": (
        "T5ForConditionalGeneration",
        {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_heads": 4, **_IDS},
    ),
    "falcon40b": ("FalconForCausalLM", {**_COMMON, "new_decoder_architecture": True, "num_kv_heads": 2, "bias": False}),
}


def family_directory(name: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny random model of the family `name` to `folder / name`, once, and return that directory."""
    path = folder / name
    if path.exists():
        return path
    build, settings = {**FAMILIES, **OTHERS}[name]
    constructor: Callable[..., Any] = getattr(transformers, build)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = constructor(constructor.config_class(**settings))
        with torch.no_grad():
            for parameter in model.parameters():
                # the usual initial weights of 0.02 leave a block's output all but equal to its input at this width
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(path)
    for file in PATH.glob("*token*"):
        shutil.copy(file, path)
    return path
