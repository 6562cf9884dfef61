"""Models: loading a TransformerBridge, and saying which model an artefact belongs to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge

from odesteer_tl import organism
from odesteer_tl._check import as_integer, require_one_of, warn
from odesteer_tl.fingerprint import PREFIX, embedding_fingerprint, embedding_rows, fingerprint
from odesteer_tl.passes import listen

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


@dataclass(frozen=True)
class ModelIdentity:
    """What a fitted artefact must find again: the same weights, in the same basis and precision.

    `fingerprint` hashes elements of every parameter; `compatibility_mode` changes the basis of LayerNorm models.

    Attributes:
        name: for people; not compared.
        d_model, n_layers, dtype: sizes and precision.
        compatibility_mode: whether LayerNorm and biases are folded in, which changes the residual basis.
        fingerprint: a hash of elements of every parameter, "2:…"; without that beginning, as earlier versions wrote
            it, of rows of the embedding alone.
    """

    name: str
    d_model: int
    n_layers: int
    dtype: str
    compatibility_mode: bool
    fingerprint: str

    @classmethod
    def of(cls, model: TransformerBridge) -> ModelIdentity:
        """Read the identity of a loaded model, its weights from disk where they were offloaded.

        Read anew at every call, in milliseconds: training in place makes another model.

        Raises:
            ValueError: a remote model, or one loaded without its weights.
        """
        require_local(model)
        return cls(
            name=model_name(model),
            d_model=int(model.cfg.d_model),
            n_layers=int(model.cfg.n_layers),
            dtype=str(embedding_rows(model).dtype).removeprefix("torch."),
            compatibility_mode=bool(model.compatibility_mode),
            fingerprint=fingerprint(model),
        )

    def require(self, model: TransformerBridge) -> None:
        """Raise `ValueError` unless `model` is the one described here (its name may differ, its weights may not).

        An identity of the earlier kind is compared by the embedding, and warns that the blocks are not.
        """
        found = ModelIdentity.of(model)
        if not self.fingerprint.startswith(PREFIX):
            found = replace(found, fingerprint=embedding_fingerprint(model))
        for key in ("d_model", "n_layers", "compatibility_mode", "dtype", "fingerprint"):
            mine, other = getattr(self, key), getattr(found, key)
            if mine != other:
                raise ValueError(
                    f"model: this steerer was made for {self.name!r} with {key}={mine!r}, but {found.name!r} has "
                    f"{key}={other!r}; load the original model, fit again, or say `steerer.bound_to(model)` "
                    "if you mean to carry it over"
                )
        if not self.fingerprint.startswith(PREFIX):
            warn(
                f"model: this steerer was saved when a model was told by its embedding alone, so blocks that were "
                f"trained since are not noticed; if {found.name!r} is the model it was fitted on, save "
                "`steerer.bound_to(model)`"
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
    layer, n_layers = as_integer("layer", layer), int(model.cfg.n_layers)
    if not 0 <= layer < n_layers:
        raise ValueError(f"layer={layer} is out of range; {model_name(model)!r} has layers 0 to {n_layers - 1}")
    return f"blocks.{layer}.hook_out"


def model_name(model: TransformerBridge) -> str:
    """The hub's name, or a local directory's last part: its path means nothing on another machine."""
    source = Path(str(model.cfg.model_name))
    return "organism" if source.resolve() == organism.PATH.resolve() else source.name
