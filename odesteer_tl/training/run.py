"""A run: the steps of a training, and the looks at the texts held out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from odesteer_tl.fields import VectorField
from odesteer_tl.flow import Flow, Strength
from odesteer_tl.hooks import HookFn, HooksFor, steering_hooks
from odesteer_tl.plain import Model
from odesteer_tl.positions import PositionFn, position_rule
from odesteer_tl.training.learner import Learner
from odesteer_tl.training.lessons import Lessons
from odesteer_tl.training.objectives import Said
from odesteer_tl.training.settings import Training
from odesteer_tl.training.state import State, Store
from odesteer_tl.training.texts import Texts, divergence, predicted

#: the greatest norm of the gradient of one step, in the parameters' own scales
LONGEST_GRADIENT = 1.0
#: how far above its limit a divergence on held-out texts still counts as within it
SLACK = 1.1


@dataclass(frozen=True)
class Steered:
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


class Run:
    """One training."""

    def __init__(
        self, model: Model, learner: Learner, courses: list[Lessons], steered: Steered, settings: Training
    ) -> None:
        self.model, self.learner, self.courses = model, learner, courses
        self.steered, self.settings = steered, settings
        self.lessons = courses[0]

    def turn_to(self, which: int) -> None:
        """Go on with one of the contrasts."""
        self.lessons = self.courses[which]
        if self.learner.choose is not None:
            self.learner.choose(which)

    def prepare(self) -> None:
        """Ask the unsteered model what the objective compares with."""
        for which, lessons in enumerate(self.courses):
            self.turn_to(which)
            lessons.prepare(self.said)

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
                    bar.set_postfix_str(progress(last))
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


def progress(look: Mapping[str, Any]) -> str:
    """A look in words; without its divergence where none was asked for."""
    said = f"held out {look['held_out']:.3f}"
    return said if math.isnan(look["kl"]) else f"{said}, KL {look['kl']:.3f}"


def _require_finite(value: Tensor, step: int) -> None:
    if not bool(value.isfinite()):
        raise ValueError(f"objective is {float(value)} at step {step}; lower learning_rate, or look at the texts")
