"""The fourth stage: what an arm spends along a passage, from which strengths are matched."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from jaxtyping import Float, Int
from torch import Tensor

from analyses.effects.arms import Arm
from analyses.effects.fits import LayerFits
from analyses.effects.matching import Scan
from analyses.effects.passage import Passage
from analyses.effects.steer import Steer, angle_between
from odesteer_tl.indicators import divergence


def spending(
    fits: LayerFits, arm: Arm, passage: Passage, highest: float, levels: Mapping[str, float] = MappingProxyType({})
) -> Scan:
    """What an arm spends, on average over a passage, as its strength grows.

    Args:
        highest: radians; the largest strength tried of an arm on a block's output.
        levels: as `Scan` takes them.
    """

    def spent(budget: str, strength: Float[Tensor, " m"], rows: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
        some = passage if len(rows) == len(passage.counted) else passage.rows(rows.tolist())
        before, after = some.prefix.residuals[fits.layer], Steer(fits, arm, strength).residuals(some.prefix)
        return some.mean(SPENDING[budget](some, fits.layer, before, after))

    return Scan(spent, len(passage.counted), highest * arm.reach, levels)


def _turned(passage: Passage, layer: int, before: Tensor, after: Tensor) -> Float[Tensor, "n pos"]:
    """Radians."""
    return angle_between(before, after)


def _moved(passage: Passage, layer: int, before: Tensor, after: Tensor) -> Float[Tensor, "n pos"]:
    """In units of the norm."""
    return (after.double() - before.double()).norm(dim=-1) / before.double().norm(dim=-1)


def _diverged(passage: Passage, layer: int, before: Tensor, after: Tensor) -> Float[Tensor, "n pos"]:
    """KL of the next token's distribution to the unsteered one, nats."""
    return passage.plain.compare(passage.prefix.final(layer, after), [divergence])[0]


#: by the names of budgets: what each token of a passage spends
SPENDING = {"angle": _turned, "displacement": _moved, "kl": _diverged}
