"""Cheap looks at a steer, from which a search learns where to ask first: nothing is written, nothing is judged.

- `words`: how much the log-odds of the next token being a word of the positive texts, against one of the negative
  texts, rise: one pass of a token through the blocks behind the steer. The contrast alone tells which words these are.
- `kl`: nats by which the same pass moves the next token's distribution: steers that move it far break the text.
- `apart`, `alike`, `ratio`: of the layer, for free: how far the classes lie apart in standard deviations along their
  mean difference, the mean cosine of the pairs' differences with it, and its length in units of the activations'.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.effects.arms import Arm
from analyses.effects.material import Material
from analyses.effects.steer import Steer
from analyses.sweep import require_numbers
from odesteer_tl.indicators import divergence

COLUMNS = ("words", "kl", "apart", "alike", "ratio")


def look(material: Material, config: Mapping[str, Any]) -> pd.DataFrame:
    """A row a prompt: `words`, `kl` and the layer's geometry.

    Args:
        config: as `measure` takes it, of a steered arm.
    """
    arm = Arm.in_cell(config)
    matched = material.scan(config["layer"], arm).match(config["budget"], config["level"])
    fits, prompt = material.layer(config["layer"]), material.states.prompt
    final = prompt.final(fits.layer, Steer(fits, arm, matched.strength).residuals(prompt))
    positive, negative = material.words

    def words(steered: Tensor, plain: Tensor) -> Tensor:
        def odds(logits: Tensor) -> Tensor:
            return logits[:, positive].logsumexp(-1) - logits[:, negative].logsumexp(-1)

        if not (positive and negative):
            return torch.zeros(len(steered))
        return odds(steered) - odds(plain)

    shift, kl = material.states.last.compare(final, [words, divergence])
    columns = {"words": shift[:, 0], "kl": kl[:, 0], **geometry(fits.acts[0])}
    return require_numbers(pd.DataFrame({"prompt": range(len(prompt.tokens)), **columns}), config)


def geometry(acts: ode.LayerActivations) -> dict[str, float]:
    """What the fitting texts' activations say of a layer before anything is steered."""
    positive, negative = (x.double() for x in (acts.positive, acts.negative))
    difference = positive.mean(0) - negative.mean(0)
    unit = difference / difference.norm()
    spread = ((positive @ unit).var() / 2 + (negative @ unit).var() / 2).sqrt()
    n = min(len(positive), len(negative))
    pairs = positive[:n] - negative[:n]
    lengths = torch.cat([positive, negative]).norm(dim=-1)
    return {
        "apart": float(difference.norm() / spread),
        "alike": float(torch.nn.functional.cosine_similarity(pairs, unit[None], dim=-1).nan_to_num().mean()),
        "ratio": float(difference.norm() / lengths.median()),
    }


def layer_navigator(acts: ode.LayerActivations) -> float:
    """LayerNavigator's score of a layer, D + C (NeurIPS 2025): how much of the variance along the mean difference is
    between the classes, and how well the pairs' differences agree with it; of standardised features."""
    both = torch.cat([acts.positive, acts.negative]).double()
    spread = both.std(0, correction=0)
    positive, negative = ((x.double() - both.mean(0)) / spread.clamp_min(1e-12) for x in (acts.positive, acts.negative))
    v = torch.nn.functional.normalize(positive.mean(0) - negative.mean(0), dim=0)
    along = torch.cat([positive @ v, negative @ v])
    within = torch.cat([positive @ v - (positive @ v).mean(), negative @ v - (negative @ v).mean()]).square().mean()
    discriminating = float(1 - within / along.var(correction=0))
    return discriminating + float(torch.nn.functional.cosine_similarity(positive - negative, v, dim=-1).mean())


def ranked(model: TransformerBridge, contrast: ode.ContrastSet, layers: Sequence[int]) -> list[int]:
    """Layers from the highest of LayerNavigator's scores to the lowest; where classes coincide there is none."""
    acts = ode.collect_activations(model, contrast, list(layers), batch_size=128)
    score = {layer: layer_navigator(acts[layer]) for layer in layers}
    return sorted(layers, key=lambda layer: score[layer] if score[layer] == score[layer] else -math.inf, reverse=True)
