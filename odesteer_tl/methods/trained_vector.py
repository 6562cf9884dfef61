"""Trained vectors: one vector, added, learned through the model."""

from __future__ import annotations

import torch

from odesteer_tl.fields import ConstantField, VectorField
from odesteer_tl.fields.affine import AffineField
from odesteer_tl.methods.registry import register_trained
from odesteer_tl.training import Course, Learner, Likelihood, Objective, Preference, learner_of


@register_trained(
    "trained_vector",
    solver="euler",
    multiplier=1.0,
    source="the family of LS-ReFT (AxBench, ICML 2025) and its kin; formulas of the papers",
    idea="add a vector trained on likelihood",
)
def trained_vector(course: Course, seed: int = 0, *, objective: Objective | None = None) -> VectorField:
    """`a + α·v`, v trained from 0 so that the positive completions become likely; α = 1 is its own strength.

    Reconstructed from what the papers of this family share: one vector, the model frozen, cross-entropy. Ours are the
    limit on the divergence, and that α is drawn uniformly in training so that one v serves every strength.

    Args:
        seed: of minibatches and strengths.
        objective: another one than the positive completions' likelihood, or a function of logits.
    """
    return course.train(vector_learner(course), seed, objective=objective or Likelihood())


@register_trained(
    "bipo",
    solver="euler",
    multiplier=1.0,
    source="BiPO, NeurIPS 2024 (arXiv 2406.00045); formula of the paper",
    idea="add a vector trained on preferences",
)
def bipo(course: Course, seed: int = 0, *, beta: float = 0.1) -> VectorField:
    """`a + α·v`, v trained so that α = 1 prefers the positive completion of a pair and α = −1 the negative one.

    Reconstructed from the paper's equation (`Preference`); ours are the limit on the divergence and the drawn |α|.

    Args:
        course: the model, paired texts, the place and the settings of the training.
        seed: of minibatches, strengths and directions.
        beta: β, how far the preference is pushed.

    Raises:
        ValueError: the contrast is not paired.
    """
    return course.train(vector_learner(course), seed, objective=Preference("bipo", beta))


@register_trained(
    "reps",
    solver="euler",
    multiplier=1.0,
    source="RePS (arXiv 2505.20809); reconstructed from its description",
    idea="add a vector trained reference-free",
)
def reps(course: Course, seed: int = 0) -> VectorField:
    """`a + α·v`, v trained on the reference-free preference of "reps" (`Preference`), in both directions.

    Reconstructed from a description of the paper, which nullifies the direction where this steers with α = −1; ours are
    the limit on the divergence and the drawn |α|.

    Args:
        course: the model, paired texts, the place and the settings of the training.
        seed: of minibatches, strengths and directions.

    Raises:
        ValueError: the contrast is not paired.
    """
    return course.train(vector_learner(course), seed, objective=Preference("reps"))


def vector_learner(course: Course) -> Learner:
    """A vector that is added, 0 at the start."""
    zero, norm = torch.zeros(course.width), course.median_norm
    start = AffineField(torch.ones_like(zero), zero, norm)
    learner = learner_of(start, only=["bias"], scales={"bias": course.coordinate})
    bias = learner.parameters["bias"]
    return Learner(
        learner.field, learner.parameters, lambda: ConstantField(bias.detach().clone(), norm), learner.scales
    )
