"""Objectives: what is to be small of what a steered model says of texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from odesteer_tl._check import require_one_of, require_positive
from odesteer_tl.training.texts import log_likelihood

#: `(logits [batch, n, vocab], targets [batch, n], real [batch, n]) → a number`, of the steered model on positive texts
LogitsLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Said:
    """What the steered model says of a batch of completions.

    Attributes:
        logits: for every token of the completions.
        targets, real: the tokens, and which are no padding.
        reference: log p of each completion without steering; None where the objective does not ask for it.
    """

    logits: Float[Tensor, "batch n vocab"]
    targets: Int[Tensor, "batch n"]
    real: Bool[Tensor, "batch n"]
    reference: Float[Tensor, " batch"] | None = None

    @property
    def log_p(self) -> Float[Tensor, " batch"]:
        """log p of each completion, nats."""
        return log_likelihood(self.logits, self.targets, self.real)

    @property
    def lengths(self) -> Float[Tensor, " batch"]:
        """Tokens of each completion."""
        return self.real.sum(-1).to(self.logits.dtype)


@dataclass(frozen=True)
class Likelihood:
    """Cross-entropy of the positive completions: mean −log p a token, in nats.

    Attributes:
        paired: whether positive and negative completions are of one row.
        bidirectional: whether negatives are trained on with the strength's sign turned.
    """

    paired: bool = False
    bidirectional: bool = False

    def __call__(self, positive: Said, negative: Said | None, sign: float) -> Float[Tensor, ""]:
        """The objective; it has no use for negatives."""
        return -positive.log_p.sum() / positive.lengths.sum()


@dataclass(frozen=True)
class Preference:
    """Positive completions rather than negative ones, of the same row.

    "bipo" (Cao et al., NeurIPS 2024): `−log σ(d·β·[log π_s(y₊)/π(y₊) − log π_s(y₋)/π(y₋)])` with d = ±1 drawn for
    every batch and the strength multiplied by it, so that both directions are learned. "reps" (Wu et al., 2025): no
    reference in the margin but lengths taken out: `−log σ(β_w log π_s(y_w)/|y_w| − log π_s(y_l)/|y_l|)` with
    `β_w = max(log π(y_l) − log π(y_w), 1)` of the unsteered model, w and l being + and − for d = 1 and exchanged for
    d = −1. Reconstructed, of "reps": the original nullifies the direction where this steers against it.

    Args:
        form: which.
        beta: β of "bipo".

    Raises:
        ValueError: an unknown form, or beta ≤ 0.
    """

    form: Literal["bipo", "reps"] = "bipo"
    beta: float = 0.1
    paired: bool = True
    bidirectional: bool = True

    def __post_init__(self) -> None:
        require_one_of("form", self.form, ("bipo", "reps"))
        require_positive("beta", self.beta)

    def __call__(self, positive: Said, negative: Said | None, sign: float) -> Float[Tensor, ""]:
        """The mean loss of pairs, at strengths multiplied by `sign`."""
        assert negative is not None
        assert positive.reference is not None
        assert negative.reference is not None
        if self.form == "bipo":
            gain = (positive.log_p - positive.reference) - (negative.log_p - negative.reference)
            return softplus(-sign * self.beta * gain).mean()
        winner, loser = (positive, negative) if sign > 0 else (negative, positive)
        assert winner.reference is not None
        assert loser.reference is not None
        weight = (loser.reference - winner.reference).clamp_min(1.0)
        margin = weight * winner.log_p / winner.lengths - loser.log_p / loser.lengths
        return softplus(-margin).mean()


@dataclass(frozen=True)
class OfLogits:
    """Any function of the logits of positive completions."""

    function: LogitsLoss
    paired: bool = False
    bidirectional: bool = False

    def __repr__(self) -> str:
        """The function's name, which is the same in another process."""
        return f"OfLogits({getattr(self.function, '__qualname__', type(self.function).__name__)})"

    def __call__(self, positive: Said, negative: Said | None, sign: float) -> Float[Tensor, ""]:
        """The function's value."""
        value: Any = self.function(positive.logits, positive.targets, positive.real)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError(f"objective returned {type(value).__name__}; return one number, as a tensor")
        return value.reshape(())


#: an objective, or a function of logits
Objective = Likelihood | Preference | LogitsLoss


def objective_of(objective: Objective) -> Likelihood | Preference | OfLogits:
    """An objective; a function becomes one.

    Raises:
        ValueError: it is none.
    """
    if isinstance(objective, Likelihood | Preference | OfLogits):
        return objective
    if not callable(objective):  # pyright: ignore[reportUnnecessaryComparison]
        raise ValueError(f"objective={objective!r} is none; use Likelihood(), Preference() or a function of logits")
    return OfLogits(objective)
