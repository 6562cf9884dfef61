"""RISER: a library of directions and a router that mixes them for each activation (arXiv 2601.09269)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn.functional import binary_cross_entropy_with_logits

from odesteer_tl._check import require_finite
from odesteer_tl._groups import JOINED, Groups, row_labels
from odesteer_tl.barriers import LinearBarrier
from odesteer_tl.fields import RouterField
from odesteer_tl.fields.mlp import Layers, forward
from odesteer_tl.fields.router import MOST
from odesteer_tl.methods.registry import median_norm, register, require_pairs
from odesteer_tl.methods.training import fit_mlp, mean_square, minimise

#: weights tried in the warm-up, for one vector or for two at once
GRID = (0.5, 1.0, 1.5, 2.0)
#: of α/2's logit in a policy's draws
SPREAD = 0.5
#: a router's outputs [n, k] each: the gates' logits, and those of α/2
Outputs = tuple[Tensor, Tensor]
#: steered activations, row i that of state i, to one reward a row
Reward = Callable[[Tensor], Tensor]


@register(
    "riser",
    solver="euler",
    T=1.0,
    source="RISER, arXiv 2601.09269; paper read, its warm-up alone",
    idea="let a learned router mix directions",
)
def riser(
    positive: Float[Tensor, "n d"],
    negative: Float[Tensor, "m d"],
    seed: int = 0,
    *,
    clusters: int = 6,
    hidden: int = 64,
    steps: int = 1000,
    groups: Groups | None = None,
) -> RouterField:
    """`a + T·Σ wᵢαᵢvᵢ`, the library by K-means on paired differences and the router by its supervised warm-up.

    Half of the pairs give the library and the states that the router is trained on; the other half gives a
    `LinearBarrier` h. Of no vector, each one and each two, at the weights of a grid, the router is taught the shortest
    mixture that brings h to the median h* of the library's positives, or the one of highest h where none does.
    Reconstructed: the original's reward is the model's own task and its differences are of filtered generations, here
    no model is run; and α is in units of the mean difference's length (CAA's), since a unit vector means nothing
    across models. Where several vectors would do, which one the grid takes is hard to learn and no gate may open:
    fewer clusters then steer more. For its policy optimisation see `optimise_router`.

    Args:
        clusters: K.
        hidden: width of the router's hidden layer.
        steps: minibatches of its training.
        groups: which rows come from one text, as in `KernelBarrier.fit`; no group gives pairs to both halves.

    Raises:
        ValueError: the classes are not paired, clusters < 1, or there are fewer than 2K pairs.
    """
    require_pairs(positive, negative, "RISER clusters the differences of pairs", groups)
    if clusters < 1 or len(positive) < 2 * clusters:
        raise ValueError(f"clusters={clusters} needs 1 or more, and at least two pairs for each; got {len(positive)}")
    order, half = _halves(row_labels(positive, negative, groups)[: len(positive)], seed)
    x, y = (part.double()[order] for part in (positive, negative))
    vectors = library(x[half:] - y[half:], clusters, seed)
    barrier = LinearBarrier().fit(x[:half], y[:half])
    states, norm = torch.cat([x[half:], y[half:]]), median_norm(positive, negative)
    level = float(barrier.value(x[half:]).median())
    targets = grid_search(states, vectors, lambda a: barrier.value(a).clamp_max(level)).float()
    inputs = (states * (states.shape[1] ** 0.5 / norm)).float()

    def loss(network: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        gates, logits = network(inputs[rows]).chunk(2, dim=-1)
        wanted = targets[rows]
        error = (MOST * torch.sigmoid(logits) - wanted) * (wanted > 0)
        return binary_cross_entropy_with_logits(gates, (wanted > 0).float()) + mean_square(error)

    layers = fit_mlp([inputs.shape[1], hidden, 2 * clusters], loss, len(inputs), steps=steps, seed=seed)
    return RouterField(layers, vectors, norm)


def _halves(groups: Int[np.ndarray, " n"], seed: int) -> tuple[Int[Tensor, " n"], int]:
    """The pairs in an order that is random by groups, and how many of them the first half of the groups has."""
    distinct = np.unique(groups)
    order = torch.randperm(len(distinct), generator=torch.Generator().manual_seed(seed)).numpy()
    rank = np.empty(len(distinct), dtype=np.int64)
    rank[order] = np.arange(len(distinct))
    of_row = rank[np.searchsorted(distinct, groups)]
    half = int((of_row < len(distinct) // 2).sum())
    if half == 0:
        raise ValueError(
            f"groups: all {len(groups)} pairs are of one group ({JOINED}); RISER needs two, one for each half"
        )
    return torch.from_numpy(np.argsort(of_row, kind="stable")), half


def library(differences: Float[Tensor, "n d"], clusters: int, seed: int) -> Float[Tensor, "k d"]:
    """Directions of the K-means centroids of the differences, each of the length of their mean, float64.

    Raises:
        ValueError: the mean difference is zero.
    """
    x = differences.double()
    length = x.mean(0).norm()
    if length == 0:
        raise ValueError("differences have a mean of zero: the classes have no difference at this layer")
    found = KMeans(clusters, n_init=10, random_state=seed).fit(x.numpy())  # pyright: ignore[reportArgumentType]
    centroids = torch.from_numpy(found.cluster_centers_)
    # a cluster of pairs without a difference has no direction, and its vector is 0
    return length * centroids / centroids.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)


def grid_search(states: Float[Tensor, "n d"], vectors: Float[Tensor, "k d"], reward: Reward) -> Float[Tensor, "n k"]:
    """For each state the shortest of the mixtures of highest reward, of at most two vectors at a grid's weights."""
    mixtures = _mixtures(len(vectors)).to(vectors)
    shifts = mixtures @ vectors
    best, chosen = reward(states), torch.zeros_like(states[:, 0], dtype=torch.long)
    order = shifts.norm(dim=-1).argsort(stable=True)  # the empty mixture stands first
    for i in order.tolist()[1:]:
        found = reward(states + shifts[i])
        better = found > best
        best, chosen = torch.where(better, found, best), torch.where(better, i, chosen)
    return mixtures[chosen]


def _mixtures(k: int) -> Float[Tensor, "mixtures k"]:
    """Weights of all mixtures tried, the empty one first."""
    rows = [[0.0] * k]
    for size in (1, 2):
        for which in combinations(range(k), size):
            for values in product(GRID, repeat=size):
                weights = dict(zip(which, values, strict=True))
                rows.append([weights.get(i, 0.0) for i in range(k)])
    return torch.tensor(rows, dtype=torch.float64)


def optimise_router(
    field: RouterField,
    states: Float[Tensor, "n d"],
    reward: Reward,
    *,
    steps: int = 60,
    draws: int = 8,
    penalty: float = 0.02,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> RouterField:
    """Policy optimisation of a router against any reward of the steered states; the library stays as it is.

    Every step draws mixtures for every state (gates by their probabilities, α/2's logit from a normal around the
    router's), and raises the log-probability of each by its reward, standardised among the draws of its own state
    (Shao et al., arXiv 2402.03300), less `penalty` times the exact KL divergence from the router given. Draws are used
    once, so no ratio needs clipping. Reconstructed: the original's optimiser settings are not used.

    Args:
        field: the warm-up's.
        states: activations before steering.
        reward: of `states + v` [n, d], row i that of state i, one number a row; called `steps · draws` times without
            gradients. It may run a model: `Prefix.logits` at the cost of the later blocks.
        draws: mixtures a state and step, at least 2.
        penalty: weight of the KL divergence, in standard deviations of the reward a nat.
        steps: updates of the router.
        learning_rate: of the first update; it falls to 0 by a cosine.
        seed: of the draws.

    Returns:
        A new field with the same library; `field` is left as it was.

    Raises:
        ValueError: draws < 2, or a reward that is NaN, infinite, or not one number a state.
    """
    if draws < 2:
        raise ValueError(f"draws={draws} must be at least 2: a draw is judged against the others of its state")
    inputs = field.scaled(states.float().cpu())
    vectors = field.on("library", inputs)
    layers = [(w.clone().requires_grad_(), b.clone().requires_grad_()) for w, b in field.layers(inputs)]
    warm_up = _outputs(field.layers(inputs), inputs)

    def loss(rows: Tensor, generator: torch.Generator) -> Tensor:
        gates, weights = policy = _outputs(layers, inputs)
        shape = (draws, *gates.shape)
        acts = (torch.rand(shape, generator=generator) < torch.sigmoid(gates)).float()
        drawn = weights.detach() + SPREAD * torch.randn(shape, generator=generator)
        steered = states + ((acts * MOST * torch.sigmoid(drawn)) @ vectors).to(states)
        with torch.no_grad():
            rewards = torch.stack([_checked(reward(draw), len(states)) for draw in steered])
        advantage = (rewards - rewards.mean(0)) / rewards.std(0).clamp_min(1e-6)
        # where a vector does not act its weight was not tried
        chance = Bernoulli(logits=gates).log_prob(acts) + acts * Normal(weights, SPREAD).log_prob(drawn)
        return penalty * divergence(policy, warm_up).mean() - (advantage * chance.sum(-1)).mean()

    parameters = [x for layer in layers for x in layer]
    minimise(parameters, loss, len(states), steps=steps, seed=seed, learning_rate=learning_rate)
    assert field.median_norm is not None
    return RouterField(layers, field.tensors["library"], field.median_norm)


def divergence(policy: Outputs, warm_up: Outputs) -> Float[Tensor, " n"]:
    """KL(policy ‖ warm-up) in nats: of the gates, and of the weights where the policy lets a vector act."""
    gates, weights = policy
    chance = Bernoulli(logits=gates)
    of_weights = kl_divergence(Normal(weights, SPREAD), Normal(warm_up[1], SPREAD))
    return (kl_divergence(chance, Bernoulli(logits=warm_up[0])) + chance.probs * of_weights).sum(-1)


def _outputs(layers: Layers, inputs: Float[Tensor, "n d"]) -> Outputs:
    gates, weights = forward(layers, inputs).chunk(2, dim=-1)
    return gates, weights


def _checked(rewards: Tensor, n: int) -> Tensor:
    if rewards.shape != (n,):
        raise ValueError(f"reward has shape {tuple(rewards.shape)} for {n} states; return one number a state")
    require_finite("reward", rewards)
    return rewards.float().cpu()
