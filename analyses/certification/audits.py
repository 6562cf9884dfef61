"""Audits of a barrier by something it was not fitted on: the other half of the data, later layers, another hash seed,
and, on the organism, the grammar itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

import odesteer_tl as ode
from analyses.certification.texts import Fit, LayerTexts, joined
from analyses.prompted import Prompted
from odesteer_tl import organism, stats
from odesteer_tl.activations import LayerActivations
from odesteer_tl.sites import BLOCK_OUTPUT

#: a median of no prompts
NOBODY = stats.Estimate(np.nan, -np.inf, np.inf, 0)


def cosine(first: ode.Barrier, second: ode.Barrier, a: Float[Tensor, "n d"]) -> stats.Estimate:
    """Median over activations of the cosine of two barriers' gradients."""
    gradients = (barrier.gradient(a.double()) for barrier in (first, second))
    return stats.median(torch.nn.functional.cosine_similarity(*gradients, dim=-1).numpy())


def row(what: str, estimate: stats.Estimate) -> dict[str, Any]:
    """A line of a findings table."""
    return {"what": what, "value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}


def middle(what: str, values: Any) -> dict[str, Any]:
    """A median over prompts; where it is undefined a prompt is left out, which N shows."""
    x = np.asarray(values, dtype=float)
    x = x[~np.isnan(x)]
    return row(what, stats.median(x) if len(x) else NOBODY)


def cross_fit(fit: Fit, texts: LayerTexts, a: Float[Tensor, "n d"], angle: float, steps: int) -> pd.DataFrame:
    """Steer by a barrier fitted on one half, audit by one fitted on the other, in calibrated units. Units: prompts."""
    steering, auditing = texts.halves(fit)
    points = ode.Flow(angle=angle, steps=steps).solve(ode.BarrierField(steering), a.double(), record=True).points
    assert points is not None
    own, audited = (b.log_ratio(points[-1]) - b.log_ratio(points[0]) for b in (steering, auditing))
    found = ode.certify_path(auditing, points)
    return pd.DataFrame(
        [
            row(
                "cosine of ∇h between the halves, at the start",
                cosine(steering, auditing, points[0]),
            ),
            row(
                "cosine of ∇h between the halves, at the end",
                cosine(steering, auditing, points[-1]),
            ),
            row("prompts with a step refuted by the other half's h", stats.share(found.refuted.any(0).numpy())),
            row("prompts with every step certified by it", stats.share(found.certified.all(0).numpy())),
            middle("gain in the other half's h per gain in one's own", (audited / own).numpy()),
        ]
    )


def later_layers(prompted: Prompted, steerer: ode.Steerer, barriers: Mapping[int, ode.Barrier]) -> pd.DataFrame:
    """Does the gain survive the remaining blocks? Calibrated h of each later layer's own barrier at the prompt's last
    token, steered there alone, minus unsteered. One row a prompt × layer (the steered one first).

    Raises:
        ValueError: the steerer does not act on the residual stream.
    """
    if steerer.site != BLOCK_OUTPUT:
        raise ValueError(f"site={steerer.site!r} is not the residual stream, on which the barriers are; steer that")
    if steerer.condition is not None:
        raise ValueError(
            "condition leaves some prompts alone, and all are moved here; use replace(steerer, condition=None)"
        )
    frames: list[pd.DataFrame] = []
    for first, prefix in prompted:
        before = prefix.residuals[steerer.layer]
        after = steerer.flow.solve(steerer.field, before).end
        states = {steerer.layer: (before, after)}
        later = [layer for layer in barriers if layer > steerer.layer]
        if later:
            moved = prefix.later_residuals(steerer.layer, after, later)
            states |= {layer: (prefix.residuals[layer], moved[layer]) for layer in later}
        prompts = np.arange(first, first + len(before))
        for layer, (x, y) in states.items():
            barrier = barriers[layer]
            gain = (barrier.log_ratio(y[:, 0].double()) - barrier.log_ratio(x[:, 0].double())).cpu().numpy()
            frames.append(pd.DataFrame({"prompt": prompts, "layer": layer, "gain": gain}))
    return pd.concat(frames, ignore_index=True)


def against_the_grammar(
    concept: str, unsteered: Sequence[str], steered: Sequence[str], gain: Float[Tensor, " n"]
) -> pd.DataFrame:
    """The organism's true posterior of the decoded texts, against the calibrated gain at the prompt's last token."""
    before, after = (organism.judge(list(texts))[concept].to_numpy() for texts in (unsteered, steered))
    logit = [np.log(np.clip(p, 1e-9, 1)) - np.log(np.clip(1 - p, 1e-9, 1)) for p in (before, after)]
    change = logit[1] - logit[0]
    rank = stats.rank_correlation(gain.numpy(), change)
    return pd.DataFrame(
        [
            row("texts judged positive, unsteered", stats.share(before > 0.5)),
            row("texts judged positive, steered", stats.share(after > 0.5)),
            row("change in the true log-odds, nats", stats.median(change)),
            row("rank correlation of gain in calibrated h and change in true log-odds", rank),
        ]
    )


def seeds_and_halves(
    sketch: Callable[[int], ode.Barrier], kernel: Callable[[], ode.Barrier], half: LayerActivations,
    other: LayerActivations, a: Float[Tensor, "n d"],
) -> pd.DataFrame:  # fmt: skip
    """How far do two hash seeds differ, how far two halves of the data, and does the exact kernel mend either?"""
    both = joined(half, other)
    one, two = (sketch(seed).fit(both.positive, both.negative) for seed in (0, 1))
    exact = kernel().fit(both.positive, both.negative)
    halves = [make().fit(x.positive, x.negative) for make in (lambda: sketch(0), kernel) for x in (half, other)]
    pairs = {"two hash seeds, same data": (one, two), "sketch and exact kernel, same data": (one, exact),
             "two halves of the data, one hash seed": (halves[0], halves[1]),
             "two halves of the data, exact kernel": (halves[2], halves[3])}  # fmt: skip
    return pd.DataFrame([row(f"cosine of ∇h: {what}", cosine(x, y, a)) for what, (x, y) in pairs.items()])
