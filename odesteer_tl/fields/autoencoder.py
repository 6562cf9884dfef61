"""Sparse autoencoders and the field that shifts some of their latents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields.stored import StoredField


@dataclass(frozen=True)
class SparseAutoencoder:
    """`z = act(a·W_enc + b_enc)`, `a ≈ z·W_dec + b_dec`.

    One form for the kinds in use: a latent is `relu(p)` where its pre-activation p exceeds its threshold, and of
    those the k largest if k is given. TopK has thresholds 0; ReLU has those and no k; JumpReLU its own thresholds.

    Attributes:
        W_enc, b_enc, W_dec, b_dec: [d, k], [k], [k, d], [d]; a decoder bias that is taken off the input is folded
            into b_enc.
        threshold: [k].
        k: number of latents kept, or None for all.
    """

    W_enc: Float[Tensor, "d latents"]
    b_enc: Float[Tensor, " latents"]
    W_dec: Float[Tensor, "latents d"]
    b_dec: Float[Tensor, " d"]
    threshold: Float[Tensor, " latents"]
    k: int | None = None

    def encode(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch latents"]:
        """The latents z ≥ 0."""
        p = a @ self.W_enc + self.b_enc
        z = torch.relu(p) * (p > self.threshold)
        if self.k is None:
            return z
        kept = z.topk(self.k, dim=-1)
        return torch.zeros_like(z).scatter(-1, kept.indices, kept.values)

    def decode(self, z: Float[Tensor, "*batch latents"]) -> Float[Tensor, "*batch d"]:
        """The reconstruction."""
        return z @ self.W_dec + self.b_dec


class LatentField(StoredField):
    """`v(a) = (z′ − z)·W_dec`, z′ = relu(z + shift) on the latents with a nonzero shift and z elsewhere.

    The autoencoder's error is left alone: only the difference of two decodings is added.

    Args:
        autoencoder: of the layer that is steered.
        shift: [latents], in units of the latents.
        median_norm: of the fitting activations, for `Flow(relative=…)`.
    """

    def __init__(
        self, autoencoder: SparseAutoencoder, shift: Float[Tensor, " latents"], median_norm: float | None
    ) -> None:
        sae = autoencoder
        tensors = {"W_enc": sae.W_enc, "b_enc": sae.b_enc, "W_dec": sae.W_dec, "b_dec": sae.b_dec}
        tensors |= {"threshold": sae.threshold, "shift": shift}
        super().__init__(len(sae.b_dec), median_norm, tensors, {"k": sae.k})

    def autoencoder(self, like: Tensor) -> SparseAutoencoder:
        """The autoencoder in the dtype and on the device of `like`."""
        W_enc, b_enc, W_dec, b_dec = (self.on(name, like) for name in ("W_enc", "b_enc", "W_dec", "b_dec"))
        return SparseAutoencoder(W_enc, b_enc, W_dec, b_dec, self.on("threshold", like), self.settings["k"])

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The decoded change of the latents."""
        sae, shift = self.autoencoder(self.require(a)), self.on("shift", a)
        z = sae.encode(a)
        return (torch.relu(z + shift) - z) @ sae.W_dec  # z ≥ 0, so that a shift of 0 changes nothing
