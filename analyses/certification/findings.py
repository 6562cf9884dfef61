"""The findings of barrier certification: shares and medians over prompts, each with its 95 % interval and N."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

import odesteer_tl as ode
from analyses.certification.audits import middle, row
from analyses.certification.result import READING
from analyses.certification.tables import WRITTEN
from odesteer_tl import certify, stats
from odesteer_tl.activations import LayerActivations


def share(what: str, flags: Any) -> dict[str, Any]:
    """A share of prompts."""
    return row(what, stats.share(flags))


def of_reading(area: stats.Estimate) -> pd.DataFrame:
    """How well h reads texts it has not seen: what every certificate of h stands beside, and is worth."""
    return pd.DataFrame([row(READING, area)])


def of_steps(steps: pd.DataFrame, tokens: pd.DataFrame) -> pd.DataFrame:
    """What is proved of the paths. A prompt's value is over all its tokens and steps."""
    prompts, by_token = steps.groupby("prompt"), tokens.groupby("prompt")
    rows = [
        share("prompts with every step certified", prompts["certified"].all()),
        share("prompts with a stationary step", prompts["stationary"].any()),
        share("prompts with an undecided step", prompts["undecided"].any()),
        share("prompts with a refuted step", prompts["refuted"].any()),
        middle("smallest slack of a prompt, rad", prompts["slack"].min()),
        middle("angle turned, rad", by_token["angle"].median()),
    ]
    # of two points, as numbers of that type: neither what lies between them nor the path's own last point
    rows += [
        share(f"prompts whose every end, written in {str(dtype).removeprefix('torch.')}, is proved no lower in h",
              by_token[name].all())
        for dtype, name in WRITTEN.items()
    ]  # fmt: skip
    if "keeps_start" in tokens:
        rows += [
            share("prompts that leave {h ≥ 0}", by_token["leaves_safe"].any()),
            share("prompts that fall below h(a₀)", by_token["falls_below_start"].any()),
            share("prompts certified to keep {h ≥ h(a₀)}", by_token["keeps_start"].all()),
        ]
        safe = tokens[tokens["safe_start"]]
        if len(safe):
            kept = safe.groupby("prompt")["stays_safe"].all()
            rows.append(share("prompts certified to keep {h ≥ 0}, of those with a token in it", kept))
    if "efficiency" in tokens:
        last = steps[steps["step"] == steps["step"].max()].groupby("prompt")
        rows += [
            middle("efficiency: gain / best possible gain at the angle", by_token["efficiency"].median()),
            middle("κθ", by_token["curvature_angle"].median()),
            middle("saturation (h_T − h₀)/(h_max − h₀)", last["saturation"].median()),
        ]
    return pd.DataFrame(rows)


def of_robustness(radii: pd.DataFrame) -> pd.DataFrame:
    """The certified radius of h ≥ 0 after steering, beside the rounding of bf16."""
    if radii.empty:
        return pd.DataFrame()
    return pd.DataFrame(
        [
            middle("certified radius of h ≥ 0 after steering, share of ‖a‖", radii["radius"] / radii["norm"]),
            middle("certified radius of h ≥ h(a₀), share of ‖a‖", radii["radius_start"] / radii["norm"]),
            middle("rounding to bf16, share of ‖a‖", radii["bfloat16"] / radii["norm"]),
            share("prompts whose certified radius exceeds bf16's bound", radii["radius"] > radii["bfloat16_bound"]),
        ]
    )


def of_directions(directions: pd.DataFrame) -> pd.DataFrame:
    """Other methods' directions against the same h."""
    rows: list[dict[str, Any]] = []
    for name, group in directions.groupby("method", sort=False):
        rows.append(share(f"{name}: whole path certified", group["certified"]))
        rows.append(middle(f"{name}: admissible angle, rad", group["admissible_angle"]))
    return pd.DataFrame(rows)


def of_survival(survival: pd.DataFrame, layer: int) -> pd.DataFrame:
    """The gain where it was made, and what later layers' own barriers see of it."""
    rows = [middle("gain in calibrated h, nats", survival.loc[survival["layer"] == layer, "gain"])]
    for later, group in survival[survival["layer"] > layer].groupby("layer"):
        rows.append(middle(f"gain in layer {later}'s own calibrated h, nats", group["gain"]))
    return pd.DataFrame(rows)


def of_linearity(barrier: ode.Barrier, fit: LayerActivations, a: torch.Tensor) -> pd.DataFrame:
    """How linear the barrier is."""
    unit = [x.double() / x.double().norm(dim=-1, keepdim=True) for x in (fit.positive, fit.negative)]
    u = a / a.norm(dim=-1, keepdim=True)
    difference = (unit[0].mean(0) - unit[1].mean(0)).expand_as(u)
    tangent = difference - (difference * u).sum(-1, keepdim=True) * u
    to_mean = torch.nn.functional.cosine_similarity(barrier.gradient(a), tangent, dim=-1)
    rows = [
        row("cosine of ∇h and the sphere's mean difference", stats.median(to_mean.numpy())),
    ]
    if barrier.is_quadratic:
        bent = certify.quadratic_share(barrier.quadratic, a)
        rows.append(row("quadratic share of ∇h", stats.median(bent.numpy())))
    return pd.DataFrame(rows)
