"""Lessons: the texts of a training, what is learned from, what is held out, and what neutral ones are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from odesteer_tl.contrast import ContrastSet
from odesteer_tl.plain import Model
from odesteer_tl.training.objectives import Said
from odesteer_tl.training.settings import Training
from odesteer_tl.training.texts import Texts, sides_of


@dataclass
class Lessons:
    """The texts of a training: those learned from, those held out, and neutral ones of both."""

    objective: Any
    parts: tuple[tuple[Texts, Texts], tuple[Texts, Texts]]
    neutral: tuple[Texts, Texts]
    references: list[tuple[Tensor, Tensor] | None]

    @classmethod
    def of(
        cls, model: Model, contrast: ContrastSet, settings: Training, objective: Any, seed: int, bos: bool | None
    ) -> Lessons:
        """Tokenise a contrast split by `settings.held_out`; neutral are the negatives unless settings name others.

        Raises:
            ValueError: the objective compares pairs and the contrast has none, or there is but one neutral text.
        """
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
