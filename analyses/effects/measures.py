"""What is said of a steer beside its outcome: groups of columns, each a function of the steer and unsteered states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

import odesteer_tl as ode
from analyses.effects.fits import LayerFits
from analyses.effects.states import Unsteered
from analyses.effects.steer import Steer, angle_between
from analyses.refusal import unless_refused
from analyses.sweep import Refused
from odesteer_tl.certify import geodesic_curvature
from odesteer_tl.densities.path import EXIT_RANK
from odesteer_tl.indicators import branching_factor, divergence, entropy

#: the fits at any layer
FitsAt = Callable[[int], LayerFits]


@dataclass(frozen=True, eq=False)
class Seen:
    """A steer, the prompts it is of, and where it leads; each made when it is first asked for.

    Args:
        fits_at: of later layers, by whose barriers what is left of a gain is measured.
    """

    steer: Steer
    states: Unsteered
    fits_at: FitsAt

    @cached_property
    def passage(self) -> Float[Tensor, "n pos d"]:
        """The layer's residuals along the passage, steered at all its tokens."""
        return self.steer.residuals(self.states.passage.prefix)

    @cached_property
    def later(self) -> dict[int, Float[Tensor, "n pos d"]]:
        """The residuals along the passage of the steered layer and of all behind it."""
        return _later(self.states.passage.prefix, self.steer.layer, self.passage)

    @cached_property
    def everywhere(self) -> Float[Tensor, "n pos d"]:
        """The stream after the last block at every position of the prompts, steered at all of them."""
        whole = self.states.whole
        return whole.final(self.steer.layer, self.steer.residuals(whole))

    @cached_property
    def points(self) -> Float[Tensor, "steps_plus_1 n d"]:
        """The path from the token looked at; its start and end where the arm is not `direct`, float64 on the CPU, where
        the fits are."""
        return self.path(self.steer, self.passage).double().cpu()

    def path(self, steer: Steer, passage: Float[Tensor, "n pos d"] | None = None) -> Float[Tensor, "steps_plus_1 n d"]:
        """A steer's path from the token looked at; `passage` where it is known."""
        states = self.states.passage
        start = states.at(states.prefix.residuals[steer.layer])
        if steer.direct:
            return steer.points(start)
        return steer.points(start, states.at(steer.residuals(states.prefix) if passage is None else passage))


def geometry(seen: Seen) -> dict[str, Any]:
    """Where the arm leads from the token looked at, as the sphere and h see it; `cosine_…` are of the displacement.

    `acts` is the share of the passage's tokens that it moves at all.
    """
    fits, start = seen.steer.fits, seen.points[0]
    along = reached(seen, seen.points)
    seeds = [_displacement(seen, seed=seed) for seed in (fits.seed, fits.seed + 1)]
    # a method may refuse the half of what it takes
    halves = unless_refused(lambda: [_displacement(seen, half=half) for half in ("first", "second")])
    return {
        **along,
        "curvature_angle": geodesic_curvature(fits.barrier.quadratic, start) * along["angle"],
        "cosine_mean_difference": _cosine(seen.points[-1] - start, fits.mean_difference),
        "cosine_seeds": _cosine(*seeds),
        **({} if isinstance(halves, Refused) else {"cosine_halves": _cosine(*halves)}),
    }


def reached(seen: Seen, points: Float[Tensor, "steps_plus_1 n d"]) -> dict[str, Any]:
    """Where a path ends, how far that is, and what h says of its steps, beside how well h reads."""
    steer, fits, states = seen.steer, seen.steer.fits, seen.states.passage
    start, end = points[0], points[-1]
    moves = (seen.passage != states.prefix.residuals[steer.layer]).any(-1).double().cpu()
    certificate = ode.certify_path(fits.barrier, points)
    h0, h1 = fits.barrier.value(start), fits.barrier.value(end)
    angle, norm = angle_between(start, end), start.norm(dim=-1)
    return {
        **fits.probe,
        "acts": states.mean(moves),
        "norm": norm,
        "angle": angle,
        "displacement": (end - start).norm(dim=-1) / norm,
        "norm_ratio": end.norm(dim=-1) / norm,
        "gain": h1 - h0,
        "ceiling_share": (h1 - h0) / (fits.ceiling - h0),
        "efficiency": (h1 - h0) / (ode.cap_bound(fits.barrier.quadratic, start, angle).bound - h0),
        "certified": certificate.certified.double().mean(0),
        "slack": certificate.slack.amin(0),
    }


def _displacement(seen: Seen, seed: int | None = None, half: str = "") -> Float[Tensor, "n d"]:
    """Where the arm would go, fitted with another seed or on half the texts: the displacement of a short path."""
    points = seen.path(seen.steer.refitted(seed, half)).double().cpu()
    return points[-1] - points[0]


def _cosine(a: Float[Tensor, "*batch d"], b: Float[Tensor, "*other d"]) -> Float[Tensor, "*batch"]:
    return torch.nn.functional.cosine_similarity(a, b, dim=-1)


def likelihood(seen: Seen) -> dict[str, Any]:
    """What p₊ and p₋, fitted on other texts, say of start and end, nats; nothing at a layer where none exists."""
    pair, start, end = unless_refused(lambda: seen.steer.fits.densities), seen.points[0], seen.points[-1]
    if isinstance(pair, Refused):
        return {}
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


def survival(seen: Seen) -> dict[str, Any]:
    """What is left of the gain in every later layer, by that layer's own calibrated barrier, nats.

    Columns `gain_at_j`: 0 before the layer steered, whose own gain stands at its own number; of several layers, before
    the first and at the last, and none between. `gain_all_positions` is the last block's, at the prompt's last token,
    where every position of the prompt is steered. A later layer at which nothing tells the classes apart has no
    barrier, and no column.
    """
    passage, layer = seen.states.passage, seen.steer.layer
    plain = passage.prefix.residuals
    gains: dict[str, Any] = {f"gain_at_{j}": 0.0 for j in range(seen.steer.arm.first(layer))}
    top = len(plain) - 1
    for j, steered in seen.later.items():
        barrier = unless_refused(lambda j=j: seen.fits_at(j).barrier)
        if isinstance(barrier, Refused):
            continue
        gains[f"gain_at_{j}"] = _gain(barrier, passage.at(steered), passage.at(plain[j]))
        if j == top:
            ends = seen.everywhere[:, -1], seen.states.whole.residuals[top][:, -1]
            gains["gain_all_positions"] = _gain(barrier, *ends)
    return gains


def _later(prefix: ode.Prefix, layer: int, edited: Float[Tensor, "n pos d"]) -> dict[int, Float[Tensor, "n pos d"]]:
    """The steered layer's residuals and those of all later ones."""
    later = list(range(layer + 1, len(prefix.residuals)))
    return {layer: edited, **(prefix.later_residuals(layer, edited, later) if later else {})}


def _gain(barrier: ode.Barrier, after: Float[Tensor, "n d"], before: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """What a layer's own calibrated barrier gained, nats."""
    return barrier.log_ratio(after.double().cpu()) - barrier.log_ratio(before.double().cpu())


def cost(seen: Seen) -> dict[str, Any]:
    """What the next-token distribution pays, nats: on average over the passage, and at all tokens of the prompt."""
    passage, whole = seen.states.passage, seen.states.whole
    final = seen.later[len(passage.prefix.residuals) - 1]
    kl, spread, branching, before = passage.plain.compare(
        final, [divergence, lambda z, _: entropy(z), lambda z, _: branching_factor(z),
                lambda _, q: branching_factor(q)]
    )  # fmt: skip
    (neutral,) = seen.states.neutral.compare(seen.everywhere, [divergence])
    real = whole.attention_mask.cpu()
    return {
        "kl": passage.mean(kl),
        "kl_all_positions": neutral[:, -1],
        "kl_neutral": (neutral * real).sum(1) / real.sum(1),
        "entropy": passage.mean(spread),
        "branching": passage.mean(branching),
        "nbf": passage.mean(branching / before),
    }


#: by the names that settings know; what is said of texts is recorded as they are written
GROUPS: dict[str, Callable[[Seen], dict[str, Any]]] = {
    "geometry": geometry, "likelihood": likelihood, "survival": survival, "cost": cost,
}  # fmt: skip
