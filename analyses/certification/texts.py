"""One layer's activations by what they are for: to fit on, in two halves, to calibrate on and to report on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

import odesteer_tl as ode
from analyses.crossfit import left_out
from odesteer_tl import stats
from odesteer_tl.activations import LayerActivations
from odesteer_tl.barriers import Calibration

#: a barrier from activations
Fit = Callable[[LayerActivations], ode.Barrier]


def joined(*parts: LayerActivations) -> LayerActivations:
    """Several parts of one layer as one."""
    groups = [p.groups for p in parts]
    labels = [[g[side] for g in groups if g is not None] for side in (0, 1)] if None not in groups else None
    of_rows = [None, None] if labels is None else [tuple(chain(*side)) for side in labels]
    return LayerActivations(torch.cat([p.positive for p in parts]), torch.cat([p.negative for p in parts]), *of_rows)


def auc(barrier: ode.Barrier, held_out: LayerActivations) -> stats.Estimate:
    """Area under the ROC curve of h on texts that took no part in the fit."""
    return _area(barrier.value(held_out.positive.double()), barrier.value(held_out.negative.double()))


def unread(held_out: LayerActivations) -> stats.Estimate:
    """The AUC of an h that is one number for all held-out texts: ½, and as sure as their number makes it."""
    return _area(*(torch.zeros(len(side)) for side in (held_out.positive, held_out.negative)))


def _area(positive: torch.Tensor, negative: torch.Tensor) -> stats.Estimate:
    truth = np.repeat([True, False], [len(positive), len(negative)])
    return stats.auc(torch.cat([positive, negative]).numpy(), truth)


@dataclass(frozen=True, eq=False)
class LayerTexts:
    """Of one layer.

    Attributes:
        half, other: what is fitted on, together or apart.
        calibrate, test: what no fit saw; None where all pairs are fitted on and left out in turn.
        seed: of the folds.
    """

    half: LayerActivations
    other: LayerActivations
    calibrate: LayerActivations | None
    test: LayerActivations | None
    seed: int

    @classmethod
    def of(cls, acts: Mapping[str, ode.Activations], layer: int, seed: int) -> LayerTexts:
        """From activations by name of the part."""
        parts = [acts[name][layer] if name in acts else None for name in ("half", "other half", "calibrate", "test")]
        assert parts[0] is not None
        assert parts[1] is not None
        return cls(parts[0], parts[1], parts[2], parts[3], seed)

    @property
    def both(self) -> LayerActivations:
        """What is fitted on."""
        return joined(self.half, self.other)

    def read(self, barrier: ode.Barrier, fit: Fit) -> stats.Estimate:
        """Calibrate a barrier of `both`, and the AUC with which it, or its like, reads texts it has not seen.

        Args:
            fit: what made the barrier, for texts left out in turn.

        Raises:
            ScoresAlike: h is one number for all of these texts; `unread` is then the AUC.
        """
        if self.calibrate is not None and self.test is not None:
            barrier.calibrate_activations(self.calibrate)
            return auc(barrier, self.test)
        groups = self.both.groups
        assert groups is not None
        positive, negative = left_out(fit, self.both, groups, self.seed)
        barrier.calibration = Calibration.of(positive, negative, _counts(groups))
        return _area(positive, negative)

    @property
    def unread(self) -> stats.Estimate:
        """`unread` of the texts that no fit saw."""
        return unread(self.both if self.test is None else self.test)

    def halves(self, fit: Fit) -> tuple[ode.Barrier, ode.Barrier]:
        """One barrier a half, each calibrated on texts it has not seen: of their own part, or of the other half."""
        found = fit(self.half), fit(self.other)
        unseen = (self.calibrate, self.calibrate) if self.calibrate is not None else (self.other, self.half)
        for barrier, texts in zip(found, unseen, strict=True):
            barrier.calibrate_activations(texts)
        return found


def _counts(groups: tuple[Sequence[int], Sequence[int]]) -> tuple[int, int]:
    return len({*groups[0]}), len({*groups[1]})
