"""What the cells of one study share in a process: the plan, the model, its unsteered states, fits and scans."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
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
from analyses.effects.trained import Trained
from analyses.effects.words import class_words
from odesteer_tl._tokens import tokens_of


class Material:
    """The stages of a study, each handed what the one before it made; each made once, when it is first asked for.

    Args:
        levels: the highest of each budget that will be asked for; for time alone.
        folder: where methods trained through the model are kept for other processes; None: nowhere.
    """

    def __init__(
        self,
        settings: EffectSettings,
        given: Given | None = None,
        levels: Mapping[str, float] = MappingProxyType({}),
        folder: Path | None = None,
    ) -> None:
        self.plan, self._levels = Plan.of(settings, given), levels
        torch.set_num_threads(settings.threads)
        model = None if given is None else given.model
        self.model = ode.load_model(settings.model) if model is None else model
        self.trained = Trained(self.model, folder, settings.concept)
        #: of which prompts this is a part, and whose threshold its judge has
        self._whole: Material | None = None
        self._judge: Material | None = None
        self._layers: dict[int, LayerFits] = {}
        self._scans: dict[tuple[int, Arm], Scan] = {}

    @cached_property
    def acts(self) -> list[ode.Activations]:
        """Of the parts of the contrast, at every layer."""
        start, found = time.process_time(), list[ode.Activations]()
        for part in self.plan.parts:
            found.append(ode.collect_activations(self.model, part, "all", batch_size=128))
            if len(found) == 1:  # the part that methods are fitted on
                self._reading = (int(found[0].provenance["tokens"]), time.process_time() - start)
        return found

    @cached_property
    def states(self) -> Unsteered:
        """The prompts before anything is steered."""
        return Unsteered(self.model, self.plan.prompts, self.plan.settings)

    @cached_property
    def judging(self) -> Judging:
        """The outcome."""
        like = None if self._judge is None else self._judge.judging
        return Judging(self.model, self.plan.prompts, self.plan.outcome, lambda: self.states, like)

    @cached_property
    def words(self) -> tuple[list[int], list[int]]:
        """Tokens that tell the positive texts from the negative ones, and the reverse."""
        if self._whole is not None:
            return self._whole.words
        texts = self.plan.parts[0]
        both = [tokens_of(self.model, "contrast", side) for side in (texts.positive, texts.negative)]
        return class_words(*([tokens.tolist() for tokens in side] for side in both))

    def on(self, rows: Sequence[int], seed: int, judge: Material | None = None) -> Material:
        """The same study of some of its prompts: model and fits are shared, states and texts are made anew.

        Args:
            rows: numbers of the prompts, those to choose on before the others.
            seed: of what is sampled.
            judge: whose threshold is meant, where the judge has none of its own; left out, these prompts' own.
        """
        split = [self.plan.split[i] for i in rows]
        settings = replace(
            self.plan.settings, select=split.count("select"), test=split.count("test") or None, seed=seed
        )
        part = object.__new__(Material)
        part.plan = self.plan.on(rows, settings)
        part.model, part.trained, part._levels, part._whole, part._judge = (
            self.model, self.trained, self._levels, self, judge
        )  # fmt: skip
        part._layers, part._scans = {}, {}
        return part

    def tell(self, concept: str) -> None:
        """Tell methods of another concept in words: what was trained for the one before is let go."""
        if self._whole is not None:
            self._whole.tell(concept)
        if concept != self.trained.concept:
            self.trained = replace(self.trained, concept=concept)
            self._layers.clear()
            self._scans.clear()

    def layer(self, layer: int) -> LayerFits:
        """The fits at a layer."""
        if self._whole is not None:
            return self._whole.layer(layer)
        if layer not in self._layers:
            acts, seed = [acts[layer] for acts in self.acts], self.plan.settings.seed
            self._layers[layer] = LayerFits(
                self.model, layer, self.plan.parts, acts, seed, self._reading, self.trained, self.layer
            )
        return self._layers[layer]

    def scan(self, layer: int, arm: Arm) -> Scan:
        """What an arm spends at a layer."""
        key = (layer, arm)
        if key not in self._scans:
            highest = self.plan.settings.highest
            self._scans[key] = spending(self.layer(layer), arm, self.states.passage, highest, self._levels)
        return self._scans[key]
