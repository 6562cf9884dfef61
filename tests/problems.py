"""Reference problems: random numbers, quadratics, activations, models and batches; and what a model writes on them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from odesteer_tl import QuadraticBarrier
from odesteer_tl.organism import PATH


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_quadratic(d: int, seed: int, curvature: float = 1.0, slope: float = 1.0) -> QuadraticBarrier:
    """A dense quadratic with ‖A‖ ≈ curvature and ‖b‖ ≈ slope."""
    g = torch.Generator().manual_seed(seed)
    A = torch.randn(d, d, generator=g, dtype=torch.float64) / d**0.5
    b = torch.randn(d, generator=g, dtype=torch.float64) / d**0.5
    return QuadraticBarrier(A=curvature * (A + A.mT) / 2, b=slope * b, c=0.3)


def gaussian_classes(n: int, d: int, seed: int = 0, shift: float = 0.3) -> tuple[Tensor, Tensor]:
    """Two classes that differ in mean and covariance, float32, norms about √d."""
    g = torch.Generator().manual_seed(seed)
    mean = torch.randn(d, generator=g)
    scales = torch.linspace(0.5, 1.5, d)
    positive = torch.randn(n, d, generator=g) + shift * mean
    return positive, torch.randn(n, d, generator=g) * scales - shift * mean


def activations(n: int, d: int, seed: int = 1, norm: float = 8.0) -> Tensor:
    """Random float64 activations of one norm."""
    a = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return norm * a / a.norm(dim=-1, keepdim=True)


def on_disk(make: Callable[[], Any], folder: Path) -> Path:
    """The folder, with the random model of seed 0 that is made and the organism's tokenizer."""
    torch.manual_seed(0)
    make().save_pretrained(folder)
    for file in PATH.glob("*token*"):
        shutil.copy(file, folder)
    return folder


def padded_prompts(columns: int, n: int = 3) -> tuple[Tensor, Tensor]:
    """Token ids of prompts of the organism's vocabulary, padded on the left (none, half, all but one), and the mask."""
    tokens = torch.randint(5, 100, (n, columns), generator=torch.Generator().manual_seed(columns))
    mask = torch.ones_like(tokens)
    if columns > 2:
        mask[1, : columns // 2] = 0
        mask[2, : columns - 1] = 0
    return tokens, mask


@torch.no_grad()
def log_probability(model: Any, prompt: str, ending: str, steerer: Any = None) -> float:
    """Σ log p of the tokens behind the prompt's in one unpadded pass, steered from the prompt's last token on."""
    P, tokens = model.to_tokens(prompt).shape[1], model.to_tokens(prompt + ending)
    with model.hooks(fwd_hooks=[] if steerer is None else steerer.hooks(P)):
        found = model(tokens).log_softmax(-1)
    return float(found[0, P - 1 : -1].gather(-1, tokens[0, P:, None]).sum())


def written_logits(model: Any, tokens: Tensor, mask: Tensor, hooks: Any, new: int = 4, cached: bool = True) -> Tensor:
    """Logits of each token that TransformerLens writes greedily behind the prompts, with or without a KV cache."""
    with model.hooks(fwd_hooks=hooks):
        out = model.generate(
            tokens, attention_mask=mask, max_new_tokens=new, do_sample=False, verbose=False, output_logits=True,
            use_past_kv_cache=cached, stop_at_eos=False, return_type="tokens", prepend_bos=False,
        )  # fmt: skip
    return torch.stack(list(out.logits))
