"""Models: loading a TransformerBridge, and saying which model an artefact belongs to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformer_lens.model_bridge import RemoteBridge, TransformerBridge

from odesteer_tl import organism
from odesteer_tl._check import require_one_of

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


@dataclass(frozen=True)
class ModelIdentity:
    """What a fitted artefact must find again: the same weights, in the same basis and precision.

    `fingerprint` hashes the embedding matrix; `compatibility_mode` changes the residual basis of LayerNorm models.

    Attributes:
        name: for people; not compared.
        d_model, n_layers, dtype: sizes and precision.
        compatibility_mode: whether LayerNorm and biases are folded in, which changes the residual basis.
        fingerprint: a hash of rows of the embedding.
    """

    name: str
    d_model: int
    n_layers: int
    dtype: str
    compatibility_mode: bool
    fingerprint: str

    @classmethod
    def of(cls, model: TransformerBridge) -> ModelIdentity:
        """Read the identity of a loaded model."""
        require_local(model)
        weight = _embedding(model)
        # 64 rows tell two trainings apart, and stay cheap on a vocabulary of 256,000
        rows = weight[:: max(1, weight.shape[0] // 64)].detach().float().cpu().contiguous()
        return cls(
            name=_name(Path(str(model.cfg.model_name))),
            d_model=int(model.cfg.d_model),
            n_layers=int(model.cfg.n_layers),
            dtype=str(weight.dtype).removeprefix("torch."),
            compatibility_mode=bool(model.compatibility_mode),
            fingerprint=hashlib.sha256(rows.numpy().tobytes()).hexdigest()[:16],
        )

    def require(self, model: TransformerBridge) -> None:
        """Raise `ValueError` unless `model` is the one described here (its name may differ, its weights may not)."""
        found = ModelIdentity.of(model)
        for key in ("d_model", "n_layers", "compatibility_mode", "dtype", "fingerprint"):
            mine, other = getattr(self, key), getattr(found, key)
            if mine != other:
                raise ValueError(
                    f"model: this steerer was made for {self.name!r} with {key}={mine!r}, but {found.name!r} has "
                    f"{key}={other!r}; load the original model, fit again, or say `steerer.bound_to(model)` "
                    "if you mean to carry it over"
                )


def load_model(
    name: str | Path = "organism", *, dtype: str = "float32", device: str | None = None
) -> TransformerBridge:
    """Load a model as a TransformerLens bridge, in evaluation mode and raw (non-compatibility) basis.

    Args:
        name: `"organism"` for the embedded model, a local Hugging Face directory, or a hub name such as `"gpt2"`.
        dtype: one of float32, bfloat16, float16, float64.
        device: a torch device; by default TransformerLens chooses.

    Returns:
        The bridge; any other `TransformerBridge` serves as well.

    Raises:
        ValueError: an unknown dtype, or a local directory without a `config.json`.
    """
    require_one_of("dtype", dtype, DTYPES)
    source = organism.PATH if str(name) == "organism" else Path(name)
    if source.is_dir() and not (source / "config.json").is_file():
        raise ValueError(f"name={str(name)!r} is a directory without config.json; pass a Hugging Face model directory")
    target = str(source) if source.is_dir() else str(name)
    model = TransformerBridge.boot_transformers(target, dtype=DTYPES[dtype], device=device)
    model.eval()
    return model


def require_local(model: Any) -> None:
    """Raise `ValueError` for a bridge that runs elsewhere and cannot call Python hooks (vLLM, inspect)."""
    if isinstance(model, RemoteBridge):
        raise ValueError(
            f"model={type(model).__name__} runs in another process and cannot run hook functions; "
            "load it with odesteer_tl.load_model(name)"
        )


def resid_hook(model: TransformerBridge, layer: int) -> str:
    """The canonical name of the residual stream after block `layer`.

    Raises:
        ValueError: `layer` is not in 0 … n_layers − 1.
    """
    n_layers = int(model.cfg.n_layers)
    if not 0 <= layer < n_layers:
        raise ValueError(f"layer={layer} is out of range; {model.cfg.model_name!r} has layers 0 to {n_layers - 1}")
    return f"blocks.{layer}.hook_out"


def _name(source: Path) -> str:
    # a local directory is named by its last part: its path means nothing on another machine
    return "organism" if source.resolve() == organism.PATH.resolve() else source.name


def _embedding(model: TransformerBridge) -> torch.Tensor:
    """The input embedding, the one weight every language model has."""
    module: Any = model.original_model.get_input_embeddings()  # pyright: ignore[reportCallIssue]
    return module.weight
