"""The second stage: what is fitted at a layer, from the contrast's texts alone; no prompt takes part."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.metrics import log_loss
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.crossfit import left_out
from analyses.effects.arms import Arm, field_of
from analyses.effects.trained import Expense, Trained
from analyses.likelihood.referee import candidates
from analyses.refusal import Refusal, fitted, unless_refused
from analyses.sweep import Refused
from odesteer_tl import stats
from odesteer_tl.barriers.base import Calibration
from odesteer_tl.densities.calibration import affine_log_ratio
from odesteer_tl.sites import BLOCK_OUTPUT

#: the barrier by which every method is measured
JUDGE = "odesteer_kernel"
HALVES = {"": slice(None), "first": slice(0, None, 2), "second": slice(1, None, 2)}


class LayerFits:
    """One layer's fits; each made when it is first asked for, those trained through the model too.

    Args:
        parts: of the contrast: for methods and barrier, densities, calibration of both, the probe's report; a single
            one for methods and barrier, which is then calibrated, and reported on, by cross-fitting.
        acts: of the same parts, at this layer.
        seed: of every fit.
        reading: tokens of the first part, and processor seconds that reading it took, all layers in one pass.
        trained: where methods trained through the model are had from; left out, all are trained here.
        at: the fits of another layer, for what acts on several.
    """

    def __init__(
        self,
        model: TransformerBridge,
        layer: int,
        parts: Sequence[ode.ContrastSet],
        acts: Sequence[ode.LayerActivations],
        seed: int,
        reading: tuple[int, float] = (0, 0.0),
        trained: Trained | None = None,
        at: Callable[[int], LayerFits] | None = None,
    ) -> None:
        self.model, self.layer, self.parts, self.acts, self.seed = model, layer, parts, acts, seed
        self.trained, self._at = trained or Trained(model), at
        self._tokens, self._reading = reading[0], {BLOCK_OUTPUT: reading[1]}
        self._fields: dict[tuple[str, int, str], ode.VectorField | Refused] = {}
        self._made: dict[tuple[str, int, str], dict[str, Any]] = {}
        self._in_turn: dict[tuple[str, int, str], ode.Composition] = {}
        self._sites: dict[str, ode.LayerActivations] = {}

    def field(self, method: str, seed: int | None = None, half: str = "") -> ode.VectorField:
        """A method's field; with another seed or on one half of the pairs, to see what that changes.

        Raises:
            Refusal: it cannot be fitted.
        """
        key = (field_of(method), self.seed if seed is None else seed, half)
        if key not in self._fields:
            self._fields[key] = unless_refused(lambda: self._fit(*key))
        found = self._fields[key]
        if isinstance(found, Refused):
            raise Refusal(found.why)
        return found

    def _fit(self, method: str, seed: int, half: str) -> ode.VectorField:
        """Fit, and note what that took."""
        own = ode.METHODS[method]
        if own.train is not None:
            found = self.trained.steerer(method, self.layer, self._half(half), seed)
            self._made[method, seed, half] = {name: found.provenance[name] for name in ("fit", "training")}
            return found.field
        acts = _rows(self._fitting(own.site), HALVES[half])
        start = time.process_time()
        field = fitted(method, lambda: own.fit_activations(acts, seed))
        seconds = self._reading[own.site] + time.process_time() - start
        tokens = self._tokens if not half else self._tokens // 2
        self._made[method, seed, half] = {"fit": asdict(Expense(tokens, tokens, seconds))}
        return field

    def expense(self, arm: Arm) -> Expense:
        """What the arm's fit took."""
        found, own = self.steerer(arm), ode.METHODS[arm.method]
        each = [Expense(**x.provenance["fit"]) for x in ([found] if isinstance(found, ode.Steerer) else found.steerers)]
        if not arm.layers:
            return each[0]
        read, seconds = sum(x.read_tokens for x in each), sum(x.seconds for x in each)
        if own.train is None and own.site == BLOCK_OUTPUT:  # one pass reads all layers
            read, seconds = each[0].read_tokens, seconds - (len(each) - 1) * self._reading[own.site]
        return Expense(each[0].data_tokens, read, seconds)

    def _fitting(self, site: str) -> ode.LayerActivations:
        """The fitting texts' activations where a method acts."""
        if site == BLOCK_OUTPUT:
            return self.acts[0]
        if site not in self._sites:
            start = time.process_time()
            found = ode.collect_activations(self.model, self.parts[0], [self.layer], site=site)
            self._sites[site] = found[self.layer]
            self._reading[site] = time.process_time() - start
        return self._sites[site]

    def steerer(self, arm: Arm, seed: int | None = None, half: str = "") -> ode.Steerer | ode.Composition:
        """The arm's steerer, or one for each layer that it acts on, at some strength."""
        if arm.layers:
            assert self._at is not None
            fits, each = [self._at(layer) for layer in arm.layers], replace(arm, layers=())
            found = [own.steerer(each, seed, half) for own in fits]
            return ode.compose([one for one in found if isinstance(one, ode.Steerer)])
        flow, site = arm.flow(1.0), ode.METHODS[arm.method].site
        key = (arm.method, self.seed if seed is None else seed, half)
        if not arm.in_turn:
            field = self.field(arm.method, seed, half)
            made = {"method": arm.method, "seed": key[1], **self._made[field_of(arm.method), key[1], half]}
            return ode.Steerer(field, flow, self.layer, provenance=made, site=site)
        if key not in self._in_turn:
            layers, start = range(self.layer + 1), time.process_time()
            found = fitted(arm.method, lambda: ode.fit(arm.method, self.model, self._half(half), layers, seed=key[1]))
            tokens = int(found.steerers[0].provenance["tokens"])  # read once more for each layer
            made = {"fit": asdict(Expense(tokens, len(layers) * tokens, time.process_time() - start))}
            self._in_turn[key] = ode.compose(
                [replace(each, provenance={**each.provenance, **made}) for each in found.steerers]
            )
        return self._in_turn[key]

    def _half(self, half: str) -> ode.ContrastSet:
        """The fitting texts, or a half of their pairs."""
        texts, rows = self.parts[0], HALVES[half]
        if not half:
            return texts
        # with where completions begin, and what is done about a BOS
        names = [f"{side}{what}" for side in ("positive", "negative") for what in ("", "_groups", "_prompts")]
        known = {name: x for name in names if (x := getattr(texts, name)) is not None}
        return replace(texts, **{name: x[rows] for name, x in known.items()})

    @cached_property
    def barrier(self) -> ode.Barrier:
        """The one h that measures every method: the kernel barrier, calibrated.

        Where it is one number for all held-out texts, they show no log-ratio but 0.

        Raises:
            NoDifference, Refusal: it cannot be fitted.
        """
        field = self.field(JUDGE)
        assert isinstance(field, ode.BarrierField)
        if len(self.parts) > 1:
            held_out = self.acts[2]
            found = unless_refused(lambda: field.barrier.calibrate_activations(held_out))
            if isinstance(found, Refused):
                field.barrier.calibration = Calibration(0.0, 0.0, len(held_out.positive), len(held_out.negative))
            return field.barrier
        positive, negative = self._left_out
        affine = unless_refused(lambda: affine_log_ratio(positive, negative))
        slope, intercept = (0.0, 0.0) if isinstance(affine, Refused) else affine
        field.barrier.calibration = Calibration(slope, intercept, len(positive), len(negative))
        return field.barrier

    @cached_property
    def _left_out(self) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
        """h of every text, fitted on the pairs of the other folds (cross-fitting)."""
        part = self.parts[0]

        def fit(acts: ode.LayerActivations) -> ode.Barrier:
            field = fitted(JUDGE, lambda: ode.METHODS[JUDGE].fit_activations(acts, self.seed))
            assert isinstance(field, ode.BarrierField)
            return field.barrier

        return left_out(fit, self.acts[0], (part.positive_groups, part.negative_groups), self.seed)

    @cached_property
    def ceiling(self) -> float:
        """The most h can be anywhere."""
        return float(ode.ceiling(self.barrier.quadratic))

    @cached_property
    def densities(self) -> ode.DensityPair:
        """p₊ and p₋ of the activation, fitted on texts that no method saw."""
        fit, n = self.acts[1], len(self.acts[1].positive)
        groups = [(part.positive_groups, part.negative_groups) for part in self.parts]
        pair = ode.DensityPair(candidates(2 * n // 3, fit.positive.shape[1]), folds=3, seed=self.seed)
        pair = pair.fit(fit.positive, fit.negative, groups[1], [g for side in groups[0] for g in side])
        return pair.calibrate(self.acts[2].positive, self.acts[2].negative, groups[2])

    @cached_property
    def probe(self) -> dict[str, float]:
        """How well h reads the concept from texts that took no part in any fit: AUC, log loss, slope of calibration.

        `probe_auc_low` and `probe_auc_high` are the ends of its interval.
        """
        calibration = self.barrier.calibration
        assert calibration is not None
        if len(self.parts) > 1:
            both = [self.barrier.log_ratio(x).double().cpu() for x in (self.acts[3].positive, self.acts[3].negative)]
        else:
            both = [calibration.slope * h + calibration.intercept for h in self._left_out]
        scores = torch.cat(both)
        labels = [1] * len(both[0]) + [0] * len(both[1])
        area = stats.auc(scores.numpy(), np.array(labels, dtype=bool))
        return {
            "probe_auc": area.value,
            "probe_auc_low": area.low,
            "probe_auc_high": area.high,
            "probe_log_loss": float(log_loss(labels, scores.sigmoid().numpy())),
            "probe_slope": calibration.slope,
        }

    @cached_property
    def mean_difference(self) -> Float[Tensor, " d"]:
        """μ₊ − μ₋ of the fitting texts."""
        return (self.acts[0].positive - self.acts[0].negative).double().mean(0)


def _rows(acts: ode.LayerActivations, rows: slice) -> ode.LayerActivations:
    """Some rows with their groups: texts of one group are near copies, which no cross-validation may divide."""
    groups = acts.groups
    labels = (None, None) if groups is None else (groups[0][rows], groups[1][rows])
    return ode.LayerActivations(acts.positive[rows], acts.negative[rows], *labels)
