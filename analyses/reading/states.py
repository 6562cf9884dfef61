"""The organism's states on texts of agreement: fitting and test texts, their activations, planes and barriers."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.reading import planes as lp
from analyses.reading_and_steering import ReadingSteeringConfig
from odesteer_tl import organism


class AgreementStates:
    """One organism with its fitting and test texts, their states at every layer, and the planes of each."""

    def __init__(self, model: TransformerBridge, config: ReadingSteeringConfig) -> None:
        self.model, self.config = model, config
        self.fit = organism.contrast("agreement", config.pairs, config.seed)
        self.test = organism.contrast("agreement", config.test_pairs, config.seed + 1000)
        self.fit_odds, self.test_odds = (lp.log_odds([*x.positive, *x.negative]) for x in (self.fit, self.test))
        self.fit_acts, self.test_acts = (ode.collect_activations(model, x) for x in (self.fit, self.test))
        self._planes: dict[int, dict[str, Tensor]] = {}

    @staticmethod
    def rows(acts: ode.LayerActivations) -> tuple[Float[Tensor, "n d"], Int[np.ndarray, " n"]]:
        """Directions and labels, positives first."""
        sides = (acts.positive, acts.negative)
        return lp.directions_of(torch.cat(sides)), np.repeat([1, 0], [len(x) for x in sides])

    def differences(self, layer: int) -> Float[Tensor, "d 2"]:
        """Mean differences of weather and place on the fitting texts."""
        return lp.mean_differences(self.rows(self.fit_acts[layer])[0], self.fit_odds)

    def planes(self, layer: int) -> dict[str, Float[Tensor, "d k"]]:
        """What is split by, from the fitting texts and no label of agreement."""
        if layer not in self._planes:
            self._planes[layer] = self._find_planes(layer)
        return self._planes[layer]

    def _find_planes(self, layer: int) -> dict[str, Float[Tensor, "d k"]]:
        u, _ = self.rows(self.fit_acts[layer])
        return {
            "means": lp.orthonormal(self.differences(layer)),
            "probes": lp.probe_directions(u, self.fit_odds, rounds=1),
            "probes, 4 rounds": lp.probe_directions(u, self.fit_odds, rounds=4),
            "random": lp.random_plane(u.shape[1], self.config.seed),
        }

    @cached_property
    def barriers(self) -> dict[str, ode.KernelBarrier]:
        """Linear and quadratic, at the layer that is steered."""
        return lp.barriers(self.fit_acts[self.config.layer])
