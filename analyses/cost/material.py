"""What the benchmarks are run on, and the line that each of them yields."""

from __future__ import annotations

import shutil
import tempfile
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import GPT2Config, GPT2LMHeadModel

import odesteer_tl as ode

Row = dict[str, Any]


def row(what: str, target: str, first: float, second: float, unit: str = "s") -> Row:
    """A line of the table: reference, ours, and reference / ours."""
    return {"what": what, "target": target, "reference": first, "ours": second, "ratio": first / second, "unit": unit}


def classes(n: int, d: int, seed: int = 0) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    """Two synthetic classes, n rows each, with a mean and a covariance difference."""
    g = torch.Generator().manual_seed(seed)
    mean = torch.randn(d, generator=g)
    positive = torch.randn(n, d, generator=g) + 0.1 * mean
    return positive, torch.randn(n, d, generator=g) * torch.linspace(0.7, 1.3, d) - 0.1 * mean


def gpt2_small(dtype: str = "float32") -> TransformerBridge:
    """A GPT-2-small shape (124 M parameters) with random weights and the organism's tokenizer."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        for file in ode.organism.PATH.glob("*token*"):
            shutil.copy(file, folder)
        GPT2LMHeadModel(GPT2Config(bos_token_id=1, eos_token_id=2)).save_pretrained(folder)
        return ode.load_model(folder, dtype=dtype)


def decaying_classes(
    n: int, d: int, power: float = 1.0, seed: int = 0
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    """Two classes as a model's stream has them: a large common mean, and variances that fall as rank^−power.

    Last tokens of 1,000 texts in SmolLM2, layers 6, 12 and 20, fall with powers of 1.0 to 1.1 between ranks 10 and 200.
    """
    g = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, d + 1).pow(-power / 2)
    common = 3 * scale.norm() * torch.nn.functional.normalize(torch.randn(d, generator=g), dim=0)
    shift = 0.5 * torch.randn(d, generator=g) * scale
    positive = torch.randn(n, d, generator=g) * scale + common + shift
    return positive, torch.randn(n, d, generator=g) * torch.linspace(0.8, 1.2, d) * scale + common - shift
