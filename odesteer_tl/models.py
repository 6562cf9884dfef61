"""Models: loading a TransformerBridge, and what counts as a model here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from odesteer_tl._check import as_integer, require_one_of
from odesteer_tl.abilities import require_decoder
from odesteer_tl.identity import ModelIdentity as ModelIdentity
from odesteer_tl.passes import listen
from odesteer_tl.plain import Model, PlainModel

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

#: `organism.PATH`, whose package needs more than the name of a model does
EMBEDDED = (Path(__file__).parent / "organism" / "weights").resolve()
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


def load_model(
    name: str | Path = "organism", *, dtype: str | torch.dtype = "float32", device: str | None = None
) -> TransformerBridge:
    """Load a model as a TransformerLens bridge, in evaluation mode and raw (non-compatibility) basis.

    Args:
        name: `"organism"` for the embedded model; `"smollm2"` or `"gemma-3-270m"` for one that the package index
            ships; a local Hugging Face directory; a `.gguf` file of an architecture that transformers reads; or a hub
            name such as `"gpt2"`. GGUF weights are dequantised once and kept in the folder `ODESTEER_CACHE` (by default
            the platform's for caches).
        dtype: one of float32, bfloat16, float16, float64.
        device: a torch device; by default TransformerLens chooses.

    Returns:
        The bridge; any other `TransformerBridge` serves as well.

    Raises:
        ValueError: an unknown dtype, nothing of that name, a package to be installed first (the command is named), an
            unreadable or unsupported file, a full disk, a configuration that TransformerLens cannot wrap, or a
            multimodal checkpoint for which it would install torchvision by itself.
        ImportError: a GGUF file without the extra `gguf`.
    """
    from transformer_lens.model_bridge import TransformerBridge

    from odesteer_tl.checkpoints import checkpoint

    dtype = str(dtype).removeprefix("torch.") if isinstance(dtype, torch.dtype) else dtype
    require_one_of("dtype", dtype, DTYPES)
    target = checkpoint(name, DTYPES[dtype])
    try:
        model = TransformerBridge.boot_transformers(target, dtype=DTYPES[dtype], device=device)
    except OSError as error:
        raise ValueError(
            f"name={str(name)!r} could not be loaded; pass an existing directory or file, or a name that the hub knows "
            f"and this machine may fetch: {error}"
        ) from error
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # weights of a shape that its adapter does not expect
        raise ValueError(
            f"name={str(name)!r} cannot be wrapped by TransformerLens, whose adapter for it fails on this "
            f"configuration ({error}); load another checkpoint of the family"
        ) from error
    # already so in every release tried; setting it anew on all of a bridge's modules costs a fifteenth of the loading
    if any(part.training for part in model.modules()):
        model.eval()
    listen(model)
    return model


def hosted(model: Any) -> Model:
    """A bridge or a plain model as it is, a transformers model as a plain one; from then on it is listened to.

    Raises:
        ValueError: something else, such as a remote bridge (vLLM, inspect), which calls no Python hooks, or a
            `HookedTransformer`, whose hook points bear other names;
            or a model with an encoder beside its decoder.
    """
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel

    if isinstance(model, PreTrainedModel):
        model = PlainModel(model)
    if not isinstance(model, TransformerBridge | PlainModel):
        raise ValueError(
            f"model={type(model).__name__} is neither a TransformerBridge in this process nor a transformers model: it "
            "cannot run hook functions under their canonical names; load it with odesteer_tl.load_model(name)"
        )
    require_decoder(model.original_model, model_name(model))
    listen(model)
    return model


def require_tokenizer(model: Model) -> Any:
    """The model's tokenizer.

    Raises:
        ValueError: it has none.
    """
    if model.tokenizer is None:
        raise ValueError(
            f"model={model_name(model)!r} came without a tokenizer, and texts go in or out here; pass "
            "odesteer_tl.PlainModel(model, tokenizer)"
        )
    return model.tokenizer


def resid_hook(model: Model, layer: int) -> str:
    """The canonical name of the residual stream after block `layer`.

    Raises:
        ValueError: `layer` is not in 0 … n_layers − 1.
    """
    layer, n_layers = as_integer("layer", layer), int(model.cfg.n_layers)
    if not 0 <= layer < n_layers:
        raise ValueError(f"layer={layer} is out of range; {model_name(model)!r} has layers 0 to {n_layers - 1}")
    return f"blocks.{layer}.hook_out"


def model_name(model: Model) -> str:
    """The hub's name, or a local directory's last part: its path means nothing on another machine."""
    source = Path(str(model.cfg.model_name))
    return "organism" if source.resolve() == EMBEDDED else source.name
