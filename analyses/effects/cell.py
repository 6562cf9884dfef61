"""One cell of an effect study: an arm at a layer and a budget, one row a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

import odesteer_tl as ode
from analyses.effects.arms import Arm
from analyses.effects.material import Material
from analyses.effects.steer import Steer, angle_between
from analyses.effects.writing import SteererFor, Written, write
from analyses.sweep import require_numbers
from odesteer_tl.certify import geodesic_curvature
from odesteer_tl.densities.path import EXIT_RANK
from odesteer_tl.indicators import STATISTICS, branching_factor, divergence, entropy, summarise


def measure(material: Material, config: Mapping[str, Any]) -> pd.DataFrame:
    """Match the arm's strength to the budget prompt by prompt, steer, and say what happened.

    Args:
        config: `layer`; `label`, `method`, `solver`, `steps` and `in_turn` (the arm); `budget` ("angle",
            "displacement" or "kl") and `level`. With the label "unsteered" nothing is steered, and only text and next
            token are measured.

    Raises:
        ValueError: something that is reported is NaN or infinite.
    """
    base = {"prompt": range(len(material.prompts)), "split": material.split}
    if config["label"] == "unsteered":
        passage = material.passage
        columns = {"entropy": passage.mean(entropy(passage.plain)),
                   "branching": passage.mean(branching_factor(passage.plain)),
                   **_outcome(material, material.unsteered, None)}  # fmt: skip
        return require_numbers(pd.DataFrame({**base, **columns}), config)
    here = material.layer(config["layer"])
    arm = Arm(config["label"], config["method"], config["solver"], config["steps"], config.get("in_turn", False))
    matched = here.scan(arm).match(config["budget"], config["level"])
    steer = Steer(here, arm, matched.strength)
    written = write(material.model, material.prompts, steer.steerer_for, material.settings)
    columns = {
        "strength": matched.strength, "reached": matched.reached, **here.probe, **_geometry(steer),
        **_likelihood(steer), **_survival(steer), **_cost(steer), **_outcome(material, written, steer.steerer_for),
    }  # fmt: skip
    return require_numbers(pd.DataFrame({**base, **columns}), config)


def _geometry(steer: Steer) -> dict[str, Any]:
    """Where the arm leads from the token looked at, as the sphere and h see it; `cosine_…` are of the displacement.

    `acts` is the share of the passage's tokens that it moves at all.
    """
    here, start, end = steer.here, steer.start, steer.end
    moves = (steer.passage != here.passage).any(-1).double()
    certificate = ode.certify_path(here.barrier, steer.points)
    h0, h1 = here.barrier.value(start), here.barrier.value(end)
    angle, norm, moved = angle_between(start, end), start.norm(dim=-1), end - start
    seeds = [steer.refitted(seed=seed) for seed in (here.shared.settings.seed, here.shared.settings.seed + 1)]
    halves = [steer.refitted(half=half) for half in ("first", "second")]
    return {
        "acts": here.shared.passage.mean(moves),
        "norm": norm,
        "angle": angle,
        "displacement": moved.norm(dim=-1) / norm,
        "norm_ratio": end.norm(dim=-1) / norm,
        "curvature_angle": geodesic_curvature(here.barrier.quadratic, start) * angle,
        "gain": h1 - h0,
        "ceiling_share": (h1 - h0) / (here.ceiling - h0),
        "efficiency": (h1 - h0) / (ode.cap_bound(here.barrier.quadratic, start, angle).bound - h0),
        "certified": certificate.certified.double().mean(0),
        "slack": certificate.slack.amin(0),
        "cosine_mean_difference": _cosine(moved, here.mean_difference),
        "cosine_seeds": _cosine(*seeds),
        "cosine_halves": _cosine(*halves),
    }


def _cosine(a: Float[Tensor, "*batch d"], b: Float[Tensor, "*other d"]) -> Float[Tensor, "*batch"]:
    return torch.nn.functional.cosine_similarity(a, b, dim=-1)


def _likelihood(steer: Steer) -> dict[str, Any]:
    """What p₊ and p₋, fitted on other texts, say of start and end, nats."""
    pair, start, end = steer.here.densities, steer.start, steer.end
    before, after = (pair.log_positive(x) for x in (start, end))
    ranks = [_rank(pair.calibrated.held_out, x) for x in (before, after)]
    return {
        "log_positive_change": after - before,
        "log_negative_change": pair.log_negative(end) - pair.log_negative(start),
        "log_ratio_change": pair.log_ratio(end) - pair.log_ratio(start),
        "typicality": 2 * torch.minimum(ranks[1], 1 - ranks[1]),
        "outside_before": ranks[0] < EXIT_RANK,
        "outside": ranks[1] < EXIT_RANK,
    }


def _rank(held_out: Float[Tensor, " m"], x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Share of held-out positives whose log p₊ is no higher; `held_out` is sorted."""
    return torch.searchsorted(held_out, x.contiguous(), right=True) / len(held_out)


def _survival(steer: Steer) -> dict[str, Any]:
    """What is left of the gain in every later layer, by that layer's own calibrated barrier, nats.

    Columns `gain_at_j`: 0 before the layer steered, whose own gain stands at its own number. `gain_all_positions` is
    the last layer's, at the prompt's last token, where every position of the prompt is steered.
    """
    here, shared = steer.here, steer.here.shared
    prefix, n_layers = shared.passage.prefix, len(shared.passage.prefix.residuals)
    along = _later_residuals(prefix, here.layer, steer.passage)
    every = _later_residuals(shared.whole, here.layer, steer.everywhere)[n_layers - 1]
    gains: dict[str, Any] = {f"gain_at_{j}": 0.0 for j in range(here.layer)}
    for j in range(here.layer, n_layers):
        at = [shared.passage.at(x) for x in (along[j], prefix.residuals[j])]
        gains[f"gain_at_{j}"] = _gain(shared.layer(j).barrier, *at)
    last = shared.whole.residuals[n_layers - 1]
    return {**gains, "gain_all_positions": _gain(shared.layer(n_layers - 1).barrier, every[:, -1], last[:, -1])}


def _later_residuals(
    prefix: ode.Prefix, layer: int, edited: Float[Tensor, "n pos d"]
) -> dict[int, Float[Tensor, "n pos d"]]:
    """The steered layer's residuals and those of all later ones."""
    later = list(range(layer + 1, len(prefix.residuals)))
    return {layer: edited, **(prefix.later_residuals(layer, edited, later) if later else {})}


def _gain(barrier: ode.Barrier, after: Float[Tensor, "n d"], before: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """What a layer's own calibrated barrier gained, nats."""
    return barrier.log_ratio(after.double()) - barrier.log_ratio(before.double())


def _cost(steer: Steer) -> dict[str, Any]:
    """What the next-token distribution pays, nats: on average over the passage, and at all tokens of the prompt."""
    here, shared = steer.here, steer.here.shared
    passage, plain = shared.passage, shared.passage.plain
    logits = passage.prefix.logits(here.layer, steer.passage, last=plain.shape[1])
    real = shared.whole.attention_mask
    everywhere = shared.whole.logits(here.layer, steer.everywhere, last=real.shape[1])
    neutral = divergence(everywhere, shared.neutral)
    return {
        "kl": passage.mean(divergence(logits, plain)),
        "kl_all_positions": neutral[:, -1],
        "kl_neutral": (neutral * real).sum(1) / real.sum(1),
        "entropy": passage.mean(entropy(logits)),
        "branching": passage.mean(branching_factor(logits)),
        "nbf": passage.mean(branching_factor(logits) / branching_factor(plain)),
    }


def _outcome(material: Material, written: Written, steerer_for: SteererFor | None) -> dict[str, Any]:
    """Success, and the ten statistics of each indicator along the text."""
    judged = material.outcome.judge(material.model, material.prompts, written.texts, steerer_for)
    columns: dict[str, Any] = {str(name): judged[name].to_numpy() for name in judged}
    columns["perplexity"] = written.perplexity
    for name, series in (("kl", written.kl), ("bf", written.branching), ("nbf", written.normalised)):
        statistics = summarise(series, written.kept)
        columns |= {f"text_{name}_{s}": statistics[:, i] for i, s in enumerate(STATISTICS)}
    return {**columns, "text": written.texts}
