"""What the layers of one likelihood study share in a process: model, activations, starts and the unsteered texts."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

import odesteer_tl as ode
from analyses.likelihood.decoding import Starts
from analyses.likelihood.plan import Plan
from analyses.recording import Unsteered
from odesteer_tl.plain import Model

#: texts a pass
BATCH = 128


class Material:
    """Made once, when it is first asked for.

    Args:
        layers: whose activations are collected together; others are when they are asked for.
        threads: of torch in this process; left out, as they are.
    """

    def __init__(self, model: Model | str, plan: Plan, layers: tuple[int, ...], threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.plan, self.layers = plan, layers
        self._acts: dict[int, list[ode.LayerActivations]] = {}
        self.model: Any = ode.load_model(model) if isinstance(model, str) else model
        self.outcome = plan.outcome

    def acts(self, layer: int) -> list[ode.LayerActivations]:
        """Of every part at a layer; the study's layers come of one pass."""
        if layer not in self._acts:
            wanted = sorted({layer, *self.layers} - set(self._acts))
            found = [ode.collect_activations(self.model, part, wanted, batch_size=BATCH) for part in self.plan.parts]
            self._acts |= {each: [part[each] for part in found] for each in wanted}
        return self._acts[layer]

    @cached_property
    def starts(self) -> Starts:
        """What is written from."""
        return Starts.of(self.model, self.plan.parts[-1], self.plan.settings)

    @cached_property
    def unsteered(self) -> tuple[Unsteered, Unsteered]:
        """What the unsteered model writes behind the prompts and behind real positives, with its states everywhere."""
        return self.starts.unsteered(range(int(self.model.cfg.n_layers)))
