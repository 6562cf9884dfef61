"""The trainer: AdamW on the parameters of a field, through a frozen language model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from odesteer_tl._display import Result
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.fields import VectorField
from odesteer_tl.flow import Flow, Strength
from odesteer_tl.hooks import HookFn, HooksFor, steering_hooks
from odesteer_tl.models import hosted
from odesteer_tl.plain import AnyModel, Model
from odesteer_tl.positions import PositionFn, position_rule
from odesteer_tl.sites import Layer, place, site_hook
from odesteer_tl.training.learner import Learner, learner_of
from odesteer_tl.training.objectives import Likelihood, Objective, Said, objective_of
from odesteer_tl.training.settings import Training
from odesteer_tl.training.state import State, Store
from odesteer_tl.training.texts import Texts, divergence, frozen, predicted, sides_of

#: the greatest norm of the gradient of one step, in the parameters' own scales
LONGEST_GRADIENT = 1.0
#: how far above its limit a divergence on held-out texts still counts as within it
SLACK = 1.1


@dataclass(frozen=True, repr=False)
class Trained(Result):
    """What a training gives.

    Attributes:
        field: with the parameters of the look at which the held-out texts were said best within the limit.
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


def train(
    field: VectorField | Learner,
    model: AnyModel,
    contrast: ContrastSet | Sequence[ContrastSet],
    layer: Layer,
    *,
    flow: Flow | None = None,
    positions: str | PositionFn = "generated",
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
    keep: the best objective among the looks whose divergence is within the limit, or the least divergence where none
    is. Texts without prompts are read from their second token on, with the first (behind a BOS) as their prompt.

    Args:
        field: what to train, or a `Learner` of it.
        contrast: texts; the objective says which of them are wanted. Of several contrasts each step takes one, drawn,
            and the learner is told which (`Learner.choose`).
        layer, site, positions: where and which tokens are steered, as in `Steerer`.
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
    host, settings = hosted(model), training or Training()
    learner = field if isinstance(field, Learner) else learner_of(field)
    at = place(layer, site, model=host)
    contrasts = [contrast] if isinstance(contrast, ContrastSet) else list(contrast)
    if not contrasts:
        raise ValueError("contrast is empty; give one at least")
    goal = objective_of(objective or Likelihood())
    lessons = [_Lessons.of(host, each, settings, goal, seed, prepend_bos) for each in contrasts]
    base = flow or Flow(T=1.0, steps=1, solver="euler")
    if base.level is not None:
        raise ValueError(f"flow has level={base.level}, which is no number to multiply; give a T or an angle")
    steered = _Steered(learner.field, base, site_hook(host, at.layer, at.site), positions, under)
    run = _Run(host, learner, lessons, steered, settings)
    identity = {
        "seed": seed,
        "contrast": [each.digest for each in contrasts],
        "hook": steered.hook_name,
        "flow": base.config(),
        "objective": repr(goal),
        "settings": settings.config(),
    }
    store = Store(settings.checkpoint, identity)
    with frozen(host), torch.enable_grad():
        for i, each in enumerate(lessons):
            run.turn_to(i)
            each.prepare(run.said)
        state = run.to_the_end(store.start(learner, seed, settings), store)
    state.restore_best(learner)
    history = pd.DataFrame(state.history)
    kept = history[history["kept"]].iloc[-1] if len(history) else None
    record = {
        "objective": repr(goal),
        "steps": state.step,
        "kept_at": None if kept is None else int(kept["step"]),
        "held_out": None if kept is None else float(kept["held_out"]),
        "kl": None if kept is None or settings.kl is None else float(kept["kl"]),
        "tokens": state.tokens,
        "settings": settings.config(),
    }
    return Trained(learner.settled(), history, state.tokens, record)


@dataclass(frozen=True)
class _Steered:
    """The hooks of the field that is learned, at any strengths."""

    field: VectorField
    flow: Flow
    hook_name: str
    positions: str | PositionFn
    under: HooksFor | None

    def hooks(self, factor: Float[Tensor, "batch 1"] | float) -> HooksFor:
        """The hooks at the flow's strength times a factor, one for all texts or one each."""
        name = self.flow.unit
        flow = replace(self.flow, **{name: cast(Strength, self.flow.strength) * factor})

        def hooks_for(prompt_length: int) -> list[tuple[str, HookFn]]:
            before = [] if self.under is None else self.under(prompt_length)
            rule = position_rule(self.positions)
            return [*before, *steering_hooks(self.hook_name, self.field, flow, rule, prompt_length)]

        return hooks_for


@dataclass
class _Lessons:
    """The texts of a training: those learned from, those held out, and neutral ones of both."""

    objective: Any
    parts: tuple[tuple[Texts, Texts], tuple[Texts, Texts]]
    neutral: tuple[Texts, Texts]
    references: list[tuple[Tensor, Tensor] | None]

    @classmethod
    def of(
        cls, model: Model, contrast: ContrastSet, settings: Training, objective: Any, seed: int, bos: bool | None
    ) -> _Lessons:
        if objective.paired and not contrast.paired:
            raise ValueError("contrast is not paired, and a preference compares the two texts of a row; pass pairs")
        learn, held = contrast.split((1 - settings.held_out, settings.held_out), seed)
        parts = (sides_of(model, learn, bos), sides_of(model, held, bos))
        neutral = (parts[0][1], parts[1][1])
        if settings.neutral is not None:
            n = max(1, round(settings.held_out * len(settings.neutral)))
            texts = list(settings.neutral)
            if len(texts) < 2:
                raise ValueError(f"neutral has {len(texts)} text; give two at least, of which one is held out")
            neutral = (
                Texts.of(model, texts[n:], None, bos, "neutral"),
                Texts.of(model, texts[:n], None, bos, "neutral"),
            )
        return cls(objective, parts, neutral, [None, None])

    def prepare(self, said: Callable[..., Said]) -> None:
        """What the unsteered model says of all texts, where the objective asks."""
        if not self.objective.paired:
            return
        for part, sides in enumerate(self.parts):
            found: list[Tensor] = []
            for side in sides:
                chunks = [range(i, min(i + 16, len(side))) for i in range(0, len(side), 16)]
                with torch.no_grad():
                    found.append(torch.cat([said(side, rows, None).log_p for rows in chunks]))
            self.references[part] = (found[0], found[1])


class _Run:
    """One training."""

    def __init__(
        self, model: Model, learner: Learner, courses: list[_Lessons], steered: _Steered, settings: Training
    ) -> None:
        self.model, self.learner, self.courses = model, learner, courses
        self.steered, self.settings = steered, settings
        self.lessons = courses[0]

    def turn_to(self, which: int) -> None:
        """Go on with one of the contrasts."""
        self.lessons = self.courses[which]
        if self.learner.choose is not None:
            self.learner.choose(which)

    def said(
        self, texts: Texts, rows: Sequence[int], factor: Tensor | float | None, reference: Tensor | None = None
    ) -> Said:
        """What the model says of some texts, steered unless the factor is None."""
        batch = texts.batch(rows, self.model.cfg.device)
        hooks = self.steered.under if factor is None else self.steered.hooks(factor)
        logits = predicted(self.model, batch, hooks)
        known = None if reference is None else reference[torch.as_tensor(rows)].to(logits)
        return Said(logits, batch.targets, batch.real, known)

    def objective(self, part: int, rows: Sequence[int], factor: Tensor | float, sign: float) -> tuple[Tensor, int]:
        """The objective on some texts of a part, and how many tokens these have."""
        lessons = self.lessons
        positive, negative = lessons.parts[part]
        known = lessons.references[part] or (None, None)
        first = self.said(positive, rows, factor, known[0])
        tokens = sum(len(positive.rows[i]) for i in rows)
        if not lessons.objective.paired:
            return lessons.objective(first, None, sign) + self._extra(), tokens
        extra = self._extra()
        second = self.said(negative, rows, factor, known[1])
        tokens += sum(len(negative.rows[i]) for i in rows)
        return lessons.objective(first, second, sign) + extra + self._extra(), tokens

    def _extra(self) -> Tensor | float:
        return 0.0 if self.learner.extra is None else self.learner.extra()

    def divergence(self, part: int, rows: Sequence[int], factor: Tensor | float) -> Float[Tensor, ""]:
        """From the unsteered model on some neutral texts, nats a token."""
        texts = self.lessons.neutral[part]
        with torch.no_grad():
            plain = self.said(texts, rows, None)
        return divergence(self.said(texts, rows, factor).logits, plain.logits, plain.real)

    def to_the_end(self, state: State, store: Store) -> State:
        """All steps that are left, with a look at the held-out texts at the end and every so many steps."""
        settings = self.settings
        left = range(state.step, settings.steps)
        with tqdm(left, desc="training", disable=len(left) < 20, leave=False) as bar:
            for step in bar:
                if state.since_best >= settings.patience:
                    break
                value = self._step(state)
                state.step = step + 1
                if state.step % settings.every == 0 or state.step == settings.steps:
                    self._look(state, value)
                    store.keep(state, self.learner)
                    last = state.history[-1]
                    bar.set_postfix_str(f"held out {last['held_out']:.3f}, KL {last['kl']:.3f}")
        return state

    def _step(self, state: State) -> float:
        """One minibatch; returns the objective there."""
        settings, generator = self.settings, state.generator
        if len(self.courses) > 1:
            self.turn_to(int(torch.randint(len(self.courses), (), generator=generator)))
        n = len(self.lessons.parts[0][0])
        rows = torch.randperm(n, generator=generator)[: settings.batch_size].tolist()
        low, high = settings.strengths
        factor = low + (high - low) * torch.rand(len(rows), 1, generator=generator)
        both = self.lessons.objective.bidirectional
        sign = 1.0 - 2.0 * float(torch.rand((), generator=generator) < 0.5) if both else 1.0
        rate = 0.5 * (1 + math.cos(math.pi * state.step / settings.steps))
        for group in state.optimiser.param_groups:
            group["lr"] = group["full"] * rate
        state.optimiser.zero_grad()
        value, tokens = self.objective(0, rows, sign * factor.to(self.model.cfg.device), sign)
        _require_finite(value, state.step)
        value.backward()
        state.tokens += tokens
        if settings.kl is not None:
            self._constrain(state)
        self._clip()
        state.optimiser.step()
        return float(value.detach())

    def _constrain(self, state: State) -> None:
        """The constraint's share of the gradient, at the flow's own strength."""
        texts, settings = self.lessons.neutral[0], self.settings
        many = max(1, settings.batch_size // 2)
        rows = torch.randperm(len(texts), generator=state.generator)[:many].tolist()
        assert state.multiplier is not None
        g = self.divergence(0, rows, 1.0)
        state.multiplier.penalty(g).backward()
        state.multiplier.update(float(g.detach()))
        state.tokens += sum(len(texts.rows[i]) for i in rows)

    def _clip(self) -> None:
        """Bound the gradient's norm, each parameter in its own scale."""
        scales = self.learner.scales
        pairs = [(p, scales.get(name, 1.0)) for name, p in self.learner.parameters.items() if p.grad is not None]
        norm = sum(float((cast(Tensor, p.grad) * scale).double().square().sum()) for p, scale in pairs) ** 0.5
        for p, _ in pairs:
            cast(Tensor, p.grad).mul_(min(1.0, LONGEST_GRADIENT / max(norm, 1e-30)))

    @torch.no_grad()
    def _look(self, state: State, value: float) -> None:
        """The objective and the divergence on held-out texts; the parameters are kept if they are the best so far."""
        settings = self.settings
        held_out: list[Tensor] = []
        changes: list[Tensor] = []
        for which in range(len(self.courses)):
            self.turn_to(which)
            n = min(settings.looked_at, len(self.lessons.parts[1][0]))
            for sign in (1.0, -1.0) if self.lessons.objective.bidirectional else (1.0,):
                held_out.append(self.objective(1, range(n), sign, sign)[0])
            m = min(settings.looked_at, len(self.lessons.neutral[1]))
            if settings.kl is not None:
                changes.append(self.divergence(1, range(m), 1.0))
        held = float(torch.stack(held_out).mean())
        kl = float(torch.stack(changes).mean()) if changes else math.nan
        within = settings.kl is None or kl <= SLACK * settings.kl
        # within the limit the better objective, outside of it the smaller divergence; any within before any outside
        score = (0.0, held) if within else (1.0, kl)
        kept = state.best is None or score < state.best
        state.note(self.learner, score if kept else None)
        multiplier = 0.0 if state.multiplier is None else state.multiplier.value
        state.history.append({"step": state.step, "objective": value, "held_out": held, "kl": kl,
                              "multiplier": multiplier, "kept": kept})  # fmt: skip


def _require_finite(value: Tensor, step: int) -> None:
    if not bool(value.isfinite()):
        raise ValueError(f"objective is {float(value)} at step {step}; lower learning_rate, or look at the texts")
