"""ReFT-r1: one direction that detects and steers, trained through the model (AxBench, ICML 2025)."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import require_at_least
from odesteer_tl.fields import DetectorField, VectorField
from odesteer_tl.fields.base import Seen
from odesteer_tl.fields.stored import StoredField
from odesteer_tl.flow import Flow
from odesteer_tl.hooks import HookFn, steering_hooks
from odesteer_tl.methods.registry import register_trained
from odesteer_tl.positions import position_rule
from odesteer_tl.sites import Place
from odesteer_tl.training import Course, Learner
from odesteer_tl.training.texts import predicted, sides_of


@register_trained(
    "reft_r1",
    solver="euler",
    T=1.0,
    source="ReFT-r1, AxBench, ICML 2025 (arXiv 2501.17148); recipe read",
    idea="detect and add one trained direction",
)
def reft_r1(course: Course, seed: int = 0, *, k: int = 4, sparsity: float = 0.1) -> VectorField:
    """`a + T·m·w`: w a unit direction, m the training texts' mean of each one's k greatest detections `relu(a·w)`.

    Trained on the positive completions' likelihood, each text steered by the mean of its own k greatest detections
    among the tokens that are steered, plus `sparsity` times the mean of the other detections over the median norm (L1).
    `field.score` is the detection. Reconstructed: w starts at the direction of the mean difference, not at a random
    one, and the limit on the divergence and the drawn strengths are ours.

    Args:
        seed: of minibatches and strengths.
        k: how many detections a text's magnitude is the mean of.
        sparsity: the weight of the rest.

    Raises:
        ValueError: k < 1, or no detection is above 0 in the end.
    """
    require_at_least("k", k, 1)
    positive, negative = (x.flatten(1).double() for x in (course.acts.positive, course.acts.negative))
    difference = positive.mean(0) - negative.mean(0)
    start = Detecting(difference / difference.norm(), course.median_norm, k)
    learning, leaves = start.learning(["direction"])
    norm = course.median_norm

    def settled() -> VectorField:
        with torch.no_grad():
            return DetectorField(leaves["direction"].detach().clone(), magnitude(course, learning), norm)

    extra = lambda: sparsity * learning.rest[-1] / norm  # noqa: E731
    said = {"sparsity": sparsity}
    learner = Learner(learning, leaves, settled, {"direction": course.width**-0.5}, extra, settings=said)
    return course.train(learner, seed)


class Detecting(StoredField):
    """The field while it is trained: every text is steered by what is detected in it.

    Args:
        direction: w [d]; used at length 1.
        median_norm: of the fitting activations.
        k: how many detections a magnitude is the mean of.
    """

    context = "sequence"

    def __init__(self, direction: Float[Tensor, " d"], median_norm: float, k: int) -> None:
        super().__init__(direction.shape[0], median_norm, {"direction": direction}, {"k": k})

    @property
    def rest(self) -> list[Tensor]:
        """Mean detection outside the k greatest, of the passes so far."""
        return vars(self).setdefault("_rest", list[Tensor]())

    @property
    def magnitudes(self) -> list[Tensor]:
        """Each text's mean of its k greatest detections, of the passes so far."""
        return vars(self).setdefault("_magnitudes", list[Tensor]())

    def within(self, seen: Seen) -> Detecting:
        """The field on these texts; what is detected in them is noted."""
        w = self.on("direction", seen.states)
        found = (seen.states @ (w / w.norm())).clamp_min(0).where(seen.moves, 0.0)
        count = seen.moves.sum(-1)
        greatest = found.topk(min(self.settings["k"], found.shape[-1]), dim=-1).values.sum(-1)
        taken = count.clamp(1, self.settings["k"])
        # the last pass alone: those before have been used
        self.rest[:] = [((found.sum(-1) - greatest) / (count - taken).clamp_min(1)).mean()]
        self.magnitudes[:] = [greatest / taken]
        other = copy.copy(self)
        vars(other)["magnitude"] = (greatest / taken)[:, None, None]
        return other

    def __call__(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The magnitude times w; of an activation alone, its own detection."""
        w = self.on("direction", a)
        w = w / w.norm()
        own = (a @ w).clamp_min(0).unsqueeze(-1)
        return vars(self).get("magnitude", own) * w.expand_as(a)


def magnitude(course: Course, field: Detecting) -> float:
    """m: the mean over the positive training texts of the mean of each one's k greatest detections."""
    texts, _ = sides_of(course.model, course.contrast, course.prepend_bos)
    flow, rule = Flow(T=1.0, steps=1, solver="euler"), position_rule(course.positions)
    name, found = Place(course.layer, course.site).hook_name, list[Tensor]()

    def hooks_for(prompt_length: int) -> list[tuple[str, HookFn]]:
        before = [] if course.under is None else course.under(prompt_length)
        return [*before, *steering_hooks(name, field, flow, rule, prompt_length)]

    for i in range(0, len(texts), 16):
        batch = texts.batch(range(i, min(i + 16, len(texts))), course.model.cfg.device)
        predicted(course.model, batch, hooks_for)
        found += [x.detach().cpu() for x in field.magnitudes]
    return float(torch.cat(found).double().mean())
