"""Reading sparse autoencoders that SAELens wrote (whose package asks for TransformerLens 3, not 4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from odesteer_tl.fields import SparseAutoencoder

ARCHITECTURES = ("standard", "topk", "jumprelu")


def read_saelens(path: str | Path) -> SparseAutoencoder:
    """The autoencoder in a directory of `cfg.json` and `sae_weights.safetensors`, as SAELens 5 and 6 save it.

    A decoder bias taken off the input and a rescaling by decoder norms are folded into the encoder, so that the
    codes and reconstructions are the same. Weights are read in float32.

    Args:
        path: the directory.

    Returns:
        The autoencoder, for `lf_steering`.

    Raises:
        ValueError: a file is missing or unreadable, or the architecture or normalisation is not one of the known.
    """
    path = Path(path)
    try:
        config: dict[str, Any] = json.loads((path / "cfg.json").read_text())
        weights = {name: x.float() for name, x in load_file(path / "sae_weights.safetensors").items()}
        return _assemble(config, weights)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ValueError(f"path={str(path)!r} is not a readable SAELens directory: {error!r}") from error


def _assemble(config: dict[str, Any], weights: dict[str, Tensor]) -> SparseAutoencoder:
    """One canonical form of what the configuration describes."""
    architecture = config["architecture"]
    activation = config.get("activation_fn", config.get("activation_fn_str", "relu"))
    if architecture == "standard" and activation == "topk":  # how SAELens 5 wrote them
        architecture, config = "topk", {**config, **config["activation_fn_kwargs"]}
    if architecture not in ARCHITECTURES or (architecture == "standard" and activation != "relu"):
        raise ValueError(
            f"architecture={architecture!r} with activation {activation!r} is not read; "
            f"known are {', '.join(ARCHITECTURES)} with ReLU"
        )
    if config.get("normalize_activations", "none") not in ("none", None):
        raise ValueError(
            f"normalize_activations={config['normalize_activations']!r} is not read; fold it in SAELens first "
            "(sae.fold_activation_norm_scaling_factor) and save again"
        )
    W_enc, b_enc, W_dec, b_dec = (weights[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec"))
    if config.get("apply_b_dec_to_input", True):
        b_enc = b_enc - b_dec @ W_enc
    if config.get("rescale_acts_by_decoder_norm", False):
        length = W_dec.norm(dim=-1)
        W_enc, b_enc, W_dec = W_enc * length, b_enc * length, W_dec / length[:, None]
    threshold = weights["threshold"] if architecture == "jumprelu" else torch.zeros_like(b_enc)
    return SparseAutoencoder(W_enc, b_enc, W_dec, b_dec, threshold, config["k"] if architecture == "topk" else None)
