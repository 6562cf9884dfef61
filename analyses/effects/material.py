"""What the cells of one study share in a process: the plan, the model, its unsteered states, fits and scans."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType

import torch

import odesteer_tl as ode
from analyses.effects.arms import Arm
from analyses.effects.fits import LayerFits
from analyses.effects.judging import Judging
from analyses.effects.matching import Scan
from analyses.effects.plan import Given, Plan
from analyses.effects.settings import EffectSettings
from analyses.effects.spending import spending
from analyses.effects.states import Unsteered


class Material:
    """The stages of a study, each handed what the one before it made; each made once, when it is first asked for.

    Args:
        levels: the highest of each budget that will be asked for; for time alone.
    """

    def __init__(
        self, settings: EffectSettings, given: Given | None = None, levels: Mapping[str, float] = MappingProxyType({})
    ) -> None:
        self.plan, self._levels = Plan.of(settings, given), levels
        torch.set_num_threads(settings.threads)
        model = None if given is None else given.model
        self.model = ode.load_model(settings.model) if model is None else model
        self._layers: dict[int, LayerFits] = {}
        self._scans: dict[tuple[int, Arm], Scan] = {}

    @cached_property
    def acts(self) -> list[ode.Activations]:
        """Of the parts of the contrast, at every layer."""
        return [ode.collect_activations(self.model, part, "all", batch_size=128) for part in self.plan.parts]

    @cached_property
    def states(self) -> Unsteered:
        """The prompts before anything is steered."""
        return Unsteered(self.model, self.plan.prompts, self.plan.settings)

    @cached_property
    def judging(self) -> Judging:
        """The outcome."""
        return Judging(self.model, self.plan.prompts, self.plan.outcome, lambda: self.states)

    def layer(self, layer: int) -> LayerFits:
        """The fits at a layer."""
        if layer not in self._layers:
            acts = [acts[layer] for acts in self.acts]
            self._layers[layer] = LayerFits(self.model, layer, self.plan.parts, acts, self.plan.settings.seed)
        return self._layers[layer]

    def scan(self, layer: int, arm: Arm) -> Scan:
        """What an arm spends at a layer."""
        key = (layer, arm)
        if key not in self._scans:
            highest = self.plan.settings.highest
            self._scans[key] = spending(self.layer(layer), arm, self.states.passage, highest, self._levels)
        return self._scans[key]
