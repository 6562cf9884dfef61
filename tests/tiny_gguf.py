"""A tiny random Llama as a GGUF file, written with the gguf package the way llama.cpp's converter does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.convert_slow_tokenizer import bytes_to_unicode

SPECIAL = ["<|end|>", "<|start|>", "<|pad|>"]
MERGES = ["Ġ Ġ", "t h", "th e", "Ġ the", "c a", "ca t"]
TOKENS = [*SPECIAL, *bytes_to_unicode().values(), *(merge.replace(" ", "") for merge in MERGES)]
TEMPLATE = "{% for m in messages %}<|start|>{{ m['role'] }}: {{ m['content'] }}<|end|>{% endfor %}"
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 32.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}  # fmt: skip


def tiny_llama(**settings: Any) -> LlamaForCausalLM:
    """Two layers, four heads that share two keys, weights far from zero."""
    shape = {"vocab_size": len(TOKENS), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "bos_token_id": 1,
             "eos_token_id": 0, "pad_token_id": 2, "rms_norm_eps": 1e-5, "attn_implementation": "eager"}  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**shape, **settings)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def write_gguf(
    path: Path, model: LlamaForCausalLM, *, pre: str = "smollm", kind: Any = None, leave_out: str = "", **keys: Any
) -> Path:
    """Write `model` with its weights as `kind` (float32 if None), and `keys` (dots written as two underscores)."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    for key, value in keys.items():
        add = {str: writer.add_string, int: writer.add_uint32}[type(value)]
        add(key.replace("__", "."), value)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, parameter in model.named_parameters():
        weight = parameter.detach().numpy()
        for part, n in heads.items():
            if part in name:  # llama.cpp rotates neighbours where transformers rotates halves
                weight = weight.reshape(n, 2, len(weight) // n // 2, -1).swapaxes(1, 2).reshape(weight.shape)
        target = names.get_name(name, try_suffixes=(".weight",))
        if target == leave_out:
            continue
        if kind is None or weight.ndim == 1:
            writer.add_tensor(target, np.ascontiguousarray(weight))
        else:
            writer.add_tensor(target, gguf.quants.quantize(np.ascontiguousarray(weight), kind), raw_dtype=kind)
    if config.rope_parameters["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_divisors(config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def llama3_divisors(config: LlamaConfig) -> np.ndarray:
    """What Llama 3 divides its rotary frequencies by (Dubey et al., 2024): nothing, a blend, or the whole factor."""
    rope = config.rope_parameters
    wavelength = 2 * np.pi * rope["rope_theta"] ** (np.arange(0, config.head_dim, 2) / config.head_dim)
    old, low, high = (rope[k] for k in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor"))
    smooth = np.clip((old / wavelength - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)
