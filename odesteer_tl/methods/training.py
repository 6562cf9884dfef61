"""The trainer that every method with a small network shares: Adam on seeded minibatches, CPU seconds."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from odesteer_tl.fields.mlp import Layers


def minimise(
    parameters: Iterable[Tensor],
    loss: Callable[[Tensor, torch.Generator], Tensor],
    n: int,
    *,
    steps: int,
    seed: int,
    batch: int = 128,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.0,
) -> None:
    """Minimise `loss(rows, generator)` in place, learning rate falling to 0 by a cosine.

    Args:
        parameters: leaves that require a gradient.
        loss: of the samples with the given indices; whatever else is random is drawn from the generator.
        n: number of samples.
        steps: minibatches, each drawn with replacement.
        seed: of the generator; the caller's random state is not touched.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    with torch.enable_grad(), _one_thread():
        for _ in range(steps):
            optimiser.zero_grad()
            loss(torch.randint(n, (min(batch, n),), generator=generator), generator).backward()
            optimiser.step()
            schedule.step()


def fit_mlp(
    sizes: Sequence[int],
    loss: Callable[[nn.Module, Tensor, torch.Generator], Tensor],
    n: int,
    *,
    steps: int,
    seed: int,
) -> Layers:
    """A tanh network of the given layer sizes that minimises `loss(network, rows, generator)`, float32.

    Weights decay at a rate that, of those tried on planted problems, generalised best.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        linear = [nn.Linear(i, o) for i, o in pairwise(sizes)]
    between = [module for layer in linear[:-1] for module in (layer, nn.Tanh())]
    network = nn.Sequential(*between, linear[-1])
    minimise(
        network.parameters(),
        lambda rows, generator: loss(network, rows, generator),
        n,
        steps=steps,
        seed=seed,
        weight_decay=0.3,
    )
    return [(layer.weight.detach(), layer.bias.detach()) for layer in linear]


@contextmanager
def _one_thread() -> Generator[None]:
    """One thread for matrices this small: more are slower, and would make the result depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def mean_square(x: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """The mean of squares."""
    return x.square().mean()
