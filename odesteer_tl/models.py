"""Models: loading a TransformerBridge, and saying which model an artefact belongs to."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import align_module_device
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from odesteer_tl import organism
from odesteer_tl._check import require_one_of
from odesteer_tl.passes import listen

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
        """Read the identity of a loaded model, its embedding from disk where it was offloaded.

        Raises:
            ValueError: a remote model, or one loaded without its weights.
        """
        require_local(model)
        rows = _embedding_rows(model)
        return cls(
            name=_name(Path(str(model.cfg.model_name))),
            d_model=int(model.cfg.d_model),
            n_layers=int(model.cfg.n_layers),
            dtype=str(rows.dtype).removeprefix("torch."),
            compatibility_mode=bool(model.compatibility_mode),
            fingerprint=hashlib.sha256(rows.float().numpy().tobytes()).hexdigest()[:16],
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
    listen(model)
    return model


def require_local(model: Any) -> None:
    """Raise `ValueError` unless `model` is a bridge in this process, which calls Python hooks; from then on listen.

    Remote bridges (vLLM, inspect) do not, and the hook points of a `HookedTransformer` bear other names.
    """
    if not isinstance(model, TransformerBridge):
        raise ValueError(
            f"model={type(model).__name__} is not a TransformerBridge in this process: it cannot run hook functions "
            "under their canonical names; load it with odesteer_tl.load_model(name)"
        )
    listen(model)


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


def _embedding_rows(model: TransformerBridge) -> Float[Tensor, "rows d_model"]:
    """Every so many rows of the input embedding, the one weight every language model has, in its own dtype."""
    module: Any = model.original_model.get_input_embeddings()  # pyright: ignore[reportCallIssue]
    with ExitStack() as stack:
        # an offloaded weight is a meta tensor until it is used; the bridge wraps the module that owns it
        for part in module.modules():
            stack.enter_context(align_module_device(part))
        weight: Tensor = module.weight
        if weight.is_meta:
            raise ValueError(
                f"model={model.cfg.model_name!r} has no weights to tell it by, its embedding is a meta tensor; "
                "load it with its weights"
            )
        # 64 rows tell two trainings apart, and stay cheap on a vocabulary of 256,000
        return weight[:: max(1, weight.shape[0] // 64)].detach().cpu().contiguous()
