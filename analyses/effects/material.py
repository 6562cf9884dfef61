"""What the cells of an effect study share: model, splits, fits, prompts and the prompts' unsteered states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from sklearn.metrics import log_loss, roc_auc_score
from torch import Tensor

import odesteer_tl as ode
from analyses.effects.arms import Arm
from analyses.effects.matching import Scan
from analyses.effects.outcomes import Outcome, open_outcome
from analyses.effects.passage import Passage, unedited_logits
from analyses.effects.steer import Steer, angle_between
from analyses.effects.writing import Written, left_padded, write
from analyses.likelihood.referee import candidates
from analyses.sources import load_contrast, load_prompts
from odesteer_tl._check import require_one_of
from odesteer_tl.densities.calibration import LEAST_HELD_OUT
from odesteer_tl.indicators import divergence
from odesteer_tl.sites import BLOCK_OUTPUT

#: shares of the contrast: methods and barrier, densities, calibration of both, the probe's report
SPLITS = (0.4, 0.3, 0.15, 0.15)
#: the barrier by which every method is measured
JUDGE = "odesteer_kernel"
HALVES = {"": slice(None), "first": slice(0, None, 2), "second": slice(1, None, 2)}


@dataclass(frozen=True)
class EffectSettings:
    """What is steered, on what, and who judges.

    Args:
        outcome: "grammar" (the organism's exact judge) or "endings" (happy against sad endings of a story).
        select, test: prompts to choose on and to report on.
        passage: over which tokens budgets are counted: "prompt" (its last one), or "text" (on average over those from
            which the first eight of the prompt's unsteered continuation were drawn: dearer, and the only fair way for
            methods that do not act on every token).
        highest: radians; the largest strength tried when a budget is matched.

    Raises:
        ValueError: an unknown passage.
    """

    model: str = "organism"
    contrast: str = "valence"
    outcome: str = "grammar"
    pairs: int = 600
    select: int = 100
    test: int = 250
    temperature: float = 0.7
    max_new_tokens: int = 25
    passage: str = "prompt"
    highest: float = 1.2
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        require_one_of("passage", self.passage, ("prompt", "text"))


class LayerMaterial:
    """One layer's fits; each made when it is first asked for."""

    def __init__(self, material: Material, layer: int) -> None:
        self.shared, self.layer = material, layer
        self.acts = [acts[layer] for acts in material.acts]
        #: unsteered, along the passage and at the token looked at
        self.passage: Float[Tensor, "n pos d"] = material.passage.prefix.residuals[layer]
        self.start: Float[Tensor, "n d"] = material.passage.at(self.passage)
        self._fields: dict[tuple[str, int, str], ode.VectorField] = {}
        self._in_turn: dict[tuple[str, int, str], ode.Composition] = {}
        self._sites: dict[str, ode.LayerActivations] = {}
        self._scans: dict[Arm, Scan] = {}

    def field(self, method: str, seed: int | None = None, half: str = "") -> ode.VectorField:
        """A method's field; with another seed or on one half of the pairs, to see what that changes."""
        seed = self.shared.settings.seed if seed is None else seed
        key = (method, seed, half)
        if key not in self._fields:
            fit = self._fit(ode.METHODS[method].site)
            rows = HALVES[half]
            self._fields[key] = ode.METHODS[method].fit(fit.positive[rows], fit.negative[rows], seed)
        return self._fields[key]

    def _fit(self, site: str) -> ode.LayerActivations:
        """The fitting texts' activations where a method acts."""
        if site == BLOCK_OUTPUT:
            return self.acts[0]
        if site not in self._sites:
            model, texts = self.shared.model, self.shared.parts[0]
            self._sites[site] = ode.collect_activations(model, texts, [self.layer], site=site)[self.layer]
        return self._sites[site]

    def steerer(self, arm: Arm, seed: int | None = None, half: str = "") -> ode.Steerer | ode.Composition:
        """The arm's steerer, or one for each layer it is fitted on in turn, at some strength."""
        flow, site = arm.flow(1.0), ode.METHODS[arm.method].site
        if not arm.in_turn:
            return ode.Steerer(self.field(arm.method, seed, half), flow, self.layer, site=site)
        key = (arm.method, self.shared.settings.seed if seed is None else seed, half)
        if key not in self._in_turn:
            texts, rows = self.shared.parts[0], HALVES[half]
            some = ode.ContrastSet.from_texts(texts.positive[rows], texts.negative[rows])
            layers = range(self.layer + 1)
            self._in_turn[key] = ode.fit(arm.method, self.shared.model, some, layers, seed=key[1])
        return self._in_turn[key]

    @cached_property
    def barrier(self) -> ode.Barrier:
        """The one h that measures every method: the kernel barrier, calibrated."""
        field = self.field(JUDGE)
        assert isinstance(field, ode.BarrierField)
        return field.barrier.calibrate(self.acts[2].positive, self.acts[2].negative)

    @cached_property
    def ceiling(self) -> float:
        """The most h can be anywhere."""
        return float(ode.ceiling(self.barrier.quadratic))

    @cached_property
    def densities(self) -> ode.DensityPair:
        """p₊ and p₋ of the activation, fitted on texts that no method saw."""
        fit, n = self.acts[1], len(self.acts[1].positive)
        parts = self.shared.parts
        groups = [(part.positive_groups, part.negative_groups) for part in parts]
        pair = ode.DensityPair(candidates(2 * n // 3, fit.positive.shape[1]), folds=3, seed=self.shared.settings.seed)
        pair = pair.fit(fit.positive, fit.negative, groups[1], [g for side in groups[0] for g in side])
        return pair.calibrate(self.acts[2].positive, self.acts[2].negative, groups[2])

    @cached_property
    def probe(self) -> dict[str, float]:
        """How well h reads the concept from texts that took no part in any fit: AUC, log loss, slope of calibration."""
        positive, negative = self.acts[3].positive, self.acts[3].negative
        scores = torch.cat([self.barrier.log_ratio(positive), self.barrier.log_ratio(negative)]).double().cpu()
        labels = [1] * len(positive) + [0] * len(negative)
        assert self.barrier.calibration is not None
        return {
            "probe_auc": float(roc_auc_score(labels, scores.numpy())),
            "probe_log_loss": float(log_loss(labels, scores.sigmoid().numpy())),
            "probe_slope": self.barrier.calibration.slope,
        }

    @cached_property
    def mean_difference(self) -> Float[Tensor, " d"]:
        """μ₊ − μ₋ of the fitting texts."""
        return (self.acts[0].positive - self.acts[0].negative).double().mean(0)

    def scan(self, arm: Arm) -> Scan:
        """What the arm spends, on average over the passage, as its strength grows."""
        if arm not in self._scans:
            mean = self.shared.passage.mean
            self._scans[arm] = Scan(
                lambda strength: Steer(self, arm, strength).passage,
                {
                    "angle": lambda steered: mean(self._turned(steered)),
                    "displacement": lambda steered: mean(self._moved(steered)),
                    "kl": lambda steered: mean(self._diverged(steered)),
                },
                len(self.start),
                self.shared.settings.highest * arm.reach,
            )
        return self._scans[arm]

    def _turned(self, steered: Float[Tensor, "n pos d"]) -> Float[Tensor, "n pos"]:
        return angle_between(self.passage, steered)

    def _moved(self, steered: Float[Tensor, "n pos d"]) -> Float[Tensor, "n pos"]:
        before = self.passage.double()
        return (steered.double() - before).norm(dim=-1) / before.norm(dim=-1)

    def _diverged(self, steered: Float[Tensor, "n pos d"]) -> Float[Tensor, "n pos"]:
        passage = self.shared.passage
        logits = passage.prefix.logits(self.layer, steered, last=steered.shape[1])
        return divergence(logits, passage.plain).cpu()


class Material:
    """Everything the cells of one study share, made once in a process."""

    def __init__(self, settings: EffectSettings) -> None:
        self.settings = settings
        torch.set_num_threads(settings.threads)
        self.model = ode.load_model(settings.model)
        contrast = load_contrast(settings.contrast, settings.pairs, settings.seed)
        self.parts = contrast.split(SPLITS, settings.seed)
        held_out = min(len(self.parts[2].positive), len(self.parts[2].negative))
        if held_out < LEAST_HELD_OUT:
            raise ValueError(
                f"contrast={settings.contrast!r} leaves {held_out} texts a class to calibrate on, and at least "
                f"{LEAST_HELD_OUT} are needed; give {math.ceil(LEAST_HELD_OUT / SPLITS[2])} pairs or more"
            )
        self.acts = [ode.collect_activations(self.model, part, "all", batch_size=128) for part in self.parts]
        n = settings.select + settings.test
        self.prompts: Sequence[str] = load_prompts(settings.contrast, n, settings.seed, self.parts[3])
        if len(self.prompts) < n:
            raise ValueError(
                f"contrast={settings.contrast!r} gives {len(self.prompts)} prompts to steer, but select="
                f"{settings.select} and test={settings.test} ask for {n}; lower them or give more pairs"
            )
        self.outcome: Outcome = open_outcome(settings.outcome, settings.contrast)
        tokens = left_padded(self.model, self.prompts)
        self.whole = ode.collect_prefix(self.model, *tokens)
        if settings.passage == "text":
            self.passage = Passage.unsteered_text(self.model, *tokens, self.unsteered, settings.seed)
        else:
            self.passage = Passage.last_token(self.model, *tokens)
        self._layers: dict[int, LayerMaterial] = {}

    def layer(self, layer: int) -> LayerMaterial:
        """The fits at a layer."""
        if layer not in self._layers:
            self._layers[layer] = LayerMaterial(self, layer)
        return self._layers[layer]

    @property
    def split(self) -> list[str]:
        """What each prompt is for."""
        return ["select"] * self.settings.select + ["test"] * self.settings.test

    @cached_property
    def neutral(self) -> Float[Tensor, "n pos vocab"]:
        """Unsteered logits at every position of the prompts, which say nothing of the concept."""
        return unedited_logits(self.whole)

    @cached_property
    def unsteered(self) -> Written:
        """The texts written without steering."""
        return write(self.model, self.prompts, None, self.settings)
