"""How long, on how much and under which limit a field is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from odesteer_tl._check import as_integer, require_texts


@dataclass(frozen=True)
class Training:
    """Settings of a training; `ode.fit(…, training=Training(steps=100))`.

    Args:
        steps: minibatches at most.
        batch_size: texts of a minibatch (with as many negative ones where the objective takes them).
        learning_rate: of AdamW, in units of each parameter's own scale; it falls to 0 by a cosine.
        weight_decay: of AdamW.
        strengths: least and greatest factor on the flow's strength; one is drawn for every text, uniformly, so that one
            training serves all of them.
        kl: the most that steering at the flow's own strength may change the model's next-token distributions on neutral
            texts, in nats a token; None: as much as it likes. A constraint, with a multiplier of its own, not a weight;
            a look at held-out texts counts as within it up to a tenth above (`odesteer_tl.training.run.SLACK`).
        neutral: texts that the constraint is about; by default the negative texts of the contrast.
        held_out: share of the contrast's groups that is not trained on but decides when to stop and what to keep.
        every: steps between two looks at them.
        patience: looks without an improvement after which training stops.
        looked_at: texts of each kind at most in such a look.
        checkpoint: a file in which the state is kept at every look, from which a training that was cut off goes on;
            it ends as it would have without the interruption. The file of another training is refused: of another
            model, start, place, position rule, objective, texts or settings. A function (an objective, a position rule)
            is told by its name, so it must be one defined at a module's top. Several layers that are trained in turn
            keep a file each: this name with ".layer0", ".layer1", … behind it.

    Raises:
        ValueError: a setting out of range.
    """

    steps: int = 60
    batch_size: int = 8
    learning_rate: float = 0.03
    weight_decay: float = 0.0
    strengths: tuple[float, float] = (0.5, 2.0)
    kl: float | None = 0.3
    neutral: Sequence[str] | None = None
    held_out: float = 0.2
    every: int = 20
    patience: int = 5
    looked_at: int = 32
    checkpoint: str | Path | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "every", "patience", "looked_at"):
            value = as_integer(name, getattr(self, name))
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        low, high = self.strengths
        if not 0 < low <= high:
            raise ValueError(f"strengths={self.strengths} must be a least and a greatest factor, both positive")
        if not self.learning_rate > 0 or not self.weight_decay >= 0:
            raise ValueError(
                f"learning_rate={self.learning_rate} must be positive and weight_decay={self.weight_decay} not negative"
            )
        if self.kl is not None and not self.kl > 0:
            raise ValueError(f"kl={self.kl} must be positive nats a token; None leaves it free")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out={self.held_out} must lie between 0 and 1: it decides when training stops")
        if self.neutral is not None:
            object.__setattr__(self, "neutral", tuple(require_texts("neutral", self.neutral)))

    def at_layer(self, layer: int) -> Training:
        """The settings of one of several layers, whose checkpoint stands beside the others'."""
        return self if self.checkpoint is None else replace(self, checkpoint=f"{self.checkpoint}.layer{layer}")

    def config(self) -> dict[str, Any]:
        """The settings that determine the result, JSON-able."""
        settings = asdict(self)
        del settings["checkpoint"]
        return {**settings, "strengths": list(self.strengths)}
