"""RE-Control: gradient steps on a learned value (Kong et al., arXiv 2406.05954)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from odesteer_tl.fields import ValueField, VectorField
from odesteer_tl.methods.registry import median_norm, register
from odesteer_tl.methods.training import fit_mlp, mean_square


@register(
    "re_control",
    solver="euler",
    steps=30,
    source="RE-Control, arXiv 2406.05954; its recipe read, data differ",
    idea="climb a learned value network",
)
def re_control(
    positive: Float[Tensor, "n d"],
    negative: Float[Tensor, "m d"],
    seed: int = 0,
    *,
    hidden: int = 64,
    steps: int = 400,
) -> VectorField:
    """30 gradient steps `a ← a + η∇V(a)`, η = T/30, on a value network V fitted to the reward.

    Reconstructed: a contrast set has no reward model and no trajectories, so the reward is +1 for positive and −1 for
    negative texts, every state is the last of its text, and the temporal-difference target is the reward itself:
    plain regression. It acts at the layer asked for, where the original acts on the final norm's output.

    Args:
        hidden: width of V's hidden layer.
        steps: minibatches of its training.
    """
    norm, d = median_norm(positive, negative), positive.shape[1]
    states = torch.cat([positive, negative]).float() * (d**0.5 / norm)
    rewards = torch.ones(len(states))
    rewards[len(positive) :] = -1

    def loss(network: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        return mean_square(network(states[rows]).squeeze(-1) - rewards[rows])

    return ValueField(fit_mlp([d, hidden, 1], loss, len(states), steps=steps, seed=seed), d, norm)
