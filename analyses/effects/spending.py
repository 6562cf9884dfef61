"""The fourth stage: what an arm spends along a passage, from which strengths are matched."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from analyses.effects.arms import Arm
from analyses.effects.fits import LayerFits
from analyses.effects.matching import Scan, Spent
from analyses.effects.passage import Passage
from analyses.effects.steer import Steer, angle_between
from odesteer_tl.indicators import divergence


def spending(fits: LayerFits, arm: Arm, passage: Passage, highest: float) -> Scan:
    """What an arm spends, on average over a passage, as its strength grows.

    Args:
        highest: radians; the largest strength tried of an arm on a block's output.
    """
    prefix, before = passage.prefix, passage.prefix.residuals[fits.layer]

    def moved(steered: Float[Tensor, "n pos d"]) -> Float[Tensor, "n pos"]:
        return (steered.double() - before.double()).norm(dim=-1) / before.double().norm(dim=-1)

    def diverged(steered: Float[Tensor, "n pos d"]) -> Float[Tensor, "n pos"]:
        return passage.plain.compare(prefix.final(fits.layer, steered), [divergence])[0]

    budgets: dict[str, Spent] = {
        "angle": lambda steered: passage.mean(angle_between(before, steered)),
        "displacement": lambda steered: passage.mean(moved(steered)),
        "kl": lambda steered: passage.mean(diverged(steered)),
    }
    n = len(prefix.tokens)
    return Scan(lambda strength: Steer(fits, arm, strength).residuals(prefix), budgets, n, highest * arm.reach)
