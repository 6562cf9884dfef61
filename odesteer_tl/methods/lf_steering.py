"""LF-Steering: shifting discriminative latents of a sparse autoencoder (arXiv 2501.11036)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl.fields import LatentField, SparseAutoencoder, VectorField
from odesteer_tl.methods.registry import median_norm, register
from odesteer_tl.methods.training import mean_square, minimise


@register(
    "lf_steering",
    solver="euler",
    T=1.0,
    source="LF-Steering, arXiv 2501.11036; reconstructed from its abstract",
    idea="raise the latents that differ most",
)
def lf_steering(
    positive: Float[Tensor, "n d"],
    negative: Float[Tensor, "m d"],
    seed: int = 0,
    *,
    autoencoder: SparseAutoencoder | None = None,
    latents: int = 20,
) -> VectorField:
    """`a + T·(z′ − z)W_dec`, z′ shifted by the difference of class means on the most discriminative latents only.

    A reconstruction: latents are ranked by the difference of their means over their standard deviation, and a shifted
    latent stays ≥ 0.

    Args:
        autoencoder: of this layer, e.g. from `read_saelens`; None trains a small one on the activations given.
        latents: how many are shifted.

    Raises:
        ValueError: latents < 1.
    """
    if latents < 1:
        raise ValueError(f"latents={latents} must be at least 1")
    sae = autoencoder
    if sae is None:
        sae = train_autoencoder(torch.cat([positive, negative]), seed=seed)
    x, y = (sae.encode(part.to(sae.W_enc.dtype)) for part in (positive, negative))
    difference, spread = x.mean(0) - y.mean(0), torch.cat([x, y]).std(0)
    score = difference.abs() / spread.where(spread > 0, torch.inf)  # a latent that never varies tells nothing
    chosen = score.topk(min(latents, len(score))).indices
    shift = torch.zeros_like(difference)
    shift[chosen] = difference[chosen]
    return LatentField(sae, shift, median_norm(positive, negative))


def train_autoencoder(
    activations: Float[Tensor, "n d"],
    *,
    expansion: int = 4,
    k: int = 16,
    steps: int = 400,
    seed: int = 0,
) -> SparseAutoencoder:
    """A TopK autoencoder (Gao et al., arXiv 2406.04093) of `expansion · d` latents, k of them active, float32.

    Trained on centred activations of unit mean square; decoder rows start as the encoder's columns and are of unit
    length in the end, so that a latent is in activation units. Without a loss for dead latents: it is small.

    Args:
        activations: of one layer, both classes together.
        expansion: latents a dimension.
        k: active latents a row.
        steps: minibatches of the training.
        seed: of the start and of the minibatches.

    Returns:
        The trained autoencoder.

    Raises:
        ValueError: k is not between 1 and the number of latents.
    """
    d = activations.shape[1]
    if not 1 <= k <= expansion * d:
        raise ValueError(f"k={k} must lie between 1 and expansion·d = {expansion * d}")
    mean = activations.double().mean(0).float()
    size = float((activations - mean).double().square().mean().sqrt()) or 1.0
    x = (activations.float() - mean) / size
    start = torch.randn(expansion * d, d, generator=torch.Generator().manual_seed(seed))
    decoder = (start / start.norm(dim=-1, keepdim=True)).requires_grad_()
    encoder = decoder.detach().mT.clone().requires_grad_()
    bias, zero = torch.zeros(expansion * d, requires_grad=True), torch.zeros(expansion * d)

    def loss(rows: Tensor, generator: torch.Generator) -> Tensor:
        sae = SparseAutoencoder(encoder, bias, decoder, torch.zeros(d), zero, k)
        return mean_square(sae.decode(sae.encode(x[rows])) - x[rows])

    minimise([encoder, bias, decoder], loss, len(x), steps=steps, seed=seed)
    length = decoder.detach().norm(dim=-1)
    # p′ = length·size·p is the same code, in units of the activations
    W_enc = encoder.detach() * length
    b_enc = bias.detach() * length * size - mean @ W_enc
    return SparseAutoencoder(W_enc, b_enc, decoder.detach() / length[:, None], mean, zero, k)
