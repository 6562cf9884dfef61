"""What the layers of one certification share in a process: model, activations, prompts and every layer's barrier."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from typing import Any

import torch

import odesteer_tl as ode
from analyses.certification.plan import Plan
from analyses.certification.texts import LayerTexts
from analyses.prompted import Prompted
from analyses.recording import Drawing, Unsteered
from analyses.refusal import unless_refused
from analyses.sweep import Refused
from odesteer_tl import stats
from odesteer_tl.activations import LayerActivations
from odesteer_tl.plain import Model

#: texts a pass
BATCH = 64


def judging(acts: LayerActivations) -> ode.Barrier:
    """The barrier by which a layer is looked at, whatever steers: the kernel's, cross-validated."""
    return ode.KernelBarrier(gamma="cv").fit_activations(acts)


class Material:
    """Made once, when it is first asked for.

    Args:
        threads: of torch in this process; left out, as they are.
    """

    def __init__(self, model: Model | str, plan: Plan, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.plan = plan
        self.model: Any = ode.load_model(model) if isinstance(model, str) else model
        self.prompted = Prompted(self.model, plan.prompts)
        self._judges: dict[int, tuple[ode.Barrier, stats.Estimate] | Refused] = {}

    @cached_property
    def acts(self) -> dict[str, ode.Activations]:
        """Of every part of the contrast at every layer, in one pass: later layers' barriers audit the earlier ones."""
        return {name: ode.collect_activations(self.model, part, "all", batch_size=BATCH)
                for name, part in self.plan.parts.items()}  # fmt: skip

    def texts(self, layer: int) -> LayerTexts:
        """One layer's activations by what they are for."""
        return LayerTexts.of(self.acts, layer, self.plan.settings.seed)

    def judge(self, layer: int) -> tuple[ode.Barrier, stats.Estimate] | Refused:
        """A layer's own barrier, calibrated, and how well it reads texts it has not seen, if it tells them apart."""
        if layer not in self._judges:
            self._judges[layer] = unless_refused(lambda: self._judged(self.texts(layer)))
        return self._judges[layer]

    @staticmethod
    def _judged(texts: LayerTexts) -> tuple[ode.Barrier, stats.Estimate]:
        barrier = judging(texts.both)
        return barrier, texts.read(barrier, judging)

    @property
    def drawing(self) -> Drawing:
        """How texts are sampled."""
        s = self.plan.settings
        return Drawing(s.max_new_tokens, s.temperature, s.seed)

    @cached_property
    def unsteered(self) -> Unsteered:
        """The unsteered model's texts and, where they are what is steered, their states at every layer."""
        layers = () if self.plan.writes else range(int(self.model.cfg.n_layers))
        return Unsteered.of(self.prompted, layers, self.drawing)

    def record(self) -> dict[str, Any]:
        """What another run needs to be the same."""
        plan = self.plan
        return {
            "settings": asdict(plan.settings),
            "texts": "steered" if plan.writes else "unsteered",
            "contrast": plan.contrast.provenance,
            "model": asdict(ode.ModelIdentity.of(self.model)),
            "splits": {name: part.provenance for name, part in plan.parts.items()},
            "n": {"prompts": len(plan.prompts)}
            | {name: [len(p.positive), len(p.negative)] for name, p in plan.parts.items()},
        }
