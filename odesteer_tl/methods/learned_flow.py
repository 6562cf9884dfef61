"""A learned flow: FLAS's idea for one concept, small enough for a study."""

from __future__ import annotations

from itertools import pairwise

import torch

from odesteer_tl._check import require_at_least
from odesteer_tl.fields import LearnedFlowField, VectorField
from odesteer_tl.fields.learned import CLOCK
from odesteer_tl.flow import Flow
from odesteer_tl.methods.registry import register_trained
from odesteer_tl.training import Course, learner_of

#: FLAS: Euler steps, and a gate's value at the start
STEPS, GATE = 3, 0.1


@register_trained(
    "learned_flow",
    solver="euler",
    steps=STEPS,
    T=1.0,
    source="after FLAS, arXiv 2605.05892, for one concept; this project",
    idea="follow a small trained flow",
)
def learned_flow(course: Course, seed: int = 0, *, hidden: int = 64) -> VectorField:
    """da/dt = v(a, t) for the time T in 3 Euler steps; v a tanh network of one hidden layer with a gate a channel.

    Trained as FLAS is: through the frozen model, on the likelihood of texts of the concept, T uniform in
    `training.strengths` (0.5 to 2). Without its blocks: v sees one activation and the time, no other token and no
    concept text. v starts at 0. Reconstructed: the network in the place of FLAS's blocks, its time embedding and its
    start, and the limit on the divergence, are ours.

    Args:
        seed: of the network's start, minibatches and strengths.
        hidden: width of the hidden layer.

    Raises:
        ValueError: hidden < 1.
    """
    require_at_least("hidden", hidden, 1)
    d, generator = course.width, torch.Generator().manual_seed(seed)
    sizes = [d + CLOCK, hidden, d]
    layers = [(torch.randn(o, i, generator=generator) / i**0.5, torch.zeros(o)) for i, o in pairwise(sizes)]
    layers[-1] = (torch.zeros_like(layers[-1][0]), layers[-1][1])
    start = LearnedFlowField(layers, torch.full((d,), GATE), course.median_norm)
    scales = {f"weight{i}": n**-0.5 for i, n in enumerate(sizes[:-1])}
    return course.train(learner_of(start, scales=scales), seed, flow=Flow(T=1.0, steps=STEPS, solver="euler"))
