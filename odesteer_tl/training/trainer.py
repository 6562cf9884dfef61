"""The trainer: AdamW on the parameters of a field, through a frozen language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from odesteer_tl._display import Result
from odesteer_tl._renamed import renamed
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.fields import VectorField
from odesteer_tl.flow import Flow
from odesteer_tl.hooks import HooksFor
from odesteer_tl.models import hosted
from odesteer_tl.plain import AnyModel
from odesteer_tl.positions import PositionFn, position_rule
from odesteer_tl.sites import Layer, place, site_hook
from odesteer_tl.training import identity
from odesteer_tl.training.learner import Learner, learner_of
from odesteer_tl.training.lessons import Lessons
from odesteer_tl.training.objectives import Likelihood, Objective, objective_of
from odesteer_tl.training.run import Run, Steered
from odesteer_tl.training.settings import Training
from odesteer_tl.training.state import State, Store
from odesteer_tl.training.texts import frozen


@dataclass(frozen=True, repr=False)
class Trained(Result):
    """What a training gives.

    Attributes:
        field: with the parameters of the look at which the held-out texts were said best, of those whose divergence was
            within the limit or at most a tenth above it.
        history: one row a look: step, objective, held-out objective (`held_out`) and divergence (`kl`), the
            `multiplier`, and whether the look is `kept`.
        tokens: of texts that took part in training, each counted as often as it did; the budget to be compared.
        record: JSON-able, for a steerer's provenance.
    """

    field: VectorField
    history: pd.DataFrame
    tokens: int
    record: dict[str, Any]

    def _facts(self) -> dict[str, object]:
        return {"field": type(self.field).__name__, "tokens trained on": self.tokens, **self.record}

    def frame(self) -> pd.DataFrame:
        """The history."""
        return self.history


@renamed(positions="steer_position")
def train(
    field: VectorField | Learner,
    model: AnyModel,
    contrast: ContrastSet | Sequence[ContrastSet],
    layer: Layer,
    *,
    flow: Flow | None = None,
    steer_position: str | PositionFn = "generated",
    objective: Objective | None = None,
    training: Training | None = None,
    seed: int = 0,
    site: str | None = None,
    under: HooksFor | None = None,
    prepend_bos: bool | None = None,
) -> Trained:
    """Train a field's parameters through the model: what it says while it is steered.

    The model is frozen. Every step draws a minibatch of texts and a strength for each of them, uniformly between
    `training.strengths` times the flow's, and takes a step of AdamW down the objective's gradient, which passes through
    the later blocks and the flow. A bound on the divergence from the unsteered model on neutral texts is kept as a
    constraint (`Multiplier`). Groups of the contrast that are held out decide when to stop and which parameters to
    keep: the best objective among the looks whose divergence is within the limit, up to a tenth above it (`SLACK`), or
    the least divergence where none is. Texts without prompts are read from their second token on, with the first
    (behind a BOS) as their prompt.

    Args:
        field: what to train, or a `Learner` of it.
        contrast: texts; the objective says which of them are wanted. Of several contrasts each step takes one, drawn,
            and the learner is told which (`Learner.choose`).
        layer, site, steer_position: where and which tokens are steered, as in `fit`.
        flow: its strength 1, as in "T=1"; the default is one Euler step of time 1.
        objective: `Likelihood()` by default; `Preference()`, or a function `(logits, targets, real) → number` of the
            logits [batch, n, vocab] of the positive completions' tokens, the tokens [batch, n], and which are real.
        training: steps, sizes, limit, stopping.
        seed: of the minibatches and strengths; the caller's random state is not touched.
        under: hooks of other steerers under which everything is run, the unsteered reference too.
        prepend_bos: as in `collect_activations`.

    Returns:
        The trained field, with the history of the training and what it was trained on.

    Raises:
        ValueError: the field has no parameters, a flow to a level, unpaired texts where pairs are wanted, too few
            groups to hold any out, a loss that is NaN or infinite, or a checkpoint of another training.
    """
    position_rule(steer_position, "steer_position")
    host, settings = hosted(model), training or Training()
    learner = field if isinstance(field, Learner) else learner_of(field)
    at = place(layer, site, model=host)
    contrasts = [contrast] if isinstance(contrast, ContrastSet) else list(contrast)
    if not contrasts:
        raise ValueError("contrast is empty; give one at least")
    goal = objective_of(objective or Likelihood())
    lessons = [Lessons.of(host, each, settings, goal, seed, prepend_bos) for each in contrasts]
    base = flow or Flow(T=1.0, steps=1, solver="euler")
    if base.level is not None:
        raise ValueError(f"flow has level={base.level}, which is no number to multiply; give a T or an angle")
    steered = Steered(learner.field, base, site_hook(host, at.layer, at.site), steer_position, under)
    store = Store(settings.checkpoint, {})
    if settings.checkpoint is not None:
        store = Store(settings.checkpoint, {
            "model": identity.model_said(host),
            "texts": identity.texts_said(contrasts, prepend_bos),
            "place": steered.hook_name,
            "positions": identity.positions_said(steer_position),
            "steerers under it": identity.under_said(under),
            "flow": base.config(),
            "start": identity.start_said(learner),
            "objective": identity.objective_said(goal),
            "settings": settings.config(),
            "seed": seed,
        })  # fmt: skip
    with frozen(host), torch.enable_grad(), store.restoring(learner):
        run = Run(host, learner, lessons, steered, settings)
        run.prepare()
        state = run.to_the_end(store.start(learner, seed, settings), store)
    state.restore_best(learner)
    history = pd.DataFrame(state.history)
    return Trained(learner.settled(), history, state.tokens, _record(repr(goal), state, history, settings))


def _record(objective: str, state: State, history: pd.DataFrame, settings: Training) -> dict[str, Any]:
    """What a steerer's provenance keeps: the settings, and how well the look that was kept did."""
    kept = history[history["kept"]].iloc[-1] if len(history) else None
    return {
        "objective": objective,
        "steps": state.step,
        "kept_at": None if kept is None else int(kept["step"]),
        "held_out": None if kept is None else float(kept["held_out"]),
        "kl": None if kept is None or settings.kl is None else float(kept["kl"]),
        "tokens": state.tokens,
        "settings": settings.config(),
    }
