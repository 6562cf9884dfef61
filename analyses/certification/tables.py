"""The tables of barrier certification: what is proved of every step, token and prompt, against one barrier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

import odesteer_tl as ode
from odesteer_tl import certify, stats
from odesteer_tl.activations import LayerActivations

#: what a model's activations may be written in, and how a column of it is named
WRITTEN = {torch.float32: "written_float32", torch.bfloat16: "written_bfloat16"}
#: a gain smaller than this share of the barrier's range over its landscape is not divided by
LEAST_GAIN = 1e-9


def path_tables(
    barrier: ode.Barrier, points: Float[Tensor, "steps_plus_1 n d"], prompt: Int[Tensor, " n"], token: Int[Tensor, " n"]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Everything about some paths: a row a step and a row a token.

    Of a step: h, the certificate, and the local geometry at its start. Of a token: the whole path's level certificates,
    its reach, and its efficiency against the cap bound.
    """
    points = points.double()
    whole = certify.certify_whole(barrier, points) if barrier.polynomial_degree is not None else None
    found = ode.certify_path(barrier, points) if whole is None else whole.steps
    quadratic = barrier.quadratic if barrier.is_quadratic else None
    # one rotation into the eigenbasis, of which all that is measured is made
    local, places = (barrier, points) if quadratic is None else (quadratic.diagonal, quadratic.spectrum.enter(points))
    h = local.value(places)
    norms = points.norm(dim=-1)
    steps, n = found.certified.shape
    columns: dict[str, Tensor] = {
        "prompt": repeat(prompt, "n -> steps n", steps=steps),
        "token": repeat(token, "n -> steps n", steps=steps),
        "step": repeat(torch.arange(1, steps + 1), "steps -> steps n", n=n),
        "h": h[1:],
        "gain": h[1:] - h[:-1],
        "certified": found.certified,
        "refuted": found.refuted,
        "stationary": found.stationary,
        "undecided": found.undecided,
        "first_violation": found.first_violation,
        "angle": found.angle,
        "slack": found.slack,
        "norm_ratio": norms[1:] / norms[0],
    }
    if quadratic is not None:
        top = ode.ceiling(quadratic)
        columns |= {
            "saturation": (h[1:] - h[0]) / (top.bound - h[0]),
            "curvature": certify.geodesic_curvature(local.quadratic, places[:-1]),
            "quadratic_share": certify.quadratic_share(local.quadratic, places[:-1]),
            "to_maximum": (points[1:] @ (top.point / top.point.norm()) / norms[1:]).clamp(-1, 1).arccos(),
        }
    tokens = _tokens(barrier, points, h, whole, columns.get("curvature"))
    rows = {"prompt": prompt, "token": token, **tokens}
    return (pd.DataFrame({name: rearrange(x, "steps n -> (steps n)").numpy() for name, x in columns.items()}),
            pd.DataFrame({name: x.numpy() for name, x in rows.items()}))  # fmt: skip


def _tokens(
    barrier: ode.Barrier, points: Float[Tensor, "steps_plus_1 n d"], h: Float[Tensor, "steps_plus_1 n"],
    whole: certify.WholeCertificate | None, curvature: Float[Tensor, "steps n"] | None,
) -> dict[str, Tensor]:  # fmt: skip
    """The columns of a token."""
    start, end, h0, h1 = points[0], points[-1], h[0], h[-1]
    angle = torch.nn.functional.cosine_similarity(start, end, dim=-1).clamp(-1, 1).arccos()
    columns: dict[str, Tensor] = {"h_start": h0, "h_end": h1, "angle": angle}
    columns |= {name: ode.certify_written(barrier, start, end, dtype).proved for dtype, name in WRITTEN.items()}
    if whole is not None:
        columns |= {
            "safe_start": h0 >= 0, "stays_safe": whole.level.certified, "leaves_safe": whole.level.refuted & (h0 >= 0),
            "keeps_start": whole.start.certified, "falls_below_start": whole.start.refuted,
        }  # fmt: skip
    if len(points) > 2:
        columns["reversals"] = certify.reversals(points).double().mean(0)
    if curvature is not None:
        q = barrier.quadratic
        best = ode.cap_bound(q, start, angle)
        possible = best.bound - h0
        columns |= {
            "bound": best.bound,
            "bound_tight": best.tight(),
            "efficiency": torch.where(possible > LEAST_GAIN * q.curvature_bound, (h1 - h0) / possible, torch.nan),
            "reach": certify.reach_angle(q, start, (h1 - h0).clamp_min(0)),
            "curvature_angle": curvature[0] * angle,
        }
    return columns


def radius_table(barrier: ode.Barrier, start: Float[Tensor, "n d"], end: Float[Tensor, "n d"]) -> pd.DataFrame:
    """One row a prompt, at its last token after steering: certified radii of h ≥ 0 and of h ≥ h(a₀), beside bf16's."""
    levels = torch.stack([torch.zeros(len(end), dtype=torch.float64), barrier.value(start)])
    found = certify.certified_radius(barrier.quadratic, end.expand(2, *end.shape), levels)
    rounded = (end.bfloat16().double() - end).norm(dim=-1)
    return pd.DataFrame(
        {"prompt": np.arange(len(end)), "radius": found.radius[0].numpy(), "radius_start": found.radius[1].numpy(),
         "norm": end.norm(dim=-1).numpy(), "bfloat16_bound": found.bfloat16[0].numpy(), "bfloat16": rounded.numpy()}
    )  # fmt: skip


def directions(
    fit: LayerActivations, a: Float[Tensor, "n d"], angle: float, steps: int, seed: int
) -> dict[str, Float[Tensor, "steps_plus_1 n d"]]:
    """Geodesic paths along other methods' directions; for "random", every prompt along one of its own."""
    flow = ode.Flow(angle=angle, steps=steps, solver="geodesic")

    def path(name: str, rows: Tensor, seed: int) -> Tensor:
        points = flow.solve(ode.METHODS[name].fit(fit.positive, fit.negative, seed), rows.double(), record=True).points
        assert points is not None
        return points

    fixed = {name: path(name, a, seed) for name in ("caa", "repe", "iti")}
    return fixed | {"random": torch.cat([path("random", a[i : i + 1], seed + i) for i in range(len(a))], dim=1)}


def direction_table(barrier: ode.Barrier, ways: Mapping[str, Float[Tensor, "steps_plus_1 n d"]]) -> pd.DataFrame:
    """One row a method × prompt: along other methods' directions, is the step admissible for this h, and how far?"""
    frames: list[pd.DataFrame] = []
    for name, points in ways.items():
        found = ode.certify_path(barrier, points)
        # what is certified up to the first step that is not, plus what is proved of that one
        whole = found.certified.long().cumprod(0).bool()
        proved = torch.where(whole, found.angle, 0.0).sum(0)
        first = (~found.certified).long().argmax(0)
        rest = found.first_violation.gather(0, first[None])[0].nan_to_num(0.0)
        all_certified = found.certified.all(0)
        frames.append(
            pd.DataFrame(
                {
                    "method": name,
                    "prompt": np.arange(points.shape[1]),
                    "starts_up": (found.first_violation[0].nan_to_num(torch.inf) > 0).numpy(),
                    "certified": all_certified.numpy(),
                    "certified_steps": found.certified.double().mean(0).numpy(),
                    "stationary_steps": found.stationary.double().mean(0).numpy(),
                    "undecided_steps": found.undecided.double().mean(0).numpy(),
                    "refuted": found.refuted.any(0).numpy(),
                    "admissible_angle": (proved + torch.where(all_certified, 0.0, rest)).numpy(),
                    "gain": (barrier.value(points[-1]) - barrier.value(points[0])).numpy(),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def strength_table(barrier: ode.Barrier, a: Float[Tensor, "n d"], angles: Sequence[float], steps: int) -> pd.DataFrame:
    """One row an integrator × angle: where does following ∇h stop climbing? Prompts are the units."""
    quadratic = barrier.is_quadratic
    if quadratic:
        # nothing here but h, angles and norms is asked for, and a rotation changes none of them
        a = barrier.quadratic.spectrum.enter(a.double())
        barrier = barrier.quadratic.diagonal
    field, rows = ode.BarrierField(barrier), []
    top = ode.ceiling(barrier.quadratic).bound if quadratic else float("nan")
    for method in ("euler", "geodesic", "certified") if quadratic else ("euler", "geodesic"):
        for angle in angles:
            points = ode.Flow(angle=angle, steps=steps, solver=method).solve(field, a.double(), record=True).points
            assert points is not None
            found = ode.certify_path(barrier, points)
            h0, h1 = barrier.value(points[0]), barrier.value(points[-1])
            violated = stats.share(found.refuted.any(0).numpy())
            saturation = (h1 - h0) / (top - h0)
            ratio = points[-1].norm(dim=-1) / points[0].norm(dim=-1)
            low, middle, high = torch.quantile(saturation, torch.tensor([0.1, 0.5, 0.9]).double()).tolist()
            rows.append(
                {"integrator": method, "angle": angle, "violating": violated.value, "violating_low": violated.low,
                 "violating_high": violated.high, "steps_refuted": float(found.refuted.double().mean()),
                 "steps_undecided": float(found.undecided.double().mean()),
                 "steps_certified": float(found.certified.double().mean()),
                 "steps_stationary": float(found.stationary.double().mean()), "saturation": middle,
                 "saturation_low": low, "saturation_high": high, "norm_ratio": float(ratio.median()),
                 "reversals": float(certify.reversals(points).double().mean()), "n": len(a)}
            )  # fmt: skip
    return pd.DataFrame(rows)
